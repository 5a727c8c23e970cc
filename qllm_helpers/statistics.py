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

from qllm_helpers.intervals import as_list, interval, paired_values, summarise
from qllm_helpers.selection import (
    pareto_front,
    reported_gain,
    seeds_needed,
    select_best,
    selection_effect,
)

__all__ = [
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


def _compare(rows, reference, by, value, confidence, correction, p_value) -> pd.DataFrame:
    """Paired differences to the reference, with interval, p-value and corrected p-value."""
    from statsmodels.stats.multitest import multipletests

    wide = paired_values(rows, by=by, value=value)
    if reference not in wide.columns:
        raise ValueError(f"no rows of the reference {reference!r}; heads: {list(wide.columns)}")
    if wide.shape[1] == 1:
        raise ValueError("the table holds only the reference; add the heads to compare")
    table = []
    for name in wide.columns.drop(reference):
        values = (wide[name] - wide[reference]).dropna().to_numpy(dtype=float)
        if values.size < 2:
            raise ValueError(f"{name!r} and {reference!r} share fewer than two seeds")
        low, high = interval(values, confidence=confidence)
        row = dict(zip(as_list(by), name if isinstance(name, tuple) else [name], strict=True))
        row |= {"difference": values.mean(), "low": low, "high": high}
        row |= {"std": values.std(ddof=1), "n_seeds": values.size, "p_value": p_value(values)}
        table.append(row)
    table = pd.DataFrame(table)
    table["p_corrected"] = multipletests(table["p_value"], method=correction)[1]
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
    from scipy import stats

    if test not in ("t", "wilcoxon"):
        raise ValueError(f'test must be "t" or "wilcoxon", not {test!r}')

    def p_value(values: np.ndarray) -> float:
        if np.ptp(values) == 0:  # no spread: the statistic would divide by zero
            return float(values[0] == 0)
        result = stats.ttest_1samp(values, 0.0) if test == "t" else stats.wilcoxon(values)
        return float(result.pvalue)

    return _compare(rows, reference, by, value, confidence, correction, p_value)


def equivalence(
    rows: pd.DataFrame,
    reference: str | tuple = "LogisticRegression",
    *,
    margin: float = 0.01,
    by: str | Sequence[str] = "head",
    value: str = "test_accuracy",
    alpha: float = 0.05,
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
        Largest difference, a fraction, that counts as none (one point: 0.01, our choice).
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
    from statsmodels.stats.weightstats import ttost_paired

    if not margin > 0:
        raise ValueError(f"margin must be a positive fraction, not {margin}")

    def p_value(values: np.ndarray) -> float:
        if np.ptp(values) == 0:
            return float(abs(values[0]) >= margin)
        return float(ttost_paired(values, np.zeros_like(values), -margin, margin)[0])

    table = _compare(rows, reference, by, value, 1 - 2 * alpha, correction, p_value)
    table["margin"] = margin
    table["equivalent"] = table["p_corrected"] < alpha
    return table
