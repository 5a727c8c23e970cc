"""What choosing the best of many noisy results does to the number that is reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

import numpy as np
import pandas as pd
from scipy import special

from qllm_helpers import checks
from qllm_helpers.results.intervals import as_list, paired_values, require_columns


def select_best(
    rows: pd.DataFrame, *, within: str | Sequence[str] = "n_modes", on: str = "validation_accuracy"
) -> pd.DataFrame:
    """The row with the largest value `on` in every group and seed, as a report shows one a group.

    ``"validation_accuracy"`` is honest, ``"test_accuracy"`` an unfair choice. Ties: the first row.
    """
    within = as_list(within)
    require_columns(rows, [*within, "seed", on])
    if rows[on].isna().any():
        raise ValueError(f"column {on} has missing values; drop those rows first")
    rows = rows.reset_index(drop=True)
    winners = rows.groupby([*within, "seed"], sort=False, dropna=False)[on].idxmax()
    return rows.loc[winners].reset_index(drop=True)


def standard_error(accuracy: float, n_sentences: int) -> float:
    """Standard error of an accuracy from the finite number of sentences: sqrt(p (1 - p) / n)."""
    return math.sqrt(accuracy * (1 - accuracy) / n_sentences)


def selection_effect(
    *,
    n_candidates: int,
    n_references: int = 1,
    n_test: int,
    accuracy: float,
    correlation: float = 0.0,
    training_std: float = 0.0,
    n_draws: int = 100_000,
) -> np.ndarray:
    """Differences (fractions, sorted) of simulated reports, best minus best of equally good heads.

    The Gaussian errors: of `n_test` sentences at this `accuracy`, of which heads share a part by
    their `correlation`, and of training (`training_std`), independent.
    """
    sizes = {"n_candidates": n_candidates, "n_references": n_references}
    for name, value in (sizes | {"n_test": n_test, "n_draws": n_draws}).items():
        checks.integer(name, value)
    if not 0 < accuracy < 1:
        raise ValueError(f"accuracy must lie between 0 and 1, not {accuracy!r}")
    checks.real("correlation", correlation, 0, 1)
    checks.real("training_std", training_std)
    error = (1 - correlation) * standard_error(accuracy, n_test) ** 2
    spread = math.sqrt(error + training_std**2)
    sizes = np.array([[n_candidates], [n_references]])
    # the largest of n normal values, through its quantiles; what all heads share cancels
    uniform = 1 - np.random.default_rng(0).random((2, n_draws))
    largest = special.ndtri_exp(np.log(uniform) / sizes)
    return np.sort(spread * (largest[0] - largest[1]))


def residuals(rows: pd.DataFrame) -> pd.DataFrame:
    """Seeds by heads: test accuracies without means of heads and seeds, of unbiased variance."""
    wide = paired_values(rows).dropna().astype(float)
    n_seeds, n_heads = wide.shape
    if min(n_seeds, n_heads) < 2:
        raise ValueError("need at least two heads with at least two common seeds")
    by_seed = wide.mean(axis="columns") - wide.to_numpy().mean()
    left = wide.sub(wide.mean(axis="index"), axis="columns").sub(by_seed, axis="index")
    return left * math.sqrt(n_seeds * n_heads / ((n_seeds - 1) * (n_heads - 1)))


def seeds_needed(difference: float, std: float) -> int:
    """Seeds with which a paired t-test (5 %) sees a difference in four of five cases.

    `std` is that of paired differences over seeds.
    """
    from statsmodels.stats.power import TTestPower

    if difference == 0 or not std > 0:
        raise ValueError("need a non-zero difference and a positive standard deviation")
    effect, test = abs(difference) / std, TTestPower()
    # SciPy's noncentral t is NaN only where the power is 1 to rounding
    return next(n for n in count(2) if np.nan_to_num(test.power(effect, n, 0.05), nan=1.0) >= 0.8)


def pareto_front(
    table: pd.DataFrame, *, cost: str = "n_parameters", value: str = "mean"
) -> pd.Series:
    """Whether no other row beats a row in both cost and value; a missing cost never wins."""
    require_columns(table, [cost, value])
    costs, values = (table[name].to_numpy(dtype=float) for name in (cost, value))
    no_worse = (costs <= costs[:, None]) & (values >= values[:, None])
    better = (costs < costs[:, None]) | (values > values[:, None])
    known = np.isfinite(costs) & np.isfinite(values)
    return pd.Series(known & ~(no_worse & better).any(axis=1), index=table.index)
