"""Unitary matrices of meshes of Mach-Zehnder interferometers, with a hand-written derivative."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit

_jit = njit(cache=True, nogil=True)


def mesh_layout(n_modes: int) -> np.ndarray:
    """Upper mode of each Mach-Zehnder interferometer of a rectangular mesh, in light's order.

    Returns
    -------
    ndarray of int64, shape (m (m - 1) / 2,)
        As in Perceval's `GenericInterferometer` with `InterferometerShape.RECTANGLE` (Clements et
        al. 2016): columns start at mode 0 and at mode 1 in turn.
    """
    columns = (range(column % 2, n_modes - 1, 2) for column in range(n_modes))
    return np.array([mode for column in columns for mode in column], dtype=np.int64)


@_jit
def _rotate_phase(unitary, row, phase):
    factor = complex(np.cos(phase), np.sin(phase))
    for column in range(unitary.shape[1]):
        unitary[row, column] *= factor


@_jit
def _split_beam(unitary, row, sign):
    """A balanced beam splitter on rows `row`, `row + 1` (`sign` -1: its inverse)."""
    cross = complex(0.0, sign * np.sqrt(0.5))
    bar = np.sqrt(0.5)
    for column in range(unitary.shape[1]):
        upper, lower = unitary[row, column], unitary[row + 1, column]
        unitary[row, column] = bar * upper + cross * lower
        unitary[row + 1, column] = cross * upper + bar * lower


@_jit
def _mesh_forward(phases, layout, unitaries):
    n_modes = unitaries.shape[1]
    for replica in range(len(phases)):
        unitary, phase = unitaries[replica], phases[replica]
        unitary[:] = 0
        for mode in range(n_modes):
            unitary[mode, mode] = 1
        for j in range(len(layout)):
            for which in range(2):
                _split_beam(unitary, layout[j], 1.0)
                _rotate_phase(unitary, layout[j], phase[2 * j + which])
        for mode in range(n_modes):
            _rotate_phase(unitary, mode, phase[2 * len(layout) + mode])


@_jit
def _undo_phase(unitary, gradient, row, phase):
    """Take a phase shifter off `unitary` and `gradient`; return the phase's own derivative."""
    slope = 0.0
    for column in range(unitary.shape[1]):
        # Re(conj(gradient) * i * unitary), summed over the row that the phase turns
        slope -= (gradient[row, column].conjugate() * unitary[row, column]).imag
    _rotate_phase(unitary, row, -phase)
    _rotate_phase(gradient, row, -phase)
    return slope


@_jit
def _mesh_backward(phases, layout, unitaries, gradients, phase_gradients):
    """Walk the mesh backwards, undoing each unitary element: no intermediate is stored."""
    n_modes = unitaries.shape[1]
    for replica in range(len(phases)):
        unitary, gradient = unitaries[replica], gradients[replica]
        phase, slopes = phases[replica], phase_gradients[replica]
        for mode in range(n_modes):
            index = 2 * len(layout) + mode
            slopes[index] = _undo_phase(unitary, gradient, mode, phase[index])
        for j in range(len(layout) - 1, -1, -1):
            for which in range(1, -1, -1):
                index = 2 * j + which
                slopes[index] = _undo_phase(unitary, gradient, layout[j], phase[index])
                _split_beam(unitary, layout[j], -1.0)
                _split_beam(gradient, layout[j], -1.0)


class _MeshUnitary(torch.autograd.Function):
    @staticmethod
    def forward(context, phases, n_modes):
        # In float64 throughout: the mesh costs microseconds, and a single replica's rounding
        # must not depend on how many others are built beside it.
        angles = phases.detach().to(torch.float64).contiguous().numpy()
        unitaries = np.empty((len(angles), n_modes, n_modes), np.complex128)
        _mesh_forward(angles, mesh_layout(n_modes), unitaries)
        context.angles, context.unitaries, context.dtype = angles, unitaries, phases.dtype
        return torch.from_numpy(unitaries).to(phases.dtype.to_complex(), copy=True)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        gradients = gradient.detach().to(torch.complex128).resolve_conj().numpy().copy()
        slopes = np.empty_like(context.angles)
        layout = mesh_layout(gradients.shape[1])
        _mesh_backward(context.angles, layout, context.unitaries.copy(), gradients, slopes)
        return torch.from_numpy(slopes).to(context.dtype, copy=True), None


def mesh_unitary(phases: torch.Tensor, n_modes: int) -> torch.Tensor:
    """Unitaries of rectangular meshes with a last column of phase shifters.

    Parameters
    ----------
    phases : float tensor, shape (R, m * m), radians
        Per replica: inner and outer phase of each Mach-Zehnder interferometer in the order of
        `mesh_layout`, then the m output phases.
    n_modes : int

    Returns
    -------
    complex tensor, shape (R, m, m)
        `U[r, i, j]`: amplitude from input mode j to output mode i; on the device of `phases`.
    """
    return _MeshUnitary.apply(phases.cpu(), n_modes).to(phases.device)
