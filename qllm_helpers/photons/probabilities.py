"""From phases to output probabilities in one compiled pass over blocks of samples.

A block of samples is turned by its phases, sent through the second interferometer, raised to n
photons (`kernels`) and squared before the next block is touched: nothing of the size (samples x
amplitudes) is ever written, and the backward pass computes a block anew instead of reading it.
`PhotonicLayer` uses this on the CPU and torch's own operations elsewhere; the tests compare both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from qllm_helpers.photons.blocks import (
    load_rows,
    raise_block,
    store_rows,
    sum_lanes,
    unmix_modes,
    unsquare,
    unturn_light,
    unweigh,
    weigh,
    workspace,
)
from qllm_helpers.photons.kernels import LANES, FockTables, _jit, _lower_levels
from qllm_helpers.photons.mesh import mesh_backward, mesh_forward, mesh_layout


@dataclass(frozen=True)
class Sandwich:
    """What `output_probabilities` has to know of a circuit besides its phases.

    Attributes
    ----------
    tables : FockTables
        Of the output states.
    photon_modes : int array (n,)
        Input mode of every photon.
    weights : float array (N,)
        What a squared amplitude is multiplied by (bunching factors).
    classical : bool
        Particles that do not interfere with each other.
    normalise : bool
        Whether to divide by the sum of the probabilities.
    """

    tables: FockTables
    photon_modes: np.ndarray
    weights: np.ndarray
    classical: bool
    normalise: bool


@_jit
def _split_planes(left_planes, right_planes, entered, right):
    """From planes of the meshes to `entered` (R, n m, 2) and `right` (R, m, m, 2), input first."""
    n_modes = right.shape[1]
    for r in range(len(right)):
        for part in range(2):
            for i in range(n_modes):
                for k in range(left_planes.shape[3]):
                    entered[r, k * n_modes + i, part] = left_planes[r, part, i, k]
                for j in range(n_modes):
                    right[r, i, j, part] = right_planes[r, part, j, i]


@_jit
def _join_planes(entered, right, left_planes, right_planes):
    """The way back of `_split_planes`, for gradients; `right` (R, m m, 2)."""
    n_modes = right_planes.shape[2]
    for r in range(len(right)):
        for part in range(2):
            for i in range(n_modes):
                for k in range(left_planes.shape[3]):
                    left_planes[r, part, i, k] = entered[r, k * n_modes + i, part]
                for j in range(n_modes):
                    right_planes[r, part, j, i] = right[r, i * n_modes + j, part]


@_jit
def _forward(phases, entered, right, tables, weights, classical, normalise, output):
    """Fill `output` (R, B, N); `phases` (R, 2, B, m) are cosines and sines."""
    n_modes, last = right.shape[1], tables[0][-2]
    work = workspace(n_modes, entered.shape[1], tables[0][-1], output.dtype)
    probabilities = np.empty((len(weights), LANES), output.dtype)
    total = np.empty(LANES, output.dtype)
    for r in range(len(right)):
        for first in range(0, phases.shape[2], LANES):
            raise_block(phases[r], first, entered[r], right[r], tables, classical, work)
            weigh(work[5][last:], weights, classical, normalise, probabilities, total)
            store_rows(probabilities, first, output[r])


@_jit
def _backward(phases, entered, right, tables, weights, classical, normalise, slopes, results):
    """Derivatives with respect to phases (R, B, m), `entered` (R, n m, 2) and `right`."""
    phase_slopes, entered_gradients, right_gradients = results
    level_start, pair_start, pair_mode, pair_parent = tables
    n_modes, n_forms, last = right.shape[1], entered.shape[1], level_start[-2]
    work = workspace(n_modes, n_forms, level_start[-1], slopes.dtype)
    cosines, sines, turned, columns, forms, amplitudes = work
    gradients, form_gradients = np.empty_like(amplitudes), np.empty_like(forms)
    turned_gradients, entered_rows = np.empty_like(forms), np.empty_like(forms)
    right_rows = np.empty((n_modes * n_modes, 2 * LANES), slopes.dtype)
    probabilities = np.empty((len(weights), LANES), slopes.dtype)
    slope_rows, phase_rows = np.empty_like(probabilities), np.empty_like(cosines)
    total = np.empty(LANES, slopes.dtype)
    for r in range(len(right)):
        entered_rows[:] = 0
        right_rows[:] = 0
        for first in range(0, phases.shape[2], LANES):
            raise_block(phases[r], first, entered[r], right[r], tables, classical, work)
            outputs = amplitudes[last:]
            weigh(outputs, weights, classical, normalise, probabilities, total)
            load_rows(slopes[r], first, slope_rows)
            unweigh(
                outputs, weights, classical, normalise,
                probabilities, total, slope_rows, gradients[last:],
            )  # fmt: skip
            _lower_levels(
                forms, level_start, pair_start, pair_mode, pair_parent,
                amplitudes, gradients, form_gradients,
            )  # fmt: skip
            if classical:
                unsquare(columns, form_gradients)
            unmix_modes(turned, right[r], form_gradients, turned_gradients, right_rows)
            unturn_light(cosines, sines, turned, turned_gradients, phase_rows, entered_rows)
            store_rows(phase_rows, first, phase_slopes[r])
        sum_lanes(entered_rows, entered_gradients[r])
        sum_lanes(right_rows, right_gradients[r])


class _Probabilities(torch.autograd.Function):
    # The meshes are built in float64: they cost microseconds, and a replica's rounding must not
    # depend on how many others stand beside it. All memory comes from torch: NumPy's alignment
    # varies, and with it the rounding of later products.
    @staticmethod
    def forward(context, phases, left, right, circuit):
        angles = torch.stack([left.detach(), right.detach()]).double()
        turns = torch.stack([angles.cos(), angles.sin()], dim=1)
        (n_replicas, n_samples, m), n = phases.shape, len(circuit.photon_modes)
        planes = [angles.new_empty(n_replicas, 2, m, n), angles.new_empty(n_replicas, 2, m, m)]
        inputs = (circuit.photon_modes, np.arange(m))
        for k in range(2):
            mesh_forward(turns[k].numpy(), mesh_layout(m), inputs[k], planes[k].numpy())
        light, mixer = phases.new_empty(n_replicas, n * m, 2), phases.new_empty(n_replicas, m, m, 2)
        _split_planes(planes[0].numpy(), planes[1].numpy(), light.numpy(), mixer.numpy())
        waves = torch.stack([phases.detach().cos(), phases.detach().sin()], dim=1)
        output = phases.new_empty(n_replicas, n_samples, len(circuit.weights))
        _forward(waves.numpy(), light.numpy(), mixer.numpy(), *_options(circuit), output.numpy())
        context.circuit, context.kept = circuit, (turns, *planes, waves, light, mixer)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        turns, left_planes, right_planes, waves, light, mixer = context.kept
        phase_slopes, light_gradient = torch.empty_like(waves[:, 0]), torch.empty_like(light)
        mixer_gradient = torch.empty_like(mixer.flatten(1, 2))
        results = phase_slopes.numpy(), light_gradient.numpy(), mixer_gradient.numpy()
        _backward(
            waves.numpy(), light.numpy(), mixer.numpy(), *_options(context.circuit),
            gradient.detach().contiguous().numpy(), results,
        )  # fmt: skip
        gradients = torch.empty_like(left_planes), torch.empty_like(right_planes)
        _join_planes(*results[1:], gradients[0].numpy(), gradients[1].numpy())
        slopes = turns.new_empty(2, *turns.shape[2:])
        for k, planes in enumerate((left_planes.clone(), right_planes.clone())):
            mesh_backward(
                turns[k].numpy(), mesh_layout(waves.shape[3]),
                planes.numpy(), gradients[k].numpy(), slopes[k].numpy(),
            )  # fmt: skip
        slopes = slopes.to(waves.dtype)
        return phase_slopes, slopes[0], slopes[1], None


def _options(circuit: Sandwich) -> tuple:
    return circuit.tables.arrays, circuit.weights, circuit.classical, circuit.normalise


def output_probabilities(
    phases: torch.Tensor, left: torch.Tensor, right: torch.Tensor, circuit: Sandwich
) -> torch.Tensor:
    """Output probabilities of interferometer, phases, interferometer; on the CPU.

    Parameters
    ----------
    phases : float tensor, shape (R, B, m), radians
    left, right : float tensors, shape (R, m * m), radians
        Phases of the two meshes, see `mesh.mesh_unitary`.
    circuit : Sandwich
        With `weights` in the type of `phases`.

    Returns
    -------
    float tensor, shape (R, B, N)
    """
    return _Probabilities.apply(phases, left, right, circuit)
