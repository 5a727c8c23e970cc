"""Fock amplitudes behind an interferometer: a_{k+1}[t] = sum_i u[i, k] a_k[t - e_i], compiled.

The recursion of Heurtel et al. (2023), on blocks of samples. The backward pass computes amplitudes
anew instead of storing them. No second derivatives, no `torch.func.vmap`.
"""

import math
from functools import lru_cache
from itertools import combinations, combinations_with_replacement
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from scipy.special import binom

from qllm_helpers import checks

# Samples that one block carries: a usual mini-batch, two AVX-512 registers of float32. A complex
# row holds the real parts of the block's samples, then their imaginary parts.
LANES = 32

jit = njit(cache=True, nogil=True, fastmath={"contract"})


class FockTables(NamedTuple):
    """Index tables of the amplitude recursion; from `level_start` on int32, for the kernels."""

    states: np.ndarray  # occupations of the outputs, int64 (N, m), descending lexicographic order
    level_start: np.ndarray  # first row of each photon number among all states, (n + 2,)
    pair_start: np.ndarray  # first (mode, parent) pair of each state, (rows + 1,)
    # A state arises from the one in row `pair_parent` by a photon more in `pair_mode`
    pair_mode: np.ndarray
    pair_parent: np.ndarray


def _occupations(n_modes: int, n_photons: int, unbunched: bool) -> list[tuple[int, ...]]:
    """All Fock states, in descending order."""
    choose = combinations if unbunched else combinations_with_replacement
    chosen = np.array(list(choose(range(n_modes), n_photons)), dtype=np.int64)
    states = np.zeros((len(chosen), n_modes), dtype=np.int64)
    np.add.at(states, (np.arange(len(chosen))[:, None], chosen), 1)
    return list(map(tuple, states.tolist()))


def _check_memory(n_modes: int, n_photons: int, unbunched: bool) -> None:
    """Refuse circuits whose tables do not fit into free memory."""
    m, n = n_modes, n_photons
    places = m if unbunched else m + n - 1
    with np.errstate(over="ignore"):  # inf bytes are refused as well
        if unbunched:
            photons = np.arange(n + 1)
            level_sizes = binom(m, photons)
            n_rows, n_pairs = level_sizes.sum(), level_sizes @ photons
        else:
            n_rows, n_pairs = binom(m + n, n), m * binom(m + n - 1, n - 1)
        n_states = binom(places, n)
        # While they are built: a tuple for every state of every level, and lists of the pairs.
        n_bytes = n_rows * (64 + 8 * m) + n_pairs * 24 + n_states * 8 * m
    count = f"{math.comb(places, n):,}" if n_states < 1e18 else f"{n_states:.3g}"
    checks.memory(f"{count} Fock states of {n:,} photons in {m:,} modes", n_bytes)


@lru_cache(maxsize=128)
def fock_tables(n_modes: int, n_photons: int, unbunched: bool) -> FockTables:
    """Tables of the recursion, of all states or the `unbunched` ones, whose recursion is closed."""
    _check_memory(n_modes, n_photons, unbunched)
    levels = [_occupations(n_modes, k, unbunched) for k in range(n_photons + 1)]
    level_start = np.cumsum([0] + [len(level) for level in levels]).astype(np.int32)
    starts, modes, parents = [0, 0], [], []
    for first, level, above in zip(level_start.tolist(), levels, levels[1:], strict=False):
        row_of = {state: row for row, state in enumerate(level, first)}
        for state in above:
            for i in np.flatnonzero(state).tolist():
                modes.append(i)
                parents.append(row_of[state[:i] + (state[i] - 1,) + state[i + 1 :]])
            starts.append(len(modes))
    pairs = (np.array(values, dtype=np.int32) for values in (starts, modes, parents))
    return FockTables(np.array(levels[-1], dtype=np.int64), level_start, *pairs)


def bunching_factors(tables: FockTables, photon_modes: list[int]) -> np.ndarray:
    """Output over input factorials, float64 (N,): the weights of squared coefficients."""
    factorial = np.array([math.factorial(k) for k in range(len(photon_modes) + 1)], np.float64)
    return factorial[tables.states].prod(axis=1) / factorial[np.bincount(photon_modes)].prod()


@jit
def load_rows(values, first, rows):
    """Copy samples of `values` (B, K), from `first`, into `rows` (K or more, lanes), else zeros."""
    n_samples, n_columns = min(rows.shape[1], len(values) - first), values.shape[1]
    if n_samples < rows.shape[1] or n_columns < len(rows):
        rows[:] = 0
    for lane in range(n_samples):
        for column in range(n_columns):
            rows[column, lane] = values[first + lane, column]


@jit
def store_rows(rows, first, values):
    """The way back of `load_rows`."""
    for lane in range(min(rows.shape[1], len(values) - first)):
        for column in range(values.shape[1]):
            values[first + lane, column] = rows[column, lane]


@jit
def multiply_add(x, y, total):
    """total += x * y, lane by lane."""
    for lane in range(LANES):
        total[lane] += x[lane] * y[lane] - x[lane + LANES] * y[lane + LANES]
        total[lane + LANES] += x[lane] * y[lane + LANES] + x[lane + LANES] * y[lane]


@jit
def conjugate_multiply_add(x, y, total):
    """total += conj(x) * y, lane by lane."""
    for lane in range(LANES):
        total[lane] += x[lane] * y[lane] + x[lane + LANES] * y[lane + LANES]
        total[lane + LANES] += x[lane] * y[lane + LANES] - x[lane + LANES] * y[lane]


@jit
def raise_levels(forms, tables, amplitudes):
    """Run the recursion for one block; `forms` (n m, 2 LANES), `amplitudes` (rows, 2 LANES)."""
    level_start, pair_start, pair_mode, pair_parent = tables
    n_photons = level_start.shape[0] - 2
    n_modes = forms.shape[0] // n_photons
    amplitudes[:] = 0
    amplitudes[0, :LANES] = 1
    for photon in range(n_photons):
        form = forms[photon * n_modes : (photon + 1) * n_modes]
        for row in range(level_start[photon + 1], level_start[photon + 2]):
            for pair in range(pair_start[row], pair_start[row + 1]):
                multiply_add(form[pair_mode[pair]], amplitudes[pair_parent[pair]], amplitudes[row])


@jit
def lower_levels(forms, tables, amplitudes, gradients, form_gradients):
    """Reverse-mode derivative of `raise_levels`; the last level of `gradients` is given."""
    level_start, pair_start, pair_mode, pair_parent = tables
    n_photons = level_start.shape[0] - 2
    n_modes = forms.shape[0] // n_photons
    gradients[: level_start[n_photons]] = 0
    form_gradients[:] = 0
    for photon in range(n_photons - 1, -1, -1):
        form = forms[photon * n_modes : (photon + 1) * n_modes]
        form_gradient = form_gradients[photon * n_modes : (photon + 1) * n_modes]
        for row in range(level_start[photon + 1], level_start[photon + 2]):
            for pair in range(pair_start[row], pair_start[row + 1]):
                i, parent = pair_mode[pair], pair_parent[pair]
                conjugate_multiply_add(amplitudes[parent], gradients[row], form_gradient[i])
                conjugate_multiply_add(form[i], gradients[row], gradients[parent])


def compiled_product(forms: torch.Tensor, tables: FockTables) -> torch.Tensor:
    """`product_of_forms` on the CPU and without derivatives."""
    # Memory from torch: NumPy's alignment varies, and with it the rounding of later products.
    output = torch.empty(len(forms), len(tables.states), dtype=forms.dtype)
    # Samples come as pairs of real columns, which are the halves of a block's complex rows.
    pairs = (torch.view_as_real(one.contiguous()).flatten(1).numpy() for one in (forms, output))
    columns, results = pairs
    rows = np.empty((columns.shape[1], LANES), columns.dtype)
    amplitudes = np.empty((tables.level_start[-1], 2 * LANES), columns.dtype)
    outputs = amplitudes[tables.level_start[-2] :].reshape(-1, LANES)
    for first in range(0, len(columns), LANES):
        load_rows(columns, first, rows)
        raise_levels(rows.reshape(-1, 2 * LANES), tables[1:], amplitudes)
        store_rows(outputs, first, results)
    return output


def add_photon(values: torch.Tensor, form: torch.Tensor, tables: FockTables, photon: int):
    """One step of the recursion: (..., N_k) and a form (..., m) to (..., N_{k+1}), k = `photon`."""
    before, first, last = tables.level_start[photon : photon + 3].tolist()
    starts = tables.pair_start[first : last + 1].astype(np.int64)
    pairs = slice(starts[0], starts[-1])
    # from the last pair to the first: of a state's parents the first one is added first
    rows, modes, parents = (
        torch.from_numpy(np.flip(one).astype(np.int64)).to(values.device)
        for one in (
            np.repeat(np.arange(last - first), np.diff(starts)),
            tables.pair_mode[pairs],
            tables.pair_parent[pairs] - before,
        )
    )
    terms = values[..., parents] * form[..., modes]
    return terms.new_zeros(*terms.shape[:-1], last - first).index_add(-1, rows, terms)


def product_of_forms(forms: torch.Tensor, tables: FockTables) -> torch.Tensor:
    """Coefficients (S, N) of prod_k (sum_i u[i, k] z_i), from complex `forms[s, k * m + i]`.

    By indexed additions: on any device, with any number of derivatives, slower than the kernels.
    """
    coefficients = torch.ones_like(forms[:, :1])
    for photon, form in enumerate(forms.tensor_split(len(tables.level_start) - 2, dim=1)):
        coefficients = add_photon(coefficients, form, tables, photon)
    return coefficients
