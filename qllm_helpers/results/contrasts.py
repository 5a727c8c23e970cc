"""Heads in pairs: against linear maps of the same rank and against their twins, with a verdict.

A pair is compared seed by seed, on the same splits. Which pairs are formed and the margin of one
point are our choice; the twins follow Bowles et al., arXiv 2403.07059.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from qllm_helpers.results.intervals import paired_values
from qllm_helpers.results.statistics import LEVEL, MARGIN, difference_tests
from qllm_helpers.studies.table import with_facts

__all__ = [
    "MARGIN",
    "kinds",
    "match_heads",
    "paired_table",
    "pooled_table",
    "study_rows",
    "verdict",
    "verdict_lines",
]


def study_rows(study: str, *, recompute: bool = False, n_jobs: int = -1) -> pd.DataFrame:
    """Rows of a study: the shipped ones, or computed again.

    Parameters
    ----------
    study : str
        Name of :func:`qllm_helpers.load_results`.
    recompute : bool
        Compute what the local store of finished fits lacks, which takes up to an hour; the
        shipped table is left alone. ``qllm study NAME`` does the same and writes the table.
    n_jobs : int
        Processes; -1 uses all cores.

    Returns
    -------
    DataFrame
        One row per fit.

    Raises
    ------
    UnknownNameError, DataError
        As `load_results`.
    """
    from qllm_helpers.studies.run import load_results, load_units, run_study
    from qllm_helpers.studies.table import format_table, parse_table

    if not recompute:
        return load_results(study)
    rows = run_study(load_units(study), n_jobs=n_jobs)
    return parse_table(format_table(rows), study, f"the new rows of {study}")


def kinds(rows: pd.DataFrame) -> pd.Series:
    """What every row's head is made of.

    Parameters
    ----------
    rows : DataFrame
        One row per fit, from :func:`study_rows`.

    Returns
    -------
    Series of str
        The family (``"linear"``, ``"svc"``, ``"mlp"``, ``"photonic"``, ``"qubit"``), and where
        it applies instead ``"linear map"`` (of the same rank: no quantum layer), an ablation
        twin such as ``"cosine twin"``, or ``"occupation"``, ``"two-stage"``, ``"fidelity kernel"``.
    """
    return with_facts(rows)["kind"]


def match_heads(rows: pd.DataFrame, kind: str, reference: str) -> list[tuple[str, str]]:
    """Pairs of heads of the same size: modes and photons, or modes alone for a linear map.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    kind, reference : str
        Values of :func:`kinds`.

    Returns
    -------
    list of (head, reference head)
        By number of modes, then photons; a head without a partner is left out.

    Raises
    ------
    ValueError
        If no head of `kind` has a partner, or one has several.
    """
    size = ["n_modes"] if "linear map" in (kind, reference) else ["n_modes", "n_photons"]
    heads = rows.assign(kind=kinds(rows)).drop_duplicates("head")[["head", "kind", *size]]
    left, right = heads[heads["kind"] == kind], heads[heads["kind"] == reference]
    right = right[right[size].notna().all(axis=1)]
    if right.duplicated(size).any():
        raise ValueError(f"several heads of kind {reference!r} have the same size: filter the rows")
    both = left.merge(right, on=size, suffixes=("", "_reference"))
    if both.empty:
        known = sorted(heads["kind"].unique())
        raise ValueError(
            f"no head of kind {kind!r} has a {reference!r} of its size; kinds: {known}"
        )
    order = [name for name in ("n_modes", "n_photons", "n_photons_reference") if name in both]
    both = both.sort_values(order, kind="stable")
    return list(zip(both["head"], both["head_reference"], strict=True))


def _differences(rows: pd.DataFrame, pairs, value: str) -> pd.DataFrame:
    """One row per seed, one column per pair: head minus reference."""
    wide = paired_values(rows, value=value).astype(float)
    missing = [name for pair in pairs for name in pair if name not in wide.columns]
    if missing or not pairs:
        raise ValueError(f"no rows of {missing[0]!r}" if missing else "no pairs to compare")
    return pd.concat([wide[head] - wide[reference] for head, reference in pairs], axis=1)


def paired_table(
    rows: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    *,
    value: str = "test_accuracy",
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Every pair's difference on the same seeds, tested for a difference and for equivalence.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    pairs : sequence of (head, reference head)
        For example from :func:`match_heads`.
    value : str
        Column to compare.
    margin : float
        Largest difference (fraction) that counts as none.

    Returns
    -------
    DataFrame
        ``head``, ``reference``, and the columns of
        :func:`qllm_helpers.results.statistics.difference_tests`.

    Raises
    ------
    ValueError
        If there are no pairs, a head has no rows, or a pair shares fewer than two seeds.
    """
    differences = _differences(rows, pairs, value)
    columns = {k: differences.iloc[:, k].dropna() for k in range(len(pairs))}
    names = pd.DataFrame(pairs, columns=["head", "reference"])
    return names.join(difference_tests(columns, margin=margin))


def pooled_table(
    rows: pd.DataFrame,
    groups: dict[str, Sequence[tuple[str, str]]],
    *,
    value: str = "test_accuracy",
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Differences averaged over all pairs of a group, seed by seed.

    One number per seed and group is what is tested, so that pairs of the same seed, which are
    not independent, do not count as several observations.

    Parameters
    ----------
    rows, value, margin
        As in :func:`paired_table`.
    groups : dict of str to pairs
        Name of the reference of the group, and its pairs.

    Returns
    -------
    DataFrame
        As :func:`paired_table`, one row a group (its name in ``head``), with ``n_pairs``. Seeds
        that some pair of a group lacks are left out.

    Raises
    ------
    ValueError
        As :func:`paired_table`.
    """
    means = {
        name: _differences(rows, pairs, value).dropna().mean(axis=1)
        for name, pairs in groups.items()
    }
    names = {"head": list(groups), "n_pairs": [len(pairs) for pairs in groups.values()]}
    return pd.DataFrame(names).join(difference_tests(means, margin=margin))


def verdict(row: pd.Series, *, margin: float = MARGIN) -> str:
    """What a difference, its interval and its tests allow to say.

    Parameters
    ----------
    row : Series
        Row of :func:`paired_table`, :func:`pooled_table` or
        :func:`qllm_helpers.results.budget.budget_gain`.
    margin : float
        The margin of that table.

    Returns
    -------
    str
        Difference and interval in points, and a conclusion in words.
    """
    direction = "better" if row["difference"] > 0 else "worse"
    real = row["p_corrected"] < LEVEL
    bound = f"{100 * margin:g} point{'' if margin == 0.01 else 's'}"
    if row["equivalent"]:
        words = f"the same within {bound}" + (f", though measurably {direction}" if real else "")
    else:
        words = direction if real else f"undecided (neither different nor the same within {bound})"
    low, middle, high = (f"{100 * row[name]:+.2f}" for name in ("low", "difference", "high"))
    return f"{middle} points [{low}, {high}], {row['n_seeds']} seeds: {words}"


def verdict_lines(table: pd.DataFrame, template: str, *, margin: float = MARGIN) -> str:
    """Conclusions in words, one line a row.

    Parameters
    ----------
    table : DataFrame
        Rows that :func:`verdict` reads, such as those of :func:`paired_table`.
    template : str
        What a row is about, with columns in braces, for example ``"{n_photons} photons"``.
    margin : float
        The margin of that table.

    Returns
    -------
    str
    """
    return "\n".join(
        f"{template.format(**row)}: {verdict(row, margin=margin)}" for _, row in table.iterrows()
    )
