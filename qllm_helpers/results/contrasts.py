"""The one paired test of the book: differences on the same seeds, two questions, one verdict.

Is there a difference (paired t-test)? Is it smaller than a margin (two one-sided t-tests)? Both
p-values are corrected by Holm over the table that asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from qllm_helpers import checks
from qllm_helpers.results.intervals import as_list, paired_values

#: Level of tests.
LEVEL = 0.05
#: Largest difference (fraction) that counts as none: one point (our choice).
MARGIN = 0.01
#: The words of a verdict; there are no others.
VERDICTS = ("better", "worse", "equivalent", "inconclusive")
#: What stands in place of one where rows are not there yet.
NOT_RUN = "not run"
_TESTED = ("difference", "low", "high", "low_90", "high_90", "std", "n_seeds")
_TESTED += ("p_value", "p_corrected", "p_equivalence", "verdict")


def t_tests(difference: float, error: float, freedom: int, margin: float) -> dict:
    """Intervals and both tests of a difference with this standard error, not corrected."""
    row = {"difference": difference}
    for names, level in ((("low", "high"), LEVEL), (("low_90", "high_90"), 2 * LEVEL)):
        half = stats.t.isf(level / 2, freedom) * error
        row |= dict(zip(names, (difference - half, difference + half), strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):  # without spread the answers are sure
        distances = np.array([abs(difference), difference + margin, margin - difference]) / error
    p, *sides = stats.t.sf(np.nan_to_num(distances), freedom)
    return row | {"p": float(2 * p), "p_equivalence": float(max(sides))}


def with_verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Tests of one family, corrected by Holm, with a ``verdict``; no difference: nothing is run.

    Inside the margin is equivalent, however small a difference is seen.
    """
    run, table = table["p"].notna(), table.assign(p_corrected=table["p"])
    for name in ("p_corrected", "p_equivalence") if run.any() else ():
        table.loc[run, name] = multipletests(table.loc[run, name], method="holm")[1]
    seen = np.where(table["difference"] > 0, "better", "worse")
    seen = np.where(table["p_corrected"] < LEVEL, seen, "inconclusive")
    words = np.where(table["p_equivalence"] < LEVEL, "equivalent", seen)
    return table.assign(verdict=np.where(run, words, NOT_RUN))


def difference_tests(
    groups: dict, *, names: Sequence[str] = ("head",), margin: float = MARGIN
) -> pd.DataFrame:
    """Test sets of paired differences (fractions, one per seed); their keys become the `names`.

    Columns ``difference``; ``low``, ``high`` (95 % t interval), ``low_90``, ``high_90`` (90 %, that
    of the test of equivalence); ``std``, ``n_seeds``; ``p_value`` (paired t), ``p_corrected``;
    ``p_equivalence`` (two one-sided tests, corrected); ``verdict``. Corrections are Holm's, over
    the table; intervals are not corrected.
    """
    if not groups:
        raise ValueError("nothing to compare: no pair has rows on both sides")
    checks.real("margin", margin, open_below=True)
    if min(map(len, groups.values())) < 2:
        raise ValueError("a pair shares fewer than two seeds; compute more rows")
    rows = []
    for values in (np.asarray(one, dtype=float) for one in groups.values()):
        # the mean of equal values may differ from them by a rounding
        n_seeds, std = values.size, values.std(ddof=1) if np.ptp(values) else 0.0
        tests = t_tests(values.mean(), std / math.sqrt(n_seeds), n_seeds - 1, margin)
        rows.append(tests | {"std": std, "n_seeds": n_seeds})
    table = with_verdicts(pd.DataFrame(rows)).rename(columns={"p": "p_value"})
    keys = [key if isinstance(key, tuple) else (key,) for key in groups]
    return pd.DataFrame(keys, columns=list(names)).join(table[list(_TESTED)])


def compare(
    rows: pd.DataFrame,
    reference: str | tuple | list[tuple] = "LogisticRegression",
    *,
    by: str | Sequence[str] = "head",
    within: str | Sequence[str] = (),
    value: str = "test_accuracy",
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Heads in pairs on the same seeds, with a verdict for each pair.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    reference : str, tuple, or list of (head, reference)
        Compare every other head with this one, or these pairs. With several columns in `by`, a
        head is a tuple of their values.
    by : str or sequence of str
        Column(s) that name what is compared.
    within : str or sequence of str
        Column(s): pairs are formed inside each of their values (a size, a body, a corpus), and
        corrected all together; a pair that one value lacks is left out there.
    value : str
        Column to compare.
    margin : float
        Largest difference (fraction) that counts as none.

    Returns
    -------
    DataFrame
        `within`, ``head``, ``reference``, the columns of :func:`difference_tests`, and ``family``
        of the head where the rows have one. ValueError without rows of a head.
    """
    by, within, groups = as_list(by), as_list(within), {}
    for place, part in rows.groupby(within, sort=True) if within else [((), rows)]:
        wide, pairs = paired_values(part, by=by, value=value).astype(float), reference
        if not isinstance(reference, list):
            pairs = [(head, reference) for head in wide.columns if head != reference]
        for pair in pairs:
            missing = [name for name in pair if name not in wide.columns]
            if missing and (pairs is not reference or not within):
                raise ValueError(f"no rows of {missing[0]!r}; heads: {list(wide.columns)}")
            if not missing:
                groups[*place, *pair] = (wide[pair[0]] - wide[pair[1]]).dropna()
    table = difference_tests(groups, names=[*within, "head", "reference"], margin=margin)
    if "family" not in rows or by == ["family"]:
        return table
    keys = by if len(by) > 1 else by[0]
    first = rows.drop_duplicates(by).set_index(keys)["family"].to_dict()
    return table.assign(family=[first.get(head) for head in table["head"]])


def verdict(row: pd.Series) -> str:
    """A row of :func:`compare` in words: difference with 95 % interval in points, and verdict."""
    if pd.isna(row["difference"]):
        return row["verdict"]
    low, middle, high = (f"{100 * row[name]:+.2f}" for name in ("low", "difference", "high"))
    return f"{middle} points [{low}, {high}], {row['n_seeds']} seeds: {row['verdict']}"


def verdict_lines(table: pd.DataFrame, template: str) -> str:
    """Verdicts, one line a row; `template` names columns in braces, as in ``"{head}"``."""
    return "\n".join(f"{template.format(**row)}: {verdict(row)}" for _, row in table.iterrows())
