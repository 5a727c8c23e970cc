"""Interferometers gate by gate, and phases to probabilities in one compiled pass."""

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from qllm_helpers.photons.kernels import (
    add_conjugate_product,
    add_product,
    load_complex,
    lower_levels,
    nothing,
    raise_levels,
    store_complex,
)
from qllm_helpers.photons.lanes import LANES, jit, load, load_rows, spread, store, store_rows

# What a gate is: a phase on a mode, a beam splitter (a rotation about x by twice its angle), or a
# matrix that mixes neighbouring modes.
TURN, SPLIT, MIX = range(3)


class Gates(NamedTuple):
    """An interferometer in light's order."""

    n_modes: int
    # (G, 4): what it is, its first mode, its angle (-1 - k: constant k) or block, its modes
    steps: np.ndarray
    constants: np.ndarray  # cosines and sines of known angles, (K, 2)
    blocks: np.ndarray  # real and imaginary parts of matrices, (L, 2, k, k); K and L > 0


@lru_cache(maxsize=64)
def mesh_gates(n_modes: int) -> Gates:
    """A rectangular mesh (Clements et al. 2016): two phases for each pair of splitters, then m."""
    columns = (range(column % 2, n_modes - 1, 2) for column in range(n_modes))
    steps, angle = [], itertools.count()
    for mode in itertools.chain(*columns):
        for _ in range(2):
            steps += [(SPLIT, mode, -1, 2), (TURN, mode, next(angle), 1)]
    steps += [(TURN, mode, next(angle), 1) for mode in range(n_modes)]
    steps = np.array(steps, dtype=np.int64)
    steps.setflags(write=False)
    return Gates(n_modes, steps, np.sqrt([[0.5, 0.5]]), np.zeros((1, 2, 1, 1)))


# Replicas are lanes, and complex row i k + j is the amplitude from column j to mode i. In double
# precision: gates cost microseconds, and a replica's rounding must not depend on the others.


@jit
def _turn(light, mode, n_columns, turn):
    """Multiply a mode's amplitudes by exp(i phase); `turn`: cosine and sine."""
    for row in range(mode * n_columns, (mode + 1) * n_columns):
        value = add_product(nothing(light), load_complex(light, row), turn)
        store_complex(light, row, value)


@jit
def _split_beam(light, mode, n_columns, turn):
    """A beam splitter on `mode` and the next one."""
    cosine, sine = turn
    for row in range(mode * n_columns, (mode + 1) * n_columns):
        (a, b), (c, d) = load_complex(light, row), load_complex(light, row + n_columns)
        store_complex(light, row, (cosine * a - sine * d, cosine * b + sine * c))
        store_complex(light, row + n_columns, (cosine * c - sine * b, cosine * d + sine * a))


@jit
def _mix(light, mode, n_columns, n_rows, block, inverse):
    """A matrix, or its conjugate transpose, on `n_rows` modes from `mode` on."""
    start, end = mode * n_columns, (mode + n_rows) * n_columns
    before = light[2 * start : 2 * end].copy()
    for i in range(n_rows):
        for column in range(n_columns):
            total = nothing(light)
            for j in range(n_rows):
                value = load_complex(before, j * n_columns + column)
                if inverse:
                    weight = spread(block[0, j, i]), spread(block[1, j, i])
                    total = add_conjugate_product(total, weight, value)
                else:
                    weight = spread(block[0, i, j]), spread(block[1, i, j])
                    total = add_product(total, weight, value)
            store_complex(light, start + i * n_columns + column, total)


@jit
def _apply(light, n_columns, step, constants, blocks, turns, inverse):
    """One gate, or its inverse; `turns`: cosines and sines of the angles, (A, LANES) each."""
    what, mode, index, n_rows = step
    if what == MIX:
        _mix(light, mode, n_columns, n_rows, blocks[index], inverse)
        return
    if index < 0:
        turn = spread(constants[-1 - index, 0]), spread(constants[-1 - index, 1])
    else:
        turn = load(turns[0], index), load(turns[1], index)
    if inverse:
        turn = turn[0], nothing(light)[0] - turn[1]
    if what == TURN:
        _turn(light, mode, n_columns, turn)
    else:
        _split_beam(light, mode, n_columns, turn)


@jit
def _step(steps, number):
    return steps[number, 0], steps[number, 1], steps[number, 2], steps[number, 3]


@jit
def _forward_gates(turns, gates, columns, output):
    """Columns of interferometers, `output` (R, 2 m k); `turns` (2, R, A): cosines and sines."""
    _, steps, constants, blocks = gates
    light = np.empty((output.shape[1], LANES))
    block_turns = np.empty((turns.shape[2], LANES)), np.empty((turns.shape[2], LANES))
    for first in range(0, len(output), LANES):
        load_rows(turns[0], first, block_turns[0])
        load_rows(turns[1], first, block_turns[1])
        light[:] = 0
        for k in range(len(columns)):
            light[2 * (columns[k] * len(columns) + k)] = 1
        for number in range(len(steps)):
            step = _step(steps, number)
            _apply(light, len(columns), step, constants, blocks, block_turns, False)
        store_rows(light, first, output)


@jit
def _slope(light, gradient, n_columns, mode, other):
    """Sum over columns of Re(conj(gradient[mode]) * i * light[other])."""
    total, _ = nothing(light)
    for column in range(n_columns):
        x, y = load_complex(light, other * n_columns + column)
        u, v = load_complex(gradient, mode * n_columns + column)
        total = total + v * x - u * y
    return total


@jit
def _backward_gates(turns, gates, output, gradients, slopes):
    """Walk back, undoing each unitary gate: no intermediate is stored; `slopes` (R, A)."""
    n_modes, steps, constants, blocks = gates
    n_columns = output.shape[1] // (2 * n_modes)
    light, gradient = np.empty((output.shape[1], LANES)), np.empty((output.shape[1], LANES))
    block_turns = np.empty((turns.shape[2], LANES)), np.empty((turns.shape[2], LANES))
    slope = np.zeros((turns.shape[2], LANES))
    for first in range(0, len(output), LANES):
        load_rows(turns[0], first, block_turns[0])
        load_rows(turns[1], first, block_turns[1])
        load_rows(output, first, light)
        load_rows(gradients, first, gradient)
        for number in range(len(steps) - 1, -1, -1):
            step = _step(steps, number)
            what, mode, index, _ = step
            if what == TURN and index >= 0:
                store(slope, index, _slope(light, gradient, n_columns, mode, mode))
            elif what == SPLIT and index >= 0:
                one = _slope(light, gradient, n_columns, mode, mode + 1)
                store(slope, index, one + _slope(light, gradient, n_columns, mode + 1, mode))
            _apply(light, n_columns, step, constants, blocks, block_turns, True)
            _apply(gradient, n_columns, step, constants, blocks, block_turns, True)
        store_rows(slope, first, slopes)


def _light(turns: torch.Tensor, gates: Gates, columns: np.ndarray) -> torch.Tensor:
    """Columns of interferometers, (R, m, k, 2)."""
    light = turns.new_empty(turns.shape[1], gates.n_modes, len(columns), 2)
    _forward_gates(turns.numpy(), tuple(gates), columns, light.numpy().reshape(len(light), -1))
    return light


def _slopes(turns, gates: Gates, light, gradients) -> torch.Tensor:
    """Derivatives (R, A) by the angles from those of `light`."""
    slopes = torch.empty_like(turns[0])
    arrays = (one.numpy().reshape(len(one), -1) for one in (light, gradients, slopes))
    _backward_gates(turns.numpy(), tuple(gates), *arrays)
    return slopes


class _Columns(torch.autograd.Function):
    @staticmethod
    def forward(context, angles, gates, columns):
        doubles = angles.detach().to(torch.float64)
        turns = torch.stack([doubles.cos(), doubles.sin()])
        light = _light(turns, gates, columns)
        context.turns, context.gates, context.light = turns, gates, light
        context.dtype = angles.dtype
        return torch.view_as_complex(light).to(angles.dtype.to_complex())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        gradients = torch.view_as_real(gradient.detach().to(torch.complex128).resolve_conj())
        slopes = _slopes(context.turns, context.gates, context.light, gradients.contiguous())
        return slopes.to(context.dtype), None, None


def unitary(
    angles: torch.Tensor, gates: Gates, columns: Sequence[int] | None = None
) -> torch.Tensor:
    """Amplitudes (R, m, k) from modes `columns` (default: all) behind `gates` with angles (R, A).

    An angle in radians is a gate's own: a phase, or half the angle of a beam splitter.
    """
    columns = np.arange(gates.n_modes) if columns is None else np.array(columns)
    return _Columns.apply(angles.cpu(), gates, columns).to(angles.device)


def mesh_unitary(
    phases: torch.Tensor, n_modes: int, columns: Sequence[int] | None = None
) -> torch.Tensor:
    """`unitary` of meshes; `phases` (R, m m), radians, in the order of `mesh_gates`."""
    return unitary(phases, mesh_gates(n_modes), columns)


@jit
def _spread_complex(values, index):
    return spread(values[index, 0]), spread(values[index, 1])


@jit
def _turn_light(cosines, sines, entered, turned):
    """turned[k, i] = exp(i phase_i) * entered[k, i]; `entered` (n m, 2), complex rows n m."""
    n_modes = cosines.shape[0]
    for row in range(entered.shape[0]):
        turn = load(cosines, row % n_modes), load(sines, row % n_modes)
        light = add_product(nothing(turned), _spread_complex(entered, row), turn)
        store_complex(turned, row, light)


@jit
def _mix_modes(turned, right, forms):
    """forms[k, j] = sum_i right[i, j] * turned[k, i]; `right` (m m, 2), complex rows n m."""
    n_modes = int(np.sqrt(right.shape[0]))
    for row in range(forms.shape[0] // 2):
        j, total = row % n_modes, nothing(forms)
        for i in range(n_modes):
            weight = _spread_complex(right, i * n_modes + j)
            total = add_product(total, weight, load_complex(turned, row - j + i))
        store_complex(forms, row, total)


@jit
def _square(rows, squared):
    """|.|^2 of every row as the real part of `squared`, whose imaginary part becomes zero."""
    for row in range(rows.shape[0] // 2):
        x, y = load_complex(rows, row)
        store_complex(squared, row, (x * x + y * y, x - x))


@jit
def _raise_block(phases, first, entered, right, tables, classical, work):
    """Amplitudes of one block; with `classical` particles their probabilities."""
    cosines, sines, turned, columns, forms, amplitudes = work
    load_rows(phases[0], first, cosines)
    load_rows(phases[1], first, sines)
    _turn_light(cosines, sines, entered, turned)
    _mix_modes(turned, right, columns)
    forms[:] = columns
    if classical:
        _square(columns, forms)
    raise_levels(forms, tables, amplitudes)


@jit
def _weigh(amplitudes, first, weights, classical, normalise, probabilities, total):
    """Probabilities (N, LANES) of a block from row `first` on, and the sum divided out."""
    sums, _ = nothing(total)
    for row in range(len(weights)):
        probability, y = load_complex(amplitudes, first + row)
        if not classical:
            probability = spread(weights[row]) * (probability * probability + y * y)
        store(probabilities, row, probability)
        sums = sums + probability
    store(total, 0, sums)
    if not normalise:
        total[:] = 1
        return
    for lane in range(LANES):
        if total[0, lane] == 0:  # lanes without a sample
            total[0, lane] = 1
    sums = load(total, 0)
    for row in range(len(weights)):
        store(probabilities, row, load(probabilities, row) / sums)


@jit
def _unweigh(amplitudes, first, weights, classical, normalise, probabilities, sums, slopes, out):
    """Reverse-mode derivative of `_weigh`; `slopes` (N, LANES), `out` complex as amplitudes."""
    mean, zero = nothing(slopes)
    if normalise:
        for row in range(len(weights)):
            mean = mean + load(slopes, row) * load(probabilities, row)
    total = load(sums, 0)
    for row in range(len(weights)):
        part = (load(slopes, row) - mean) / total
        gradient = part, zero
        if not classical:
            part = spread(weights[row]) * (part + part)
            x, y = load_complex(amplitudes, first + row)
            gradient = part * x, part * y
        store_complex(out, first + row, gradient)


@jit
def _unmix_modes(turned, right, form_gradients, turned_gradients, right_gradient):
    """Reverse-mode derivative of `_mix_modes`; `right_gradient`, m m complex rows, is added to."""
    n_modes = int(np.sqrt(right.shape[0]))
    for row in range(turned.shape[0] // 2):
        i, light, total = row % n_modes, load_complex(turned, row), nothing(turned)
        for j in range(n_modes):
            entry = i * n_modes + j
            gradient = load_complex(form_gradients, row - i + j)
            total = add_conjugate_product(total, _spread_complex(right, entry), gradient)
            slope = load_complex(right_gradient, entry)
            store_complex(right_gradient, entry, add_conjugate_product(slope, light, gradient))
        store_complex(turned_gradients, row, total)


@jit
def _unturn_light(cosines, sines, turned, turned_gradients, phase_slopes, entered_gradient):
    """Reverse-mode derivative of `_turn_light`; `entered_gradient`, complex rows, is added to."""
    n_modes = cosines.shape[0]
    phase_slopes[:] = 0
    for row in range(turned.shape[0] // 2):
        mode = row % n_modes
        light, gradient = load_complex(turned, row), load_complex(turned_gradients, row)
        slope = load(phase_slopes, mode) + gradient[1] * light[0] - gradient[0] * light[1]
        store(phase_slopes, mode, slope)
        turn, total = (load(cosines, mode), load(sines, mode)), load_complex(entered_gradient, row)
        store_complex(entered_gradient, row, add_conjugate_product(total, turn, gradient))


@jit
def _workspace(n_modes, n_forms, n_rows, lane_type):
    """Rows for one block: cosines, sines, turned, columns, forms, amplitudes."""
    return (
        np.zeros((n_modes, LANES), lane_type),
        np.zeros((n_modes, LANES), lane_type),
        np.empty((2 * n_forms, LANES), lane_type),
        np.empty((2 * n_forms, LANES), lane_type),
        np.empty((2 * n_forms, LANES), lane_type),
        np.empty((2 * n_rows, LANES), lane_type),
    )


@jit
def _unsquare(rows, gradients):
    """Reverse-mode derivative of `_square`, in place."""
    for row in range(rows.shape[0] // 2):
        (x, y), (slope, _) = load_complex(rows, row), load_complex(gradients, row)
        slope = slope + slope
        store_complex(gradients, row, (slope * x, slope * y))


@jit
def _input_first(columns, values):
    """A mesh's columns (m, k, 2) as (k, m, 2), in the type of `values`."""
    return np.ascontiguousarray(columns.transpose(1, 0, 2)).astype(values.dtype)


@jit
def _entered(left, photon_modes, values):
    """Amplitudes (n m, 2) of the photons behind the first mesh."""
    columns = _input_first(left, values)
    entered = np.empty((len(photon_modes), *columns.shape[1:]), values.dtype)
    for photon in range(len(photon_modes)):
        entered[photon] = columns[photon_modes[photon]]
    return entered.reshape(-1, 2)


@jit
def _summed(rows, n_columns):
    """Derivatives (k, m, 2) of columns, summed over samples."""
    return rows.reshape(n_columns, -1, 2, LANES).sum(axis=3)


@jit
def _forward(phases, light, photon_modes, tables, weights, classical, normalise, output):
    """Fill `output` (R, B, N); `phases` (R, 2, B, m): cosines, sines; `light`: all both meshes."""
    n_replicas, n_modes, last = len(phases), light.shape[1], tables[0][-2]
    work = _workspace(n_modes, n_modes * len(photon_modes), tables[0][-1], output.dtype)
    probabilities = np.empty((len(weights), LANES), output.dtype)
    total = np.empty((1, LANES), output.dtype)
    for r in range(n_replicas):
        entered = _entered(light[r], photon_modes, output)
        mixer = _input_first(light[n_replicas + r], output).reshape(-1, 2)
        for first in range(0, phases.shape[2], LANES):
            _raise_block(phases[r], first, entered, mixer, tables, classical, work)
            _weigh(work[5], last, weights, classical, normalise, probabilities, total)
            store_rows(probabilities, first, output[r])


@jit
def _backward(phases, light, photon_modes, tables, weights, classical, normalise, slopes, results):
    """Derivatives with respect to phases (R, B, m) and the columns of all meshes."""
    phase_slopes, light_slopes = results
    n_replicas, n_modes, n_photons = len(phases), light.shape[1], len(photon_modes)
    last = tables[0][-2]
    work = _workspace(n_modes, n_modes * n_photons, tables[0][-1], slopes.dtype)
    cosines, sines, turned, columns, forms, amplitudes = work
    gradients, form_gradients = np.empty_like(amplitudes), np.empty_like(forms)
    turned_gradients, entered_rows = np.empty_like(forms), np.empty_like(forms)
    mixer_rows = np.empty((2 * n_modes * n_modes, LANES), slopes.dtype)
    probabilities = np.empty((len(weights), LANES), slopes.dtype)
    slope_rows, phase_rows = np.empty_like(probabilities), np.empty_like(cosines)
    total = np.empty((1, LANES), slopes.dtype)
    light_slopes[:] = 0
    for r in range(n_replicas):
        entered = _entered(light[r], photon_modes, slopes)
        mixer = _input_first(light[n_replicas + r], slopes).reshape(-1, 2)
        entered_rows[:] = 0
        mixer_rows[:] = 0
        for first in range(0, phases.shape[2], LANES):
            _raise_block(phases[r], first, entered, mixer, tables, classical, work)
            _weigh(amplitudes, last, weights, classical, normalise, probabilities, total)
            load_rows(slopes[r], first, slope_rows)
            _unweigh(
                amplitudes, last, weights, classical, normalise,
                probabilities, total, slope_rows, gradients,
            )  # fmt: skip
            lower_levels(forms, tables, amplitudes, gradients, form_gradients)
            if classical:
                _unsquare(columns, form_gradients)
            _unmix_modes(turned, mixer, form_gradients, turned_gradients, mixer_rows)
            _unturn_light(cosines, sines, turned, turned_gradients, phase_rows, entered_rows)
            store_rows(phase_rows, first, phase_slopes[r])
        each = _summed(entered_rows, n_photons)
        for photon in range(n_photons):
            light_slopes[r, :, photon_modes[photon]] += each[photon]
        light_slopes[n_replicas + r] = _summed(mixer_rows, n_modes).transpose(1, 0, 2)


class _Probabilities(torch.autograd.Function):
    # Outputs are torch's memory: NumPy's alignment varies, and with it the rounding of products.
    @staticmethod
    def forward(context, phases, left, right, tables, modes, weights, classical, normalise):
        angles = torch.cat([left.detach(), right.detach()]).double()
        turns, gates = torch.stack([angles.cos(), angles.sin()]), mesh_gates(phases.shape[2])
        light = _light(turns, gates, np.arange(gates.n_modes))
        waves = torch.stack([phases.detach().cos(), phases.detach().sin()], dim=1)
        options = np.array(modes), tables[1:], weights, classical, normalise
        output = phases.new_empty(*phases.shape[:2], len(weights))
        _forward(waves.numpy(), light.numpy(), *options, output.numpy())
        context.save_for_backward(waves, turns, light)
        context.options = options
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        waves, turns, light = context.saved_tensors
        slopes = gradient.detach().contiguous().numpy()
        results = torch.empty_like(waves[:, 0]), torch.empty_like(light)
        targets = tuple(one.numpy() for one in results)
        _backward(waves.numpy(), light.numpy(), *context.options, slopes, targets)
        mesh = _slopes(turns, mesh_gates(light.shape[1]), light, results[1])
        return results[0], *mesh.to(gradient.dtype).chunk(2), *[None] * 5


# Probabilities (R, B, N), on the CPU, from phases (R, B, m) and meshes (R, m m), radians, tables,
# the mode of every photon, `bunching_factors` in the type of the phases, whether the particles are
# classical (do not interfere), and whether probabilities are divided by their sum.
output_probabilities = _Probabilities.apply
