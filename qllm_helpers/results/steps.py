"""Paired contrasts between circuits: one size to the next, trends, kinds of photons.

Two circuits are always compared on the same seeds, hence on the same splits. Intervals are
Student's t over seeds; the p-values of one table are corrected together (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from qllm_helpers.results.intervals import paired_values
from qllm_helpers.results.statistics import LEVEL, MARGIN, difference_tests


def _tested(differences: dict[tuple, np.ndarray], names: Sequence[str], margin: float):
    """Test every set of differences, corrected together, with what each is about in front."""
    table = difference_tests(differences, margin=margin)
    table["conclusion"] = [_words(row) for _, row in table.iterrows()]
    return pd.DataFrame(list(differences), columns=list(names)).join(table)


def _words(row: pd.Series) -> str:
    if row["p_corrected"] < LEVEL:
        word = "higher" if row["difference"] > 0 else "lower"
        return f"{word}, within the margin" if row["equivalent"] else word
    return "the same within the margin" if row["equivalent"] else "undecided"


def _by_fixed(rows: pd.DataFrame, size: str, fixed: str, value: str) -> list[tuple]:
    """For every value of `fixed` with two sizes or more: the value, and seeds by sizes, sorted."""
    parts = []
    for at, part in rows.groupby(fixed):
        wide = paired_values(part, by=size, value=value).sort_index(axis=1)
        if wide.shape[1] > 1:
            parts.append((at, wide))
    if not parts:
        raise ValueError(f"no two values of {size} share a value of {fixed}")
    return parts


def size_steps(
    rows: pd.DataFrame,
    *,
    size: str = "n_modes",
    fixed: str = "n_photons",
    value: str = "test_accuracy",
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Paired difference of each size to the one before it, the other number fixed.

    Parameters
    ----------
    rows : DataFrame
        One row per fit, from `plain_sweep`.
    size, fixed : str
        Columns: what grows, and what stays.
    value : str
        Column to compare.
    margin : float
        Half-width (fraction) of what counts as no difference.

    Returns
    -------
    DataFrame
        `fixed`, before, after, the columns of `statistics.difference_tests`, and `conclusion` in
        words.

    Raises
    ------
    ValueError
        If no two sizes share a value of `fixed`.
    """
    changes = {}
    for at, part in _by_fixed(rows, size, fixed, value):
        for before, after in pairwise(part.columns):
            changes[at, before, after] = (part[after] - part[before]).dropna()
    return _tested(changes, [fixed, "before", "after"], margin)


def size_trends(
    rows: pd.DataFrame,
    *,
    size: str = "n_modes",
    fixed: str = "n_photons",
    value: str = "test_accuracy",
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Fitted change from the smallest to the largest size, the other number fixed.

    A straight line is fitted to every seed's values; its slope times the range is the seed's
    change.

    Parameters
    ----------
    rows, size, fixed, value, margin
        As in `size_steps`.

    Returns
    -------
    DataFrame
        As from `size_steps`: before and after are the ends of the range.

    Raises
    ------
    ValueError
        If no two sizes share a value of `fixed`.
    """
    changes = {}
    for at, part in _by_fixed(rows, size, fixed, value):
        sizes = part.columns.to_numpy(float)
        change = np.polyfit(sizes, part.dropna().to_numpy(float).T, 1)[0] * np.ptp(sizes)
        changes[at, int(sizes[0]), int(sizes[-1])] = change
    return _tested(changes, [fixed, "before", "after"], margin)


def kind_contrasts(
    rows: pd.DataFrame,
    kind: str,
    reference: str,
    *,
    value: str = "test_accuracy",
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Paired difference of one kind of photons to another in every circuit that has both.

    Parameters
    ----------
    rows : DataFrame
        From `photon_kinds`.
    kind, reference : str
        Values of the column `kind`.
    value, margin
        As in `size_steps`.

    Returns
    -------
    DataFrame
        n_modes, n_photons and the columns of `size_steps` from difference on.

    Raises
    ------
    ValueError
        If no circuit has both kinds.
    """
    by = ["n_modes", "n_photons"]
    chosen = [rows[rows["kind"] == name] for name in (kind, reference)]
    if any(part.empty for part in chosen):
        raise ValueError(f"no circuit has rows of both {kind!r} and {reference!r}")
    sides = [paired_values(part, by=by, value=value) for part in chosen]
    both = sorted(set(sides[0]) & set(sides[1]))
    if not both:
        raise ValueError(f"no circuit has rows of both {kind!r} and {reference!r}")
    return _tested({at: (sides[0][at] - sides[1][at]).dropna() for at in both}, by, margin)


def labelled(table: pd.DataFrame, template: str) -> pd.DataFrame:
    """The table with a name for every row, ready for ``figures.difference_forest``.

    Parameters
    ----------
    table, template
        As in :func:`qllm_helpers.results.contrasts.verdict_lines`.

    Returns
    -------
    DataFrame
        With columns head and family.
    """
    names = [template.format(**row) for row in table.to_dict("records")]
    return table.assign(head=names, family="photonic")


def count_conclusions(table: pd.DataFrame) -> pd.Series:
    """How many rows of a table of contrasts come to each conclusion, most frequent first."""
    counts: Mapping[str, int] = table["conclusion"].value_counts(sort=False)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return pd.Series(dict(ordered), name="rows")
