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
    raise_block,
    sum_lanes,
    unmix_modes,
    unsquare,
    unturn_light,
    unweigh,
    weigh,
    workspace,
)
from qllm_helpers.photons.kernels import LANES, FockTables, jit, load_rows, lower_levels, store_rows
from qllm_helpers.photons.mesh import mesh_backward, mesh_forward, mesh_layout


@dataclass(frozen=True)
class Sandwich:
    """What `output_probabilities` has to know of a circuit besides its phases."""

    tables: FockTables
    photon_modes: np.ndarray  # input mode of every photon
    weights: np.ndarray  # `bunching_factors` in the type of the phases
    classical: bool  # particles that do not interfere with each other
    normalise: bool  # divide by the sum of the probabilities

    @property
    def options(self) -> tuple:
        return self.tables.arrays, self.weights, self.classical, self.normalise


@jit
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


@jit
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
            lower_levels(
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
        light, mixer = (_input_first(one, phases) for one in planes)
        waves = torch.stack([phases.detach().cos(), phases.detach().sin()], dim=1)
        output = phases.new_empty(n_replicas, n_samples, len(circuit.weights))
        _forward(
            waves.numpy(), light.flatten(1, 2).numpy(), mixer.numpy(),
            *circuit.options, output.numpy(),
        )  # fmt: skip
        context.circuit, context.kept = circuit, (turns, planes, waves, light, mixer)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        turns, planes, waves, light, mixer = context.kept
        phase_slopes = torch.empty_like(waves[:, 0])
        gradients = torch.empty_like(light), torch.empty_like(mixer)
        _backward(
            waves.numpy(), light.flatten(1, 2).numpy(), mixer.numpy(), *context.circuit.options,
            gradient.detach().contiguous().numpy(),
            (phase_slopes.numpy(), *(one.flatten(1, 2).numpy() for one in gradients)),
        )  # fmt: skip
        slopes = turns.new_empty(2, *turns.shape[2:])
        for k in range(2):
            mesh_backward(
                turns[k].numpy(), mesh_layout(waves.shape[3]), planes[k].clone().numpy(),
                _input_first(gradients[k], turns).numpy(), slopes[k].numpy(),
            )  # fmt: skip
        slopes = slopes.to(waves.dtype)
        return phase_slopes, slopes[0], slopes[1], None


def _input_first(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A mesh's planes (R, 2, m, k) as (R, k, m, 2), or back, in the type of `like`."""
    turned = values.transpose(1, 3)
    return like.new_empty(turned.shape).copy_(turned)


def output_probabilities(
    phases: torch.Tensor, left: torch.Tensor, right: torch.Tensor, circuit: Sandwich
) -> torch.Tensor:
    """Probabilities (R, B, N) behind interferometer, phases, interferometer; on the CPU.

    `phases` (R, B, m) and those of the two meshes (R, m m, see `mesh_unitary`) are in radians.
    """
    return _Probabilities.apply(phases, left, right, circuit)
