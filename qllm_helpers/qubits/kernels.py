"""Real state vectors (2^Q, LANES), compiled: gates, expectations of Z, and the way back.

No sample's bits depend on its neighbours in a block. The way back undoes orthogonal gates (adjoint
differentiation; Jones and Gacon, arXiv 2009.02823).
"""

import math

import numpy as np

from qllm_helpers.photons.lanes import LANES, jit, load, load_rows, store, store_rows

# A gate is an optional CNOT and RY in one pass over the rows, because the CNOT only changes which
# row is read; two gates with different targets share a pass. `controls` (G,) are bit masks, 0 for
# none, `targets` (G,) bit positions, `cosines` and `sines` (G, LANES) those of half of each angle.


@jit
def _row(index, bit):
    """`index` with a zero put in at position `bit`."""
    return ((index >> bit) << (bit + 1)) | (index & ((1 << bit) - 1))


@jit
def _rotate(cosine, sine, zero, one):
    return cosine * zero - sine * one, sine * zero + cosine * one


@jit
def _rotate_back(cosine, sine, zero, one):
    return cosine * zero + sine * one, cosine * one - sine * zero


@jit
def _one_gate(state, gate, controls, targets, cosines, sines):
    control, target = controls[gate], targets[gate]
    cosine, sine = load(cosines, gate), load(sines, gate)
    for index in range(state.shape[0] >> 1):
        row = _row(index, target)
        flip = np.intp((row & control) != 0) << target
        zero, one = load(state, row + flip), load(state, row + (1 << target) - flip)
        zero, one = _rotate(cosine, sine, zero, one)
        store(state, row, zero)
        store(state, row + (1 << target), one)


@jit
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


@jit
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


@jit
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


@jit
def _can_fuse(gate, controls, targets):
    """Whether a gate and the next one act on four rows that only they mix."""
    if gate + 1 >= len(targets):
        return False
    return targets[gate] != targets[gate + 1] and controls[gate] != 1 << targets[gate + 1]


@jit
def apply_gates(state, controls, targets, cosines, sines):
    """Run a circuit on one block of states (2^Q, LANES), in place."""
    gate = 0
    while gate < len(targets):
        if _can_fuse(gate, controls, targets):
            _two_gates(state, gate, controls, targets, cosines, sines)
            gate += 2
        else:
            _one_gate(state, gate, controls, targets, cosines, sines)
            gate += 1


@jit
def undo_gates(state, slope, controls, targets, cosines, sines, gradients):
    """Take a circuit off a state and its gradient; `gradients`: twice the angles' derivatives."""
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


@jit
def measure(state, work, expectations):
    """Write <Z> of every qubit, by bit position, into `expectations`; `work` is overwritten."""
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


@jit
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


@jit
def half_angles(angles, table):
    """Cosine and sine of half of every angle: (rows, K) radians to (rows, K, 2)."""
    for row in range(angles.shape[0]):
        for column in range(angles.shape[1]):
            half = 0.5 * np.float64(angles[row, column])
            table[row, column, 0] = math.cos(half)
            table[row, column, 1] = math.sin(half)


@jit
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


@jit
def circuit_forward(gates, trained, given, amplitudes, batch, states, scratch, expectations):
    """Run `gates` (`Circuit.arrays`) on the first amplitudes (S, d), `batch` for each replica."""
    # `trained` (R, P, 2) and `given` (S, K, 2) are `half_angles`. Written are `states` (blocks,
    # 2^Q, LANES), or one block again and again, and `expectations` (S, Q), by bit position.
    controls, targets, sources = gates
    work, cosines, sines, values = scratch
    n_samples = len(amplitudes)
    for block, first in enumerate(range(0, n_samples, LANES)):
        state = states[block % len(states)]
        _fill_gates(first, n_samples, batch, sources, trained, given, cosines, sines)
        load_rows(amplitudes, first, state)
        apply_gates(state, controls, targets, cosines, sines)
        measure(state, work, values)
        store_rows(values, first, expectations)


@jit
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


@jit
def circuit_backward(
    gates, trained, given, batch, states, scratch, weights, by_angle, by_given, by_amplitude
):
    """Derivative of `circuit_forward` from `weights` (S, Q): (R, P) and (S, .), or (S, 0)."""
    controls, targets, sources = gates
    state, slope, cosines, sines, gradients, values = scratch
    # sample by sample in double precision: how samples fall into blocks does not matter
    by_gate = np.zeros((len(by_angle), len(sources)))
    by_given[:] = 0
    for block, first in enumerate(range(0, len(weights), LANES)):
        state[:] = states[block]
        _fill_gates(first, len(weights), batch, sources, trained, given, cosines, sines)
        load_rows(weights, first, values)
        measure_backward(state, values, slope)
        undo_gates(state, slope, controls, targets, cosines, sines, gradients)
        store_rows(slope, first, by_amplitude)
        _collect(first, batch, sources, gradients, by_gate, by_given)
    by_angle[:] = 0
    for gate in range(len(sources)):
        if sources[gate] >= 0:
            by_angle[:, sources[gate]] += by_gate[:, gate]
