"""Unitary matrices of meshes of Mach-Zehnder interferometers, with a hand-written derivative."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from qllm_helpers.photons.kernels import jit

_BALANCED = float(np.sqrt(0.5))


@lru_cache(maxsize=64)
def mesh_layout(n_modes: int) -> np.ndarray:
    """Upper mode of each interferometer of a rectangular mesh, int64 (m (m - 1) / 2,), read only.

    In light's order, as Perceval's RECTANGLE (Clements et al. 2016).
    """
    columns = (range(column % 2, n_modes - 1, 2) for column in range(n_modes))
    layout = np.array([mode for column in columns for mode in column], dtype=np.int64)
    layout.setflags(write=False)
    return layout


# Real and imaginary parts lie in separate planes, so that a gate is a handful of vector operations
# on two rows.
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
def mesh_forward(turns, layout, columns, planes):
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
def mesh_backward(turns, layout, planes, gradients, slopes):
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


def mesh_planes(turns: torch.Tensor, n_modes: int, columns: np.ndarray) -> torch.Tensor:
    """Planes (R, 2, m, k) of `mesh_forward`, in memory of torch, from `turns` (2, R, m m)."""
    planes = turns.new_empty(turns.shape[1], 2, n_modes, len(columns))
    mesh_forward(turns.numpy(), mesh_layout(n_modes), columns, planes.numpy())
    return planes


def mesh_slopes(turns, planes, gradients) -> torch.Tensor:
    """Derivatives (R, m m) by the phases; `gradients`, those of the planes, are overwritten."""
    slopes, layout = torch.empty_like(turns[0]), mesh_layout(planes.shape[2])
    light = planes.clone()
    mesh_backward(turns.numpy(), layout, light.numpy(), gradients.numpy(), slopes.numpy())
    return slopes


class _MeshColumns(torch.autograd.Function):
    # In float64 throughout: the mesh costs microseconds, and a single replica's rounding must not
    # depend on how many others are built beside it.
    @staticmethod
    def forward(context, phases, n_modes, columns):
        angles = phases.detach().to(torch.float64)
        turns = torch.stack([angles.cos(), angles.sin()])
        planes = mesh_planes(turns, n_modes, columns)
        context.turns, context.planes, context.dtype = turns, planes, phases.dtype
        return torch.complex(planes[:, 0], planes[:, 1]).to(phases.dtype.to_complex())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        gradient = gradient.detach().to(torch.complex128)
        gradients = torch.stack([gradient.real, gradient.imag], dim=1)
        slopes = mesh_slopes(context.turns, context.planes, gradients)
        return slopes.to(context.dtype), None, None


def mesh_unitary(
    phases: torch.Tensor, n_modes: int, columns: Sequence[int] | None = None
) -> torch.Tensor:
    """Unitaries (R, m, k) of meshes: amplitudes from modes `columns` (default: all) to every mode.

    `phases` (R, m m), radians: inner and outer phase of each interferometer in the order of
    `mesh_layout`, then the m output phases.
    """
    columns = np.arange(n_modes) if columns is None else np.array(columns)
    return _MeshColumns.apply(phases.cpu(), n_modes, columns).to(phases.device)
