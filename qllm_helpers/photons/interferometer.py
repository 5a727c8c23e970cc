"""Meshes of interferometers, and phases to probabilities in one compiled pass, block by block."""

from collections.abc import Sequence
from functools import lru_cache

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

_BALANCED = float(np.sqrt(0.5))


@lru_cache(maxsize=64)
def mesh_layout(n_modes: int) -> np.ndarray:
    """Upper modes, (m (m - 1) / 2,), of a mesh in light's order (Clements et al. 2016)."""
    columns = (range(column % 2, n_modes - 1, 2) for column in range(n_modes))
    layout = np.array([mode for column in columns for mode in column], dtype=np.int64)
    layout.setflags(write=False)
    return layout


# Real and imaginary parts lie in separate planes: a gate is a few vector operations on two rows.
@jit
def _turn(real, imaginary, cosine, sine):
    """Multiply a row by exp(i phase)."""
    for column in range(real.shape[0]):
        x, y = real[column], imaginary[column]
        real[column] = cosine * x - sine * y
        imaginary[column] = cosine * y + sine * x


@jit
def _split_beam(planes, row, sign):
    """A balanced beam splitter on rows `row`, `row + 1` (`sign` -1: its inverse)."""
    upper_real, lower_real = planes[0, row], planes[0, row + 1]
    upper_imaginary, lower_imaginary = planes[1, row], planes[1, row + 1]
    cross = sign * _BALANCED
    for column in range(upper_real.shape[0]):
        a, b = upper_real[column], upper_imaginary[column]
        c, d = lower_real[column], lower_imaginary[column]
        upper_real[column] = _BALANCED * a - cross * d
        upper_imaginary[column] = _BALANCED * b + cross * c
        lower_real[column] = _BALANCED * c - cross * b
        lower_imaginary[column] = _BALANCED * d + cross * a


@jit
def _mesh_forward(turns, layout, columns, planes):
    """Fill `planes` (R, 2, m, k) with columns of the meshes; `turns` (2, R, m * m): cos, sin."""
    n_gates = len(layout)
    planes[:] = 0
    for replica in range(len(planes)):
        light, cosine, sine = planes[replica], turns[0, replica], turns[1, replica]
        for k in range(len(columns)):
            light[0, columns[k], k] = 1
        for j in range(n_gates):
            row = layout[j]
            for index in range(2 * j, 2 * j + 2):
                _split_beam(light, row, 1.0)
                _turn(light[0, row], light[1, row], cosine[index], sine[index])
        for row in range(light.shape[1]):
            index = 2 * n_gates + row
            _turn(light[0, row], light[1, row], cosine[index], sine[index])


@jit
def _undo_phase(light, gradient, row, cosine, sine):
    """Take a phase shifter off `light` and `gradient`; return the phase's own derivative."""
    slope = 0.0
    for column in range(light.shape[2]):
        # Re(conj(gradient) * i * light), summed over the row that the phase turns
        slope += gradient[1, row, column] * light[0, row, column]
        slope -= gradient[0, row, column] * light[1, row, column]
    _turn(light[0, row], light[1, row], cosine, -sine)
    _turn(gradient[0, row], gradient[1, row], cosine, -sine)
    return slope


@jit
def _mesh_backward(turns, layout, planes, gradients, slopes):
    """Walk the mesh backwards, undoing each unitary element: no intermediate is stored."""
    n_gates = len(layout)
    for replica in range(len(planes)):
        light, gradient = planes[replica], gradients[replica]
        cosine, sine, slope = turns[0, replica], turns[1, replica], slopes[replica]
        for row in range(light.shape[1]):
            index = 2 * n_gates + row
            slope[index] = _undo_phase(light, gradient, row, cosine[index], sine[index])
        for j in range(n_gates - 1, -1, -1):
            row = layout[j]
            for index in range(2 * j + 1, 2 * j - 1, -1):
                slope[index] = _undo_phase(light, gradient, row, cosine[index], sine[index])
                _split_beam(light, row, -1.0)
                _split_beam(gradient, row, -1.0)


def _planes(turns: torch.Tensor, n_modes: int, columns: np.ndarray) -> torch.Tensor:
    planes = turns.new_empty(turns.shape[1], 2, n_modes, len(columns))
    _mesh_forward(turns.numpy(), mesh_layout(n_modes), columns, planes.numpy())
    return planes


def _slopes(turns, planes, gradients) -> torch.Tensor:
    """Derivatives (R, m m) by the phases; `gradients`, those of the planes, are overwritten."""
    slopes, layout = torch.empty_like(turns[0]), mesh_layout(planes.shape[2])
    light = planes.clone()
    _mesh_backward(turns.numpy(), layout, light.numpy(), gradients.numpy(), slopes.numpy())
    return slopes


class _MeshColumns(torch.autograd.Function):
    # In float64: meshes cost microseconds, and a replica's rounding must not depend on the others.
    @staticmethod
    def forward(context, phases, n_modes, columns):
        angles = phases.detach().to(torch.float64)
        turns = torch.stack([angles.cos(), angles.sin()])
        planes = _planes(turns, n_modes, columns)
        context.turns, context.planes, context.dtype = turns, planes, phases.dtype
        return torch.complex(planes[:, 0], planes[:, 1]).to(phases.dtype.to_complex())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        gradient = gradient.detach().to(torch.complex128)
        gradients = torch.stack([gradient.real, gradient.imag], dim=1)
        slopes = _slopes(context.turns, context.planes, gradients)
        return slopes.to(context.dtype), None, None


def mesh_unitary(
    phases: torch.Tensor, n_modes: int, columns: Sequence[int] | None = None
) -> torch.Tensor:
    """Amplitudes (R, m, k) from modes `columns` (default: all) to every mode of meshes.

    `phases` (R, m m), radians: two of each interferometer in the order of `mesh_layout`, then m.
    """
    columns = np.arange(n_modes) if columns is None else np.array(columns)
    return _MeshColumns.apply(phases.cpu(), n_modes, columns).to(phases.device)


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
def _input_first(planes, values):
    """A mesh's planes (2, m, k) as (k, m, 2), in the type of `values`."""
    return np.ascontiguousarray(planes.T).astype(values.dtype)


@jit
def _forward(phases, left, right, tables, weights, classical, normalise, output):
    """Fill `output` (R, B, N); `phases` (R, 2, B, m) are cosines and sines; planes of meshes."""
    n_modes, last = right.shape[2], tables[0][-2]
    work = _workspace(n_modes, n_modes * left.shape[3], tables[0][-1], output.dtype)
    probabilities = np.empty((len(weights), LANES), output.dtype)
    total = np.empty((1, LANES), output.dtype)
    for r in range(len(right)):
        entered = _input_first(left[r], output).reshape(-1, 2)
        mixer = _input_first(right[r], output).reshape(-1, 2)
        for first in range(0, phases.shape[2], LANES):
            _raise_block(phases[r], first, entered, mixer, tables, classical, work)
            _weigh(work[5], last, weights, classical, normalise, probabilities, total)
            store_rows(probabilities, first, output[r])


@jit
def _backward(phases, left, right, tables, weights, classical, normalise, slopes, results):
    """Derivatives with respect to phases (R, B, m) and the planes of both meshes."""
    phase_slopes, left_gradients, right_gradients = results
    n_modes, n_photons, last = left.shape[2], left.shape[3], tables[0][-2]
    work = _workspace(n_modes, n_modes * n_photons, tables[0][-1], slopes.dtype)
    cosines, sines, turned, columns, forms, amplitudes = work
    gradients, form_gradients = np.empty_like(amplitudes), np.empty_like(forms)
    turned_gradients, entered_rows = np.empty_like(forms), np.empty_like(forms)
    mixer_rows = np.empty((2 * n_modes * n_modes, LANES), slopes.dtype)
    probabilities = np.empty((len(weights), LANES), slopes.dtype)
    slope_rows, phase_rows = np.empty_like(probabilities), np.empty_like(cosines)
    total = np.empty((1, LANES), slopes.dtype)
    for r in range(len(right)):
        entered = _input_first(left[r], slopes).reshape(-1, 2)
        mixer = _input_first(right[r], slopes).reshape(-1, 2)
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
        left_gradients[r] = entered_rows.reshape(n_photons, n_modes, 2, LANES).sum(axis=3).T
        right_gradients[r] = mixer_rows.reshape(n_modes, n_modes, 2, LANES).sum(axis=3).T


class _Probabilities(torch.autograd.Function):
    # Meshes in float64, as above. All memory comes from torch: NumPy's alignment varies, and with
    # it the rounding of later products.
    @staticmethod
    def forward(context, phases, left, right, tables, modes, weights, classical, normalise):
        angles = torch.stack([left.detach(), right.detach()]).double()
        turns = torch.stack([angles.cos(), angles.sin()], dim=1)
        n_modes, options = phases.shape[2], (tables[1:], weights, classical, normalise)
        columns = (np.array(modes), np.arange(n_modes))
        planes = [_planes(turns[k], n_modes, columns[k]) for k in range(2)]
        waves = torch.stack([phases.detach().cos(), phases.detach().sin()], dim=1)
        output = phases.new_empty(*phases.shape[:2], len(weights))
        _forward(waves.numpy(), *(one.numpy() for one in planes), *options, output.numpy())
        context.save_for_backward(waves, turns, *planes)
        context.options = options
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        waves, turns, *planes = context.saved_tensors
        slopes = gradient.detach().contiguous().numpy()
        results = [torch.empty_like(one) for one in (waves[:, 0], *planes)]
        arrays, targets = ([one.numpy() for one in part] for part in ([waves, *planes], results))
        _backward(*arrays, *context.options, slopes, tuple(targets))
        mesh = [_slopes(*one) for one in zip(turns, planes, results[1:], strict=True)]
        return results[0], *(one.to(gradient.dtype) for one in mesh), *[None] * 5


# Probabilities (R, B, N), on the CPU, from phases (R, B, m) and meshes (R, m m), radians, tables,
# the mode of every photon, `bunching_factors` in the type of the phases, whether the particles are
# classical (do not interfere), and whether probabilities are divided by their sum.
output_probabilities = _Probabilities.apply
