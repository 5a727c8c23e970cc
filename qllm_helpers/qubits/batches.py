"""Circuits on many samples: blocks of lanes through the gates of `kernels_qubits`, and back."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from qllm_helpers.photons.lanes import LANES
from qllm_helpers.qubits.kernels import apply_gates, measure, measure_backward, undo_gates

_jit = njit(cache=True, nogil=True, fastmath={"contract"})


@_jit
def half_angles(angles, table):
    """Cosine and sine of half of every angle: (rows, K) radians to (rows, K, 2)."""
    for row in range(angles.shape[0]):
        for column in range(angles.shape[1]):
            half = 0.5 * np.float64(angles[row, column])
            table[row, column, 0] = math.cos(half)
            table[row, column, 1] = math.sin(half)


@_jit
def _fill_gates(first, n_samples, batch, sources, trained, given, cosines, sines):
    """Angles of one block's gates; lanes behind the last sample keep the identity."""
    cosines[:] = 1
    sines[:] = 0
    for lane in range(min(LANES, n_samples - first)):
        sample = first + lane
        replica = sample // batch
        for gate in range(len(sources)):
            source = sources[gate]
            if source >= 0:
                cosines[gate, lane] = trained[replica, source, 0]
                sines[gate, lane] = trained[replica, source, 1]
            else:
                cosines[gate, lane] = given[sample, -1 - source, 0]
                sines[gate, lane] = given[sample, -1 - source, 1]


@_jit
def _load_samples(values, first, rows):
    """Copy up to LANES samples of `values` (S, K) into the first K of `rows`, zero the rest."""
    rows[:] = 0
    for lane in range(min(LANES, len(values) - first)):
        for column in range(values.shape[1]):
            rows[column, lane] = values[first + lane, column]


@_jit
def _store_samples(rows, first, values):
    """The way back of `_load_samples`."""
    for lane in range(min(LANES, len(values) - first)):
        for column in range(values.shape[1]):
            values[first + lane, column] = rows[column, lane]


@_jit
def circuit_forward(gates, trained, given, amplitudes, batch, states, scratch, expectations):
    """Run a circuit on S samples, `batch` of them for each replica.

    Parameters
    ----------
    gates : tuple of three int64 arrays (G,)
        Control masks, target positions, and the source of each angle: j >= 0 is column j of
        `trained`, j < 0 column -1 - j of `given`.
    trained : float array, shape (R, P, 2)
    given : float array, shape (S, K, 2)
        Cosines and sines from `half_angles`.
    amplitudes : float array, shape (S, d)
        First d of the 2^Q amplitudes at the start; the others are zero.
    batch : int
    states : float array, shape (blocks, 2^Q, LANES)
        Receives the final states, or one block that is used again and again.
    scratch : tuple of float arrays
        (2^Q, LANES), (G, LANES), (G, LANES), (Q, LANES), overwritten.
    expectations : float array, shape (S, Q)
        Receives <Z>, by bit position.
    """
    controls, targets, sources = gates
    work, cosines, sines, values = scratch
    n_samples = len(amplitudes)
    for block, first in enumerate(range(0, n_samples, LANES)):
        state = states[block % len(states)]
        _fill_gates(first, n_samples, batch, sources, trained, given, cosines, sines)
        _load_samples(amplitudes, first, state)
        apply_gates(state, controls, targets, cosines, sines)
        measure(state, work, values)
        _store_samples(values, first, expectations)


@_jit
def _collect(first, batch, sources, gradients, by_gate, by_given):
    """Add one block's derivatives (G, LANES), twice those of the angles, to where they belong."""
    n_samples = len(by_given)
    for gate in range(len(sources)):
        column = -1 - sources[gate]
        for lane in range(min(LANES, n_samples - first)):
            value = 0.5 * gradients[gate, lane]
            if column < 0:
                by_gate[(first + lane) // batch, gate] += value
            elif column < by_given.shape[1]:
                by_given[first + lane, column] += value


@_jit
def circuit_backward(
    gates, trained, given, batch, states, scratch, weights, by_angle, by_given, by_amplitude
):
    """Reverse-mode derivative of `circuit_forward`.

    Parameters
    ----------
    gates, trained, given, batch
        As in `circuit_forward`.
    states : float array, shape (blocks, 2^Q, LANES)
        Final states, left as they are.
    scratch : tuple of float arrays
        Two of (2^Q, LANES), three of (G, LANES), one of (Q, LANES), overwritten.
    weights : float array, shape (S, Q)
        Derivative with respect to the expectations.
    by_angle : float64 array, shape (R, P)
        Receives the derivative by the trainable angles, summed sample by sample, so that the sum
        does not depend on how the samples fall into blocks.
    by_given, by_amplitude : float arrays, shapes (S, K) and (S, d), or (S, 0) to leave them out
        Receive the derivatives by each sample's own angles and amplitudes.
    """
    controls, targets, sources = gates
    state, slope, cosines, sines, gradients, values = scratch
    by_gate = np.zeros((len(by_angle), len(sources)))
    by_given[:] = 0
    for block, first in enumerate(range(0, len(weights), LANES)):
        state[:] = states[block]
        _fill_gates(first, len(weights), batch, sources, trained, given, cosines, sines)
        _load_samples(weights, first, values)
        measure_backward(state, values, slope)
        undo_gates(state, slope, controls, targets, cosines, sines, gradients)
        _store_samples(slope, first, by_amplitude)
        _collect(first, batch, sources, gradients, by_gate, by_given)
    by_angle[:] = 0
    for gate in range(len(sources)):
        if sources[gate] >= 0:
            by_angle[:, sources[gate]] += by_gate[:, gate]
