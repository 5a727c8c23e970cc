"""Accuracy at equal numbers of parameters: parameter budgets and how firm a Pareto front is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qllm_helpers.results.contrasts import kinds
from qllm_helpers.results.intervals import paired_values, summarise
from qllm_helpers.results.selection import reported_gain
from qllm_helpers.results.statistics import MARGIN, difference_tests

__all__ = ["CLASSICAL", "budget_gain", "front_stability"]

#: Kinds of heads (see :func:`qllm_helpers.results.contrasts.kinds`) that owe nothing to a
#: circuit. The
#: ablation twins are left out: they exist only to take photonic heads apart.
CLASSICAL = ("linear", "svc", "mlp", "linear map")


def budget_gain(
    rows: pd.DataFrame,
    budgets: Sequence[int],
    *,
    cost: str = "n_effective_parameters",
    candidates: Sequence[str] = ("photonic",),
    references: Sequence[str] = CLASSICAL,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Best photonic minus best classical head that a number of parameters can buy.

    On every seed each side chooses among its heads within the budget by validation accuracy;
    the difference is that of the test accuracies of the two chosen heads.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    budgets : sequence of int
        Largest number of parameters; budgets that leave a side without a head are dropped.
    cost : str
        Column that counts parameters. Heads without a count cannot be bought.
    candidates, references : sequence of str
        Kinds of heads of either side.
    margin : float
        Largest difference (fraction) that counts as none.

    Returns
    -------
    DataFrame
        ``budget``, ``n_candidates``, ``n_references``, and the columns of
        :func:`qllm_helpers.results.statistics.difference_tests`.

    Raises
    ------
    ValueError
        If no budget leaves a head on both sides.
    """
    rows = rows.assign(kind=kinds(rows))
    names, gains = [], {}
    for budget in budgets:
        within = rows[rows[cost].le(budget).fillna(False)]
        sides = [within[within["kind"].isin(side)] for side in (candidates, references)]
        if any(side.empty for side in sides):
            continue
        gains[budget] = reported_gain(*sides, on="validation_accuracy")
        names.append((budget, *(side["head"].nunique() for side in sides)))
    if not gains:
        raise ValueError(f"no budget in {list(budgets)} leaves a head on both sides")
    table = pd.DataFrame(names, columns=["budget", "n_candidates", "n_references"])
    return table.join(difference_tests(gains, margin=margin))


def front_stability(
    rows: pd.DataFrame,
    *,
    cost: str = "n_parameters",
    value: str = "test_accuracy",
    n_resamples: int = 2000,
    random_state: int = 0,
) -> pd.DataFrame:
    """How often a head is on the Pareto front when the seeds are drawn again.

    Parameters
    ----------
    rows : DataFrame
        One row per fit; only seeds that all heads have count.
    cost, value : str
        Columns to minimise and to maximise.
    n_resamples, random_state : int
        Bootstrap resamples of the seeds (all heads together), and their seed.

    Returns
    -------
    DataFrame
        ``head``, `cost`, ``mean``, ``low``, ``high``, ``share`` (of the resamples in which the
        head is on the front, a fraction), cheapest first. Heads without a count are left out.

    Raises
    ------
    ValueError
        If no head has a count, or no seed is common to all.
    """
    rows = rows[rows[cost].notna()]
    if rows.empty:
        raise ValueError(f"no head has a count in the column {cost}")
    table = summarise(rows, value=value).sort_values(cost, kind="stable", ignore_index=True)
    values = paired_values(rows, value=value)[table["head"]].dropna().to_numpy(dtype=float)
    if not len(values):
        raise ValueError("no seed is common to all heads")
    draw = np.random.default_rng(random_state)
    index = draw.integers(len(values), size=(n_resamples, len(values)))
    means = values[index].mean(axis=1)  # (resamples, heads)
    table["share"] = _on_front(table[cost].to_numpy(dtype=float), means).mean(axis=0)
    return table[["head", cost, "mean", "low", "high", "share"]]


def _on_front(costs: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Whether no head of at most the same cost is better: (resamples, heads); costs ascend."""
    on_front = np.zeros(means.shape, dtype=bool)
    best = np.full(len(means), -np.inf)  # of all cheaper heads
    for cost in np.unique(costs):
        same = costs == cost
        top = means[:, same].max(axis=1)
        on_front[:, same] = (means[:, same] == top[:, None]) & (top > best)[:, None]
        best = np.maximum(best, top)
    return on_front
