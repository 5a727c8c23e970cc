"""Fock amplitudes behind an interferometer: a_{k+1}[t] = sum_i u[i, k] a_k[t - e_i], compiled.

The recursion of Heurtel et al. (2023), on blocks of samples. The backward pass computes amplitudes
anew instead of storing them. No second derivatives, no `torch.func.vmap`.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numba import prange
from scipy.special import binom

from qllm_helpers import checks
from qllm_helpers.photons.lanes import (
    LANES,
    jit,
    jit_parallel,
    load,
    load_rows,
    spread,
    store,
    store_rows,
)

#: Where a photon leads to as many states as this, they are computed in parts, side by side: always
#: the same parts, so that bits do not depend on the number of threads.
LARGE, PARTS = 4096, 8


class FockTables(NamedTuple):
    """Index tables of the amplitude recursion, int32."""

    states: np.ndarray  # occupations of the outputs, (N, m), descending lexicographic order
    level_start: np.ndarray  # first row of each photon number among all states, (n + 2,)
    # A state arises from those in rows `pair_parent` by a photon more in `pair_mode`
    pair_start: np.ndarray  # first pair of each state, (rows + 1,)
    pair_mode: np.ndarray
    pair_parent: np.ndarray
    # The way back: rows `child_row` arise from a state by a photon more in `child_mode`
    child_start: np.ndarray
    child_mode: np.ndarray
    child_row: np.ndarray


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
        # tables, and while they are built the modes and parents of every photon
        n_bytes = n_rows * (8 + 4 * m + 8 * n) + n_pairs * 20 + n_states * 4 * m
    count = f"{math.comb(places, n):,}" if n_states < 1e18 else f"{n_states:.3g}"
    checks.memory(f"{count} Fock states of {n:,} photons in {m:,} modes", n_bytes)


def _levels(n_modes: int, n_photons: int, unbunched: bool):
    """Photon by photon: states as sorted modes (N_k, k), their rows without each of the photons."""
    modes = parents = np.zeros((1, 0), np.int32)
    first_before = lowest_before = np.zeros(1, np.int64)
    yield modes, parents
    for photon in range(n_photons):
        # A state goes on with the modes from its last one on.
        lowest = modes[:, -1] + unbunched if photon else lowest_before
        counts = n_modes - lowest
        first = np.cumsum(counts) - counts
        rows = np.repeat(np.arange(len(modes)), counts)
        added = np.arange(len(rows)) - first[rows] + lowest[rows]
        # Without an earlier photon: the same step from the state that lacks it.
        less = parents[rows]
        less = first_before[less] + added[:, None] - lowest_before[less]
        parents = np.column_stack([less, rows]).astype(np.int32)
        modes = np.column_stack([modes[rows], added]).astype(np.int32)
        first_before, lowest_before = first, lowest
        yield modes, parents


def _occupations(modes: np.ndarray, n_modes: int) -> np.ndarray:
    states = np.zeros((len(modes), n_modes), np.int32)
    for column in modes.T:
        states[np.arange(len(modes)), column] += 1
    return states


@lru_cache(maxsize=128)
def fock_tables(n_modes: int, n_photons: int, unbunched: bool) -> FockTables:
    """Tables of the recursion, of all states or the `unbunched` ones, whose recursion is closed."""
    _check_memory(n_modes, n_photons, unbunched)
    level_start, pair_counts, pairs = [0, 1], [np.zeros(1, np.int32)], []
    levels = _levels(n_modes, n_photons, unbunched)
    modes, _ = next(levels)
    for modes, parents in levels:
        # Photons of one mode leave the same state behind: the last of them stands for all.
        distinct = np.diff(modes, axis=1, append=n_modes) > 0
        pair_counts.append(distinct.sum(axis=1))
        pairs.append((modes[distinct], parents[distinct] + level_start[-2]))
        level_start.append(level_start[-1] + len(modes))
    pair_counts = np.concatenate(pair_counts)
    pair_mode, pair_parent = map(np.concatenate, zip(*pairs, strict=True))
    children = np.zeros((level_start[-2], n_modes), np.int32)  # 0: none, the vacuum is no child
    children[pair_parent, pair_mode] = np.repeat(np.arange(level_start[-1]), pair_counts)
    parent, child_mode = np.nonzero(children)
    arrays = (
        level_start,
        np.append(0, pair_counts.cumsum()), pair_mode, pair_parent,
        np.append(0, np.bincount(parent).cumsum()), child_mode, children[parent, child_mode],
    )  # fmt: skip
    arrays = (np.asarray(one, dtype=np.int32) for one in arrays)
    return FockTables(_occupations(modes, n_modes), *arrays)


def bunching_factors(tables: FockTables, photon_modes: list[int]) -> np.ndarray:
    """Output over input factorials, float64 (N,): the weights of squared coefficients."""
    factorial = np.array([math.factorial(k) for k in range(len(photon_modes) + 1)], np.float64)
    return factorial[tables.states].prod(axis=1) / factorial[np.bincount(photon_modes)].prod()


# A row of complex numbers is two rows of real ones, the real parts and the imaginary parts.


@jit
def load_complex(rows, row):
    """Real and imaginary parts of row `row`."""
    return load(rows, 2 * row), load(rows, 2 * row + 1)


@jit
def store_complex(rows, row, value):
    """The way back of `load_complex`."""
    store(rows, 2 * row, value[0])
    store(rows, 2 * row + 1, value[1])


@jit
def _part(first, last, part):
    """Where a part of some rows starts and ends."""
    size = last - first
    return first + size * part // PARTS, first + size * (part + 1) // PARTS


@jit
def nothing(rows):
    """A complex zero in every lane, of the type of `rows`."""
    zero = spread(rows.dtype.type(0))
    return zero, zero


@jit
def add_product(total, x, y):
    """total + x * y."""
    return total[0] + x[0] * y[0] - x[1] * y[1], total[1] + x[0] * y[1] + x[1] * y[0]


@jit
def add_conjugate_product(total, x, y):
    """total + conj(x) * y."""
    return total[0] + x[0] * y[0] + x[1] * y[1], total[1] + x[0] * y[1] - x[1] * y[0]


@jit
def _raise_rows(forms, tables, amplitudes, photon, first, last):
    """Amplitudes of the states in rows `first` to `last`, behind another photon."""
    _, pair_start, pair_mode, pair_parent = tables[:4]
    form = photon * (forms.shape[0] // (2 * (tables[0].shape[0] - 2)))
    for row in range(first, last):
        total = nothing(amplitudes)
        for pair in range(pair_start[row], pair_start[row + 1]):
            step = load_complex(forms, form + pair_mode[pair])
            total = add_product(total, step, load_complex(amplitudes, pair_parent[pair]))
        store_complex(amplitudes, row, total)


@jit_parallel
def _raise_parts(forms, tables, amplitudes, photon, first, last):
    """`_raise_rows`, on all threads."""
    for part in prange(PARTS):
        start, end = _part(first, last, part)
        _raise_rows(forms, tables, amplitudes, photon, start, end)


@jit
def raise_levels(forms, tables, amplitudes):
    """Run the recursion for one block; `forms` and `amplitudes` are n m and all complex rows."""
    level_start = tables[0]
    one = spread(amplitudes.dtype.type(1))
    store_complex(amplitudes, 0, (one, nothing(amplitudes)[0]))
    for photon in range(level_start.shape[0] - 2):
        first, last = level_start[photon + 1], level_start[photon + 2]
        if last - first < LARGE:
            _raise_rows(forms, tables, amplitudes, photon, first, last)
        else:
            _raise_parts(forms, tables, amplitudes, photon, first, last)


@jit
def _lower_rows(forms, tables, amplitudes, gradients, form_gradients, photon, first, last):
    """Gradients of the states in rows `first` to `last`; `form_gradients` are added to."""
    child_start, child_mode, child_row = tables[4:]
    base = photon * (forms.shape[0] // (2 * (tables[0].shape[0] - 2)))
    for row in range(first, last):
        amplitude, total = load_complex(amplitudes, row), nothing(gradients)
        for child in range(child_start[row], child_start[row + 1]):
            form = base + child_mode[child]
            gradient = load_complex(gradients, child_row[child])
            total = add_conjugate_product(total, load_complex(forms, form), gradient)
            slope = load_complex(form_gradients, form)
            slope = add_conjugate_product(slope, amplitude, gradient)
            store_complex(form_gradients, form, slope)
        store_complex(gradients, row, total)


@jit_parallel
def _lower_parts(forms, tables, amplitudes, gradients, slopes, photon, first, last):
    """`_lower_rows`, on all threads; every part has `slopes` of its own."""
    for part in prange(PARTS):
        start, end = _part(first, last, part)
        _lower_rows(forms, tables, amplitudes, gradients, slopes[part], photon, start, end)


@jit
def lower_levels(forms, tables, amplitudes, gradients, form_gradients):
    """Reverse-mode derivative of `raise_levels`; the last level of `gradients` is given."""
    level_start, shape = tables[0], form_gradients.shape
    form_gradients[:] = 0
    slopes = form_gradients.reshape((1, *shape))
    if level_start[-2] - level_start[-3] >= LARGE:
        slopes = np.zeros((PARTS, *shape), form_gradients.dtype)
    for photon in range(level_start.shape[0] - 3, -1, -1):
        first, last = level_start[photon], level_start[photon + 1]
        if last - first < LARGE:
            _lower_rows(forms, tables, amplitudes, gradients, slopes[0], photon, first, last)
        else:
            _lower_parts(forms, tables, amplitudes, gradients, slopes, photon, first, last)
    if len(slopes) > 1:
        form_gradients[:] = slopes.sum(axis=0)


@jit
def _products(columns, tables, products):
    """Coefficients (S, 2 N) from forms (S, 2 n m), real and imaginary parts side by side."""
    rows = np.empty((columns.shape[1], LANES), columns.dtype)
    amplitudes = np.empty((2 * tables[0][-1], LANES), columns.dtype)
    for first in range(0, len(columns), LANES):
        load_rows(columns, first, rows)
        raise_levels(rows, tables, amplitudes)
        store_rows(amplitudes[2 * tables[0][-2] :], first, products)


@jit
def _products_backward(columns, tables, slopes, results):
    """Derivatives of `_products` by the forms."""
    rows = np.empty((columns.shape[1], LANES), columns.dtype)
    form_gradients = np.empty_like(rows)
    amplitudes = np.empty((2 * tables[0][-1], LANES), columns.dtype)
    gradients = np.empty_like(amplitudes)
    for first in range(0, len(columns), LANES):
        load_rows(columns, first, rows)
        raise_levels(rows, tables, amplitudes)
        load_rows(slopes, first, gradients[2 * tables[0][-2] :])
        lower_levels(rows, tables, amplitudes, gradients, form_gradients)
        store_rows(form_gradients, first, results)


def _real(values: torch.Tensor) -> np.ndarray:
    return torch.view_as_real(values.detach().resolve_conj().contiguous()).flatten(1).numpy()


class _CompiledProduct(torch.autograd.Function):
    @staticmethod
    def forward(context, forms, tables):
        # Memory from torch: NumPy's alignment varies, and with it the rounding of later products.
        output = torch.empty(len(forms), len(tables.states), dtype=forms.dtype)
        _products(_real(forms), tables[1:], _real(output))
        context.save_for_backward(forms)
        context.tables = tables
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        (forms,) = context.saved_tensors
        slopes = torch.empty(forms.shape, dtype=forms.dtype)
        _products_backward(_real(forms), context.tables[1:], _real(gradient), _real(slopes))
        return slopes, None


# `product_of_forms` on the CPU, with first derivatives.
compiled_product = _CompiledProduct.apply


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
