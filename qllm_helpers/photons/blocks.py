"""Operations on one block of samples: rows of LANES numbers, one for each sample.

The steps of `probabilities` and their reverse-mode derivatives. A row of complex numbers
holds LANES real parts, then LANES imaginary parts.
"""

from __future__ import annotations

import numpy as np

from qllm_helpers.photons.kernels import LANES, jit, load_rows, raise_levels


@jit
def _scale_add(real, imaginary, x, total):
    """total += (real + i imaginary) * x, lane by lane."""
    for lane in range(LANES):
        total[lane] += real * x[lane] - imaginary * x[lane + LANES]
        total[lane + LANES] += real * x[lane + LANES] + imaginary * x[lane]


@jit
def _turn_light(cosines, sines, entered, turned):
    """turned[k, i] = exp(i phase_i) * entered[k, i]; rows (n m, 2) and (n m, 2 LANES)."""
    n_modes = cosines.shape[0]
    for row in range(turned.shape[0]):
        real, imaginary = entered[row, 0], entered[row, 1]
        cosine, sine, light = cosines[row % n_modes], sines[row % n_modes], turned[row]
        for lane in range(LANES):
            light[lane] = real * cosine[lane] - imaginary * sine[lane]
            light[lane + LANES] = real * sine[lane] + imaginary * cosine[lane]


@jit
def _mix_modes(turned, right, forms):
    """forms[k, j] = sum_i right[i, j] * turned[k, i]; `right` (m, m, 2), rows (n m, 2 LANES)."""
    n_modes = right.shape[0]
    forms[:] = 0
    for start in range(0, forms.shape[0], n_modes):
        # Sums over i outside: neighbouring steps then add to different rows and overlap.
        for i in range(n_modes):
            light = turned[start + i]
            for j in range(n_modes):
                _scale_add(right[i, j, 0], right[i, j, 1], light, forms[start + j])


@jit
def _square(rows, squared):
    """|.|^2 of every row as the real part of `squared`, whose imaginary part becomes zero."""
    for row in range(rows.shape[0]):
        x, y = rows[row], squared[row]
        for lane in range(LANES):
            y[lane] = x[lane] * x[lane] + x[lane + LANES] * x[lane + LANES]
            y[lane + LANES] = 0


@jit
def raise_block(phases, first, entered, right, tables, classical, work):
    """Amplitudes of one block; with `classical` particles their probabilities."""
    cosines, sines, turned, columns, forms, amplitudes = work
    load_rows(phases[0], first, cosines)
    load_rows(phases[1], first, sines)
    _turn_light(cosines, sines, entered, turned)
    _mix_modes(turned, right, columns)
    if classical:
        _square(columns, forms)
    else:
        forms[:] = columns
    level_start, pair_start, pair_mode, pair_parent = tables
    raise_levels(forms, level_start, pair_start, pair_mode, pair_parent, amplitudes)


@jit
def weigh(amplitudes, weights, classical, normalise, probabilities, total):
    """Probabilities (N, LANES) of a block, and their sum before it is divided out."""
    total[:] = 0
    for row in range(len(weights)):
        amplitude, probability = amplitudes[row], probabilities[row]
        for lane in range(LANES):
            if classical:
                probability[lane] = amplitude[lane]
            else:
                x, y = amplitude[lane], amplitude[lane + LANES]
                probability[lane] = weights[row] * (x * x + y * y)
            total[lane] += probability[lane]
    if not normalise:
        total[:] = 1
        return
    for lane in range(LANES):
        if total[lane] == 0:  # lanes without a sample
            total[lane] = 1
    for row in range(len(weights)):
        for lane in range(LANES):
            probabilities[row, lane] /= total[lane]


@jit
def unweigh(amplitudes, weights, classical, normalise, probabilities, total, slopes, gradients):
    """Reverse-mode derivative of `weigh`; `slopes` (N, LANES) are those of the probabilities."""
    mean = np.zeros_like(total)
    if normalise:
        for row in range(len(weights)):
            for lane in range(LANES):
                mean[lane] += slopes[row, lane] * probabilities[row, lane]
    for row in range(len(weights)):
        amplitude, gradient, slope = amplitudes[row], gradients[row], slopes[row]
        for lane in range(LANES):
            part = (slope[lane] - mean[lane]) / total[lane]
            if classical:
                gradient[lane] = part
                gradient[lane + LANES] = 0
            else:
                part *= 2 * weights[row]
                gradient[lane] = part * amplitude[lane]
                gradient[lane + LANES] = part * amplitude[lane + LANES]


@jit
def unmix_modes(turned, right, form_gradients, turned_gradients, right_gradient):
    """Reverse-mode derivative of `_mix_modes`; `right_gradient` (m m, 2 LANES) is added to."""
    n_modes = right.shape[0]
    turned_gradients[:] = 0
    for start in range(0, turned.shape[0], n_modes):
        for i in range(n_modes):
            light, light_gradient = turned[start + i], turned_gradients[start + i]
            for j in range(n_modes):
                gradient = form_gradients[start + j]
                _scale_add(right[i, j, 0], -right[i, j, 1], gradient, light_gradient)
                total = right_gradient[i * n_modes + j]
                for lane in range(LANES):
                    x, y = light[lane], light[lane + LANES]
                    u, v = gradient[lane], gradient[lane + LANES]
                    total[lane] += x * u + y * v
                    total[lane + LANES] += x * v - y * u


@jit
def unturn_light(cosines, sines, turned, turned_gradients, phase_slopes, entered_gradient):
    """Reverse-mode derivative of `_turn_light`; `entered_gradient` (n m, 2 LANES) is added to."""
    n_modes = cosines.shape[0]
    phase_slopes[:] = 0
    for row in range(turned.shape[0]):
        mode = row % n_modes
        light, gradient, total = turned[row], turned_gradients[row], entered_gradient[row]
        cosine, sine, slope = cosines[mode], sines[mode], phase_slopes[mode]
        for lane in range(LANES):
            u, v = gradient[lane], gradient[lane + LANES]
            slope[lane] += v * light[lane] - u * light[lane + LANES]
            total[lane] += cosine[lane] * u + sine[lane] * v
            total[lane + LANES] += cosine[lane] * v - sine[lane] * u


@jit
def workspace(n_modes, n_forms, n_rows, lane_type):
    """Rows for one block: cosines, sines, turned, columns, forms, amplitudes."""
    return (
        np.zeros((n_modes, LANES), lane_type),
        np.zeros((n_modes, LANES), lane_type),
        np.empty((n_forms, 2 * LANES), lane_type),
        np.empty((n_forms, 2 * LANES), lane_type),
        np.empty((n_forms, 2 * LANES), lane_type),
        np.empty((n_rows, 2 * LANES), lane_type),
    )


@jit
def sum_lanes(rows, sums):
    """Sums over the lanes, real and imaginary part: `rows` (K, 2 LANES) to `sums` (K, 2)."""
    for row in range(rows.shape[0]):
        sums[row, 0] = rows[row, :LANES].sum()
        sums[row, 1] = rows[row, LANES:].sum()


@jit
def unsquare(rows, gradients):
    """Reverse-mode derivative of `_square`, in place."""
    for row in range(rows.shape[0]):
        x, gradient = rows[row], gradients[row]
        for lane in range(LANES):
            slope = 2 * gradient[lane]
            gradient[lane] = slope * x[lane]
            gradient[lane + LANES] = slope * x[lane + LANES]
