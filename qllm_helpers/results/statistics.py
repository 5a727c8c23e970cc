"""Intervals, paired tests, equivalence and selection effects for tables of fits.

Every function takes a tidy table with one row per fit (a head, a seed, its accuracies)
and gives a table or a number back. Accuracies are fractions between 0 and 1.

An interval here is over *seeds*: it says how much a mean moves when the training sample
and the initial weights are drawn again. The test sentences are (nearly) the same for all
seeds, so it does not include the error of having only these test sentences;
:func:`selection_effect` models that part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qllm_helpers.results.intervals import as_list, interval, paired_values, summarise
from qllm_helpers.results.selection import (
    pareto_front,
    reported_gain,
    seeds_needed,
    select_best,
    selection_effect,
)

__all__ = [
    "LEVEL",
    "MARGIN",
    "difference_tests",
    "equivalence",
    "interval",
    "paired_differences",
    "paired_values",
    "pareto_front",
    "reported_gain",
    "seeds_needed",
    "select_best",
    "selection_effect",
    "summarise",
]


#: Level of tests.
LEVEL = 0.05
#: Largest difference (fraction) that counts as none: one point (our choice).
MARGIN = 0.01


def _described(values: np.ndarray, confidence: float) -> dict:
    """Mean of paired differences, its interval, their spread and number."""
    if values.size < 2:
        raise ValueError("a pair shares fewer than two seeds; compute more rows")
    low, high = interval(values, confidence=confidence)
    row = {"difference": values.mean(), "low": low, "high": high, "std": values.std(ddof=1)}
    return row | {"n_seeds": values.size}


def _p_different(values: np.ndarray, test: str = "t") -> float:
    """P-value of the hypothesis that paired differences have the mean (or median) zero."""
    from scipy import stats

    if np.ptp(values) == 0:  # no spread: the statistic would divide by zero
        return float(values[0] == 0)
    result = stats.ttest_1samp(values, 0.0) if test == "t" else stats.wilcoxon(values)
    return float(result.pvalue)


def _p_equivalent(values: np.ndarray, margin: float) -> float:
    """P-value of the hypothesis that the mean is outside the margin: two one-sided t-tests."""
    from scipy import stats

    if np.ptp(values) == 0:
        return float(abs(values[0]) >= margin)
    above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, margin, alternative="less").pvalue
    return float(max(above, below))


def _corrected(p_values: pd.Series, method: str = "holm") -> np.ndarray:
    from statsmodels.stats.multitest import multipletests

    return multipletests(p_values, method=method)[1]


def difference_tests(groups: dict, *, margin: float = MARGIN) -> pd.DataFrame:
    """Test several sets of paired differences, and correct for their number.

    Parameters
    ----------
    groups : dict of key to array-like
        Differences (fractions), one per seed.
    margin : float
        Largest difference (fraction) that counts as none.

    Returns
    -------
    DataFrame
        One row per key, in order: ``difference``, ``low`` and ``high`` (95 % t interval, not
        corrected), ``std``, ``n_seeds``, ``p_value`` (paired t), ``p_corrected``,
        ``p_equivalence`` (two one-sided tests, corrected), ``equivalent``. Corrections are
        Holm's, over the table.

    Raises
    ------
    ValueError
        If there is nothing to test, or fewer than two seeds.
    """
    if not groups:
        raise ValueError("nothing to compare")
    sets = [np.asarray(values, dtype=float) for values in groups.values()]
    table = pd.DataFrame([_described(values, 1 - LEVEL) for values in sets])
    table["p_value"] = [_p_different(values) for values in sets]
    table["p_equivalence"] = _corrected([_p_equivalent(values, margin) for values in sets])
    table["p_corrected"] = _corrected(table["p_value"])
    table["equivalent"] = table["p_equivalence"] < LEVEL
    return table


def _compare(rows, reference, by, value, confidence, correction, p_value) -> pd.DataFrame:
    """Paired differences to the reference, with interval, p-value and corrected p-value."""
    wide = paired_values(rows, by=by, value=value)
    if reference not in wide.columns:
        raise ValueError(f"no rows of the reference {reference!r}; heads: {list(wide.columns)}")
    if wide.shape[1] == 1:
        raise ValueError("the table holds only the reference; add the heads to compare")
    table = []
    for name in wide.columns.drop(reference):
        values = (wide[name] - wide[reference]).dropna().to_numpy(dtype=float)
        row = dict(zip(as_list(by), name if isinstance(name, tuple) else [name], strict=True))
        table.append(row | _described(values, confidence) | {"p_value": p_value(values)})
    table = pd.DataFrame(table)
    table["p_corrected"] = _corrected(table["p_value"], correction)
    return table


def paired_differences(
    rows: pd.DataFrame,
    reference: str | tuple = "LogisticRegression",
    *,
    by: str | Sequence[str] = "head",
    value: str = "test_accuracy",
    test: str = "t",
    confidence: float = 0.95,
    correction: str = "holm",
) -> pd.DataFrame:
    """Difference of every configuration to a reference on the same seeds.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    reference : str or tuple
        Configuration that all others are compared with (a tuple if `by` names several
        columns).
    by, value
        As in :func:`summarise`.
    test : {"t", "wilcoxon"}
        Paired t-test, or Wilcoxon's signed-rank test.
    confidence : float
        Coverage of the (uncorrected) t interval of the mean difference.
    correction : str
        Method of ``statsmodels.stats.multitest.multipletests``.

    Returns
    -------
    DataFrame
        `by`, ``difference`` (configuration minus reference), ``low``, ``high``, ``std``,
        ``n_seeds``, ``p_value``, ``p_corrected``.

    Raises
    ------
    ValueError
        If the reference is missing, two configurations share fewer than two seeds, or
        `test` is unknown.
    """
    if test not in ("t", "wilcoxon"):
        raise ValueError(f'test must be "t" or "wilcoxon", not {test!r}')

    def p_value(values: np.ndarray) -> float:
        return _p_different(values, test)

    return _compare(rows, reference, by, value, confidence, correction, p_value)


def equivalence(
    rows: pd.DataFrame,
    reference: str | tuple = "LogisticRegression",
    *,
    margin: float = MARGIN,
    by: str | Sequence[str] = "head",
    value: str = "test_accuracy",
    alpha: float = LEVEL,
    correction: str = "holm",
) -> pd.DataFrame:
    """Two one-sided paired t-tests: is the difference inside plus or minus `margin`?

    A large p-value of a difference test is no evidence of "no difference"; a small one
    here is.

    Parameters
    ----------
    rows, reference, by, value, correction
        As in :func:`paired_differences`.
    margin : float
        Largest difference, a fraction, that counts as none.
    alpha : float
        Level; the interval returned has coverage ``1 - 2 * alpha``, which is the one that
        lies inside the margin exactly if the uncorrected test rejects.

    Returns
    -------
    DataFrame
        As :func:`paired_differences`, with ``margin`` and ``equivalent`` (corrected
        p-value below `alpha`).

    Raises
    ------
    ValueError
        As :func:`paired_differences`, and if `margin` is not positive.
    """
    if not margin > 0:
        raise ValueError(f"margin must be a positive fraction, not {margin}")

    def p_value(values: np.ndarray) -> float:
        return _p_equivalent(values, margin)

    table = _compare(rows, reference, by, value, 1 - 2 * alpha, correction, p_value)
    table["margin"] = margin
    table["equivalent"] = table["p_corrected"] < alpha
    return table
