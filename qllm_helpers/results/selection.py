"""What choosing the best of many noisy results does to the number that is reported."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd


def selection_effect(
    *,
    n_candidates: int,
    n_references: int = 1,
    n_test: int,
    accuracy: float,
    correlation: float = 0.0,
    training_std: float = 0.0,
    n_draws: int = 100_000,
    random_state: int = 0,
) -> np.ndarray:
    """Best of the candidates minus best of the references when all are equally good.

    Every configuration has the same true accuracy. What is measured differs from it by the
    error of a finite test set, of standard deviation ``sqrt(p (1 - p) / n_test)`` and
    correlated between configurations that are scored on the same sentences, and by an
    independent error of training (other initial weights). Both are taken as Gaussian.

    Parameters
    ----------
    n_candidates, n_references : int
        Number of configurations of which each side reports its best.
    n_test : int
        Test sentences (622 in the few-shot protocol, 9,101 in the paper's).
    accuracy : float
        True accuracy of all, a fraction.
    correlation : float
        Correlation, 0 to 1, of two configurations' errors of the test set. It cancels in
        part: only ``sqrt(1 - correlation)`` of that error remains in a difference.
    training_std : float
        Standard deviation of the error of training, a fraction.
    n_draws, random_state : int
        Number of simulated studies, and their seed.

    Returns
    -------
    ndarray, shape (n_draws,)
        Differences, as fractions; sorted.

    Raises
    ------
    ValueError
        If an argument is outside its range.
    """
    if min(n_candidates, n_references, n_test, n_draws) < 1:
        raise ValueError("n_candidates, n_references, n_test and n_draws must be at least 1")
    if not 0 < accuracy < 1 or not 0 <= correlation <= 1 or training_std < 0:
        raise ValueError("need 0 < accuracy < 1, 0 <= correlation <= 1 and training_std >= 0")
    test_variance = (1 - correlation) * accuracy * (1 - accuracy) / n_test
    spread = math.sqrt(test_variance + training_std**2)
    draw = np.random.default_rng(random_state)
    # the part common to all configurations cancels in the difference, so it is not drawn
    best = _largest_normal(draw, n_candidates, n_draws)
    return np.sort(spread * (best - _largest_normal(draw, n_references, n_draws)))


def _largest_normal(draw: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Largest of `count` standard normal values, `size` times, through its quantiles."""
    from scipy import special

    return special.ndtri_exp(np.log(1 - draw.random(size)) / count)


def select_best(
    rows: pd.DataFrame,
    *,
    within: str | Sequence[str] = "n_modes",
    on: str = "validation_accuracy",
) -> pd.DataFrame:
    """The row that wins in every group and seed, as a report that shows one row a group.

    Parameters
    ----------
    rows : DataFrame
        One row per fit, with a column ``seed``.
    within : str or sequence of str
        Column(s) that form a group, for example ``"n_modes"``: the best photon number of
        every number of modes.
    on : str
        Column to maximise: ``"validation_accuracy"`` is honest, ``"test_accuracy"`` is
        what the earlier reproduction's table does. Ties go to the row that comes first.

    Returns
    -------
    DataFrame
        The winning rows, one per group and seed.

    Raises
    ------
    ValueError
        If a column is missing or `on` has missing values.
    """
    within = [within] if isinstance(within, str) else list(within)
    missing = [name for name in [*within, "seed", on] if name not in rows.columns]
    if missing:
        raise ValueError(f"the table has no column {', '.join(missing)}; it has {list(rows)}")
    if rows[on].isna().any():
        raise ValueError(f"column {on} has missing values; drop those rows first")
    rows = rows.reset_index(drop=True)
    winners = rows.groupby([*within, "seed"], sort=False, dropna=False)[on].idxmax()
    return rows.loc[winners].reset_index(drop=True)


def reported_gain(
    candidates: pd.DataFrame,
    references: pd.DataFrame,
    *,
    on: str = "test_accuracy",
) -> pd.Series:
    """What a one-seed report "best candidate minus best reference" says, seed by seed.

    Parameters
    ----------
    candidates, references : DataFrame
        Rows (one per fit) of either side, with ``seed`` and ``test_accuracy``.
    on : str
        Column by which each side chooses its configuration; see :func:`select_best`.

    Returns
    -------
    Series
        Difference of test accuracies (fraction), index ``seed``, for the seeds of both.

    Raises
    ------
    ValueError
        If the sides share no seed.
    """
    sides = []
    for rows in (candidates, references):
        winners = select_best(rows.assign(side=0), within="side", on=on)
        sides.append(winners.set_index("seed")["test_accuracy"].astype(float))
    gain = (sides[0] - sides[1]).dropna().sort_index()
    if gain.empty:
        raise ValueError("candidates and references share no seed")
    return gain.rename("gain")


def seeds_needed(difference: float, std: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Seeds that a paired t-test needs to see a difference.

    Parameters
    ----------
    difference : float
        True mean difference (fraction), for example 0.01 for one point.
    std : float
        Standard deviation of the paired differences over seeds (fraction); the column
        ``std`` of :func:`qllm_helpers.results.statistics.paired_differences`.
    power, alpha : float
        Probability to detect it, and two-sided level of the test.

    Returns
    -------
    int
        Number of seeds, at least 2.

    Raises
    ------
    ValueError
        If `difference` is 0 or `std` is not positive.
    """
    from statsmodels.stats.power import TTestPower

    if difference == 0 or not std > 0:
        raise ValueError("need a non-zero difference and a positive standard deviation")
    effect = abs(difference) / std

    def enough(n_seeds: int) -> bool:
        # SciPy's noncentral t is NaN only where the power is 1 to rounding
        return bool(np.nan_to_num(TTestPower().power(effect, n_seeds, alpha), nan=1.0) >= power)

    high = 2
    while not enough(high):
        high *= 2
    low = max(high // 2, 1)  # too few, or below the smallest number that has a test
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def pareto_front(
    table: pd.DataFrame, *, cost: str = "n_parameters", value: str = "mean"
) -> pd.Series:
    """Configurations that no other one beats in both cost and value.

    Parameters
    ----------
    table : DataFrame
        One row per configuration, for example from
        :func:`qllm_helpers.results.statistics.summarise`.
    cost, value : str
        Columns to minimise and to maximise. A row with a missing cost is not on the front.

    Returns
    -------
    Series of bool
        Index of `table`; equal rows are all on the front.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    missing = [name for name in (cost, value) if name not in table.columns]
    if missing:
        raise ValueError(f"the table has no column {', '.join(missing)}; it has {list(table)}")
    costs = table[cost].to_numpy(dtype=float)
    values = table[value].to_numpy(dtype=float)
    no_worse = (costs <= costs[:, None]) & (values >= values[:, None])
    better = (costs < costs[:, None]) | (values > values[:, None])
    known = np.isfinite(costs) & np.isfinite(values)
    return pd.Series(known & ~(no_worse & better).any(axis=1), index=table.index)
