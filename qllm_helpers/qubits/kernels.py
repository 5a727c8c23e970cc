"""Gates on real state vectors: compiled, with a derivative that undoes the circuit.

A state is an array of shape (2^Q, LANES): amplitudes along the rows, `LANES` samples side by side.
The gates of the paper's circuits are an optional CNOT followed by RY(theta) on its target; together
they are one pass over the rows, because the CNOT only changes which row is read. Two successive
gates with different targets share a pass, four rows at a time. Every lane does the same
arithmetic whatever the others hold, so a sample's bits do not depend on its neighbours.

The circuits are orthogonal, so the backward pass undoes the gates on the state and on its gradient
(adjoint differentiation; Jones and Gacon, arXiv 2009.02823) and nothing is stored per gate.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from qllm_helpers.photons.lanes import load, store

_jit = njit(cache=True, nogil=True, fastmath={"contract"})


@_jit
def _row(index, bit):
    """`index` with a zero put in at position `bit`."""
    return ((index >> bit) << (bit + 1)) | (index & ((1 << bit) - 1))


@_jit
def _rotate(cosine, sine, zero, one):
    return cosine * zero - sine * one, sine * zero + cosine * one


@_jit
def _rotate_back(cosine, sine, zero, one):
    return cosine * zero + sine * one, cosine * one - sine * zero


@_jit
def _one_gate(state, gate, controls, targets, cosines, sines):
    """Apply one gate; `controls` holds bit masks (0: no control), `targets` bit positions."""
    control, target = controls[gate], targets[gate]
    cosine, sine = load(cosines, gate), load(sines, gate)
    for index in range(state.shape[0] >> 1):
        row = _row(index, target)
        flip = np.intp((row & control) != 0) << target
        zero, one = load(state, row + flip), load(state, row + (1 << target) - flip)
        zero, one = _rotate(cosine, sine, zero, one)
        store(state, row, zero)
        store(state, row + (1 << target), one)


@_jit
def _two_gates(state, gate, controls, targets, cosines, sines):
    """Apply gates `gate` and `gate + 1`, for which `_can_fuse` holds, in one pass."""
    target, second = targets[gate], targets[gate + 1]
    a, b = 1 << target, 1 << second
    chain = controls[gate + 1] == a
    control, outer = controls[gate], 0 if chain else controls[gate + 1]
    cosine, sine = load(cosines, gate), load(sines, gate)
    cosine2, sine2 = load(cosines, gate + 1), load(sines, gate + 1)
    for index in range(state.shape[0] >> 2):
        row = _row(_row(index, min(target, second)), max(target, second))
        flip = np.intp((row & control) != 0) << target
        base = row + (np.intp((row & outer) != 0) << second)
        other = row + row + b - base
        z0, o0 = load(state, base + flip), load(state, base + a - flip)
        z1, o1 = load(state, other + flip), load(state, other + a - flip)
        z0, o0 = _rotate(cosine, sine, z0, o0)
        z1, o1 = _rotate(cosine, sine, z1, o1)
        if chain:
            o0, o1 = o1, o0
        z0, z1 = _rotate(cosine2, sine2, z0, z1)
        o0, o1 = _rotate(cosine2, sine2, o0, o1)
        store(state, row, z0)
        store(state, row + b, z1)
        store(state, row + a, o0)
        store(state, row + a + b, o1)


@_jit
def _undo_one(state, slope, gate, controls, targets, cosines, sines, gradients):
    """Take a gate off the state and its gradient `slope`; write the angle's derivative."""
    control, target = controls[gate], targets[gate]
    cosine, sine = load(cosines, gate), load(sines, gate)
    total = cosine - cosine
    for index in range(state.shape[0] >> 1):
        row = _row(index, target)
        flip = np.intp((row & control) != 0) << target
        zero, one = load(state, row), load(state, row + (1 << target))
        zero_slope, one_slope = load(slope, row), load(slope, row + (1 << target))
        total = total + (one_slope * zero - zero_slope * one)
        zero, one = _rotate_back(cosine, sine, zero, one)
        zero_slope, one_slope = _rotate_back(cosine, sine, zero_slope, one_slope)
        store(state, row + flip, zero)
        store(state, row + (1 << target) - flip, one)
        store(slope, row + flip, zero_slope)
        store(slope, row + (1 << target) - flip, one_slope)
    store(gradients, gate, total)


@_jit
def _undo_two(state, slope, gate, controls, targets, cosines, sines, gradients):
    """Take the gates `gate + 1` and `gate` off, as `_two_gates` put them on."""
    target, second = targets[gate], targets[gate + 1]
    a, b = 1 << target, 1 << second
    chain = controls[gate + 1] == a
    control, outer = controls[gate], 0 if chain else controls[gate + 1]
    cosine, sine = load(cosines, gate), load(sines, gate)
    cosine2, sine2 = load(cosines, gate + 1), load(sines, gate + 1)
    total = cosine - cosine
    total2 = total
    for index in range(state.shape[0] >> 2):
        row = _row(_row(index, min(target, second)), max(target, second))
        flip = np.intp((row & control) != 0) << target
        base = row + (np.intp((row & outer) != 0) << second)
        other = row + row + b - base
        z0, z1 = load(state, row), load(state, row + b)
        o0, o1 = load(state, row + a), load(state, row + a + b)
        y0, y1 = load(slope, row), load(slope, row + b)
        p0, p1 = load(slope, row + a), load(slope, row + a + b)
        total2 = total2 + (y1 * z0 - y0 * z1) + (p1 * o0 - p0 * o1)
        z0, z1 = _rotate_back(cosine2, sine2, z0, z1)
        o0, o1 = _rotate_back(cosine2, sine2, o0, o1)
        y0, y1 = _rotate_back(cosine2, sine2, y0, y1)
        p0, p1 = _rotate_back(cosine2, sine2, p0, p1)
        if chain:
            o0, o1, p0, p1 = o1, o0, p1, p0
        total = total + (p0 * z0 - y0 * o0) + (p1 * z1 - y1 * o1)
        z0, o0 = _rotate_back(cosine, sine, z0, o0)
        z1, o1 = _rotate_back(cosine, sine, z1, o1)
        y0, p0 = _rotate_back(cosine, sine, y0, p0)
        y1, p1 = _rotate_back(cosine, sine, y1, p1)
        store(state, base + flip, z0)
        store(state, base + a - flip, o0)
        store(state, other + flip, z1)
        store(state, other + a - flip, o1)
        store(slope, base + flip, y0)
        store(slope, base + a - flip, p0)
        store(slope, other + flip, y1)
        store(slope, other + a - flip, p1)
    store(gradients, gate, total)
    store(gradients, gate + 1, total2)


@_jit
def _can_fuse(gate, controls, targets):
    """Whether a gate and the next one act on four rows that only they mix."""
    if gate + 1 >= len(targets):
        return False
    return targets[gate] != targets[gate + 1] and controls[gate] != 1 << targets[gate + 1]


@_jit
def apply_gates(state, controls, targets, cosines, sines):
    """Run a circuit on one block of samples, in place.

    Parameters
    ----------
    state : float array, shape (2^Q, LANES)
    controls : int64 array, shape (G,)
        Bit masks of the control qubits, 0 for a rotation without a CNOT before it.
    targets : int64 array, shape (G,)
        Bit positions of the target qubits.
    cosines, sines : float arrays, shape (G, LANES)
        Of half of each gate's angle, for every sample.
    """
    gate = 0
    while gate < len(targets):
        if _can_fuse(gate, controls, targets):
            _two_gates(state, gate, controls, targets, cosines, sines)
            gate += 2
        else:
            _one_gate(state, gate, controls, targets, cosines, sines)
            gate += 1


@_jit
def undo_gates(state, slope, controls, targets, cosines, sines, gradients):
    """Run a circuit backwards on a state and on its gradient, in place.

    Parameters
    ----------
    state, slope : float arrays, shape (2^Q, LANES)
        Final state and derivative with respect to it; afterwards those at the start.
    controls, targets, cosines, sines
        As in `apply_gates`.
    gradients : float array, shape (G, LANES)
        Receives twice the derivative with respect to each gate's angle.
    """
    gate = len(targets) - 1
    # The pairs of `apply_gates`, from the back: they start where a run of fusable gates does.
    while gate >= 0:
        start = gate
        while start > 0 and _can_fuse(start - 1, controls, targets):
            start -= 1
        if (gate - start) % 2 == 0:
            _undo_one(state, slope, gate, controls, targets, cosines, sines, gradients)
            gate -= 1
        while gate > start:
            _undo_two(state, slope, gate - 1, controls, targets, cosines, sines, gradients)
            gate -= 2


@_jit
def measure(state, work, expectations):
    """Expectation of Z for every qubit.

    Parameters
    ----------
    state : float array, shape (2^Q, LANES)
    work : float array, shape (2^Q, LANES)
        Overwritten.
    expectations : float array, shape (Q, LANES)
        Receives them, by bit position.
    """
    half = state.shape[0] >> 1
    bit = len(expectations) - 1
    total = load(state, 0) - load(state, 0)
    for row in range(half):
        zero, one = load(state, row), load(state, row + half)
        zero, one = zero * zero, one * one
        total = total + (zero - one)
        store(work, row, zero + one)
    store(expectations, bit, total)
    # The register without its highest qubit, again and again: half the rows every time.
    while bit > 0:
        bit -= 1
        half >>= 1
        total = total - total
        for row in range(half):
            zero, one = load(work, row), load(work, row + half)
            total = total + (zero - one)
            store(work, row, zero + one)
        store(expectations, bit, total)


@_jit
def measure_backward(state, weights, slope):
    """Derivative of sum_q weights[q] <Z_q> with respect to the state, into `slope`."""
    total = load(weights, 0)
    store(slope, 0, total)
    store(slope, 1, total - total - total)
    rows = 2
    for bit in range(1, len(weights)):
        weight = load(weights, bit)
        for row in range(rows):
            value = load(slope, row)
            store(slope, row + rows, value - weight)
            store(slope, row, value + weight)
        rows *= 2
    for row in range(rows):
        value = load(slope, row) * load(state, row)
        store(slope, row, value + value)
