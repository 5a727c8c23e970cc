"""Learning curves: accuracy against the number of sentences of each label, in pairs.

Sizes are sentences of each label, training and validation together, as the study
``sample_efficiency`` draws them. The area under a curve as one test for all sizes is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qllm_helpers.results.intervals import paired_values, summarise
from qllm_helpers.results.statistics import MARGIN, difference_tests

__all__ = ["SIZE", "area_table", "learning_curve", "paired_by_size"]

#: Column with the number of sentences of each label.
SIZE = "samples_per_class"


def learning_curve(rows: pd.DataFrame, *, value: str = "test_accuracy") -> pd.DataFrame:
    """Mean and interval of every head at every size.

    Parameters
    ----------
    rows : DataFrame
        One row per fit of the study ``sample_efficiency``.
    value : str
        Column to summarise.

    Returns
    -------
    DataFrame
        As :func:`qllm_helpers.results.statistics.summarise`, with ``samples_per_class`` and
        ``head``;
        heads in order of first appearance, sizes ascending.

    Raises
    ------
    ValueError
        If a column is missing or the table is empty.
    """
    table = summarise(rows, by=[SIZE, "head"], value=value)
    place = table["head"].map({head: k for k, head in enumerate(table["head"].unique())})
    order = table.assign(place=place).sort_values(["place", SIZE]).index
    return table.loc[order].reset_index(drop=True)


def _wide(rows: pd.DataFrame, heads: Sequence[str] = ()) -> pd.DataFrame:
    """One row per seed, one column per (size, head); refuses heads without rows."""
    wide = paired_values(rows, by=[SIZE, "head"]).astype(float)
    known = list(dict.fromkeys(rows["head"]))
    for head in heads:
        if head not in known:
            raise ValueError(f"no rows of {head!r}; heads: {known}")
    return wide.sort_index(axis=1)


def _pairs(rows: pd.DataFrame, reference: str | Sequence[tuple[str, str]]) -> list:
    """The pairs that were given, or every head with the reference."""
    pairs = reference
    if isinstance(reference, str):
        pairs = [(head, reference) for head in rows["head"].unique() if head != reference]
    if not pairs:
        raise ValueError("no pairs to compare")
    return list(pairs)


def paired_by_size(
    rows: pd.DataFrame,
    reference: str | Sequence[tuple[str, str]] = "LogisticRegression",
    *,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Paired differences at every size, corrected for all tests of the table together.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    reference : str or sequence of (head, reference head)
        Compare every other head with this one, or these pairs.
    margin : float
        Largest difference (fraction) that counts as none.

    Returns
    -------
    DataFrame
        One row per pair and size: ``head``, ``reference``, ``samples_per_class``, ``family`` of
        the head, and the columns of :func:`qllm_helpers.results.statistics.difference_tests`.
        Sizes that
        one of the two lacks are left out.

    Raises
    ------
    ValueError
        If there are no pairs, a head has no rows, or a pair shares fewer than two seeds.
    """
    pairs = _pairs(rows, reference)
    wide = _wide(rows, [name for pair in pairs for name in pair])
    groups = {
        (*pair, size): (wide[size, pair[0]] - wide[size, pair[1]]).dropna()
        for pair in pairs
        for size in sorted(rows[SIZE].unique())
        if all((size, name) in wide.columns for name in pair)
    }
    names = pd.DataFrame(list(groups), columns=["head", "reference", SIZE])
    names["family"] = names["head"].map(rows.drop_duplicates("head").set_index("head")["family"])
    return names.join(difference_tests(groups, margin=margin))


def _areas(wide: pd.DataFrame, head: str) -> pd.Series:
    """Average height of every seed's learning curve over the logarithm of the size."""
    curve = wide.xs(head, axis=1, level=1).dropna(axis=1, how="all")
    steps = np.log2(curve.columns.to_numpy(dtype=float))
    if len(steps) < 2:
        raise ValueError(f"{head!r} has fewer than two sizes: no curve")
    area = np.trapezoid(curve.to_numpy(), steps, axis=1) / np.ptp(steps)
    return pd.Series(area, index=curve.index)


def area_table(
    rows: pd.DataFrame,
    reference: str | Sequence[tuple[str, str]] = "LogisticRegression",
    *,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """One test a pair: differences of the areas under the learning curves.

    The area is taken over the logarithm of the size (every doubling counts the same) and divided
    by its range, so that it is an accuracy, averaged over all sizes.

    Parameters
    ----------
    rows, reference, margin
        As in :func:`paired_by_size`.

    Returns
    -------
    DataFrame
        As :func:`qllm_helpers.results.contrasts.paired_table`, with ``family``; seeds that lack
        a size
        are left out.

    Raises
    ------
    ValueError
        As :func:`paired_by_size`, and if a head has a single size.
    """
    pairs = _pairs(rows, reference)
    wide = _wide(rows, [name for pair in pairs for name in pair])
    groups = {pair: (_areas(wide, pair[0]) - _areas(wide, pair[1])).dropna() for pair in pairs}
    names = pd.DataFrame(list(groups), columns=["head", "reference"])
    names["family"] = names["head"].map(rows.drop_duplicates("head").set_index("head")["family"])
    return names.join(difference_tests(groups, margin=margin))
