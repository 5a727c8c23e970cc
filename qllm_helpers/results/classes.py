"""Heads on two, five and six classes: tables by corpus, and how large a head must be.

Every difference is to logistic regression on the same sentences of the same corpus. What counts as
large enough is our choice: the interval of the difference lies above minus one point.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from qllm_helpers.results.contrasts import kinds
from qllm_helpers.results.intervals import summarise
from qllm_helpers.results.statistics import MARGIN, paired_differences

__all__ = ["REFERENCE", "corpus_table", "size_table", "smallest_sizes"]

REFERENCE = "LogisticRegression"
#: Kind of head -> how it is called in the tables.
_KINDS = {"photonic": "photonic", "linear map": "linear map"}


def corpus_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and macro-F1 of every head on one corpus, and its difference to the reference.

    Parameters
    ----------
    rows : DataFrame
        Rows of one corpus.

    Returns
    -------
    DataFrame
        Indexed by ``head``, best first: ``accuracy``, ``low``, ``high`` (95 % over seeds),
        ``macro_f1``, ``difference`` (paired, fraction; missing for the reference) and
        ``p_corrected`` (Holm over the corpus).

    Raises
    ------
    ValueError
        If there are rows of several corpora, or none of the reference.
    """
    if rows["dataset"].nunique() != 1:
        raise ValueError(f"rows of one corpus are needed, got {rows['dataset'].unique().tolist()}")
    table = summarise(rows).set_index("head")[["mean", "low", "high"]]
    table = table.rename(columns={"mean": "accuracy"})
    table["macro_f1"] = summarise(rows, value="macro_f1").set_index("head")["mean"]
    tests = paired_differences(rows, REFERENCE).set_index("head")
    table = table.join(tests[["difference", "p_corrected"]])
    return table.sort_values("accuracy", ascending=False)


def size_table(corpora: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Difference to logistic regression against the number of modes.

    Parameters
    ----------
    corpora : mapping of int to DataFrame
        Number of classes, and the rows of its corpus.

    Returns
    -------
    DataFrame
        ``n_classes``, ``kind`` ("linear map", or "photonic" with its number of photons),
        ``n_modes``, ``difference``, ``low``, ``high`` (fractions, 95 %) and ``enough``: whether
        the interval lies above minus one point.

    Raises
    ------
    ValueError
        If a corpus has no rows of the reference.
    """
    tables = []
    for n_classes, rows in corpora.items():
        kind = kinds(rows)
        sized = rows[kind.isin(_KINDS) | (rows["head"] == REFERENCE)]
        table = paired_differences(sized, REFERENCE)
        about = sized.assign(kind=kind).drop_duplicates("head").set_index("head")
        table = table.join(about[["kind", "n_modes", "n_photons"]], on="head")
        photons = table["n_photons"].astype("Int64").astype(str) + " photon"
        photons = photons + table["n_photons"].gt(1).map({True: "s", False: ""})
        table["kind"] = table["kind"].where(table["kind"] != "photonic", "photonic, " + photons)
        tables.append(table.assign(n_classes=n_classes))
    table = pd.concat(tables, ignore_index=True)
    table["enough"] = table["low"] > -MARGIN
    columns = ["n_classes", "kind", "n_modes", "difference", "low", "high", "enough"]
    return table[columns].sort_values(columns[:3], ignore_index=True)


def smallest_sizes(table: pd.DataFrame) -> pd.DataFrame:
    """Smallest number of modes from which on every size is large enough.

    Parameters
    ----------
    table : DataFrame
        From :func:`size_table`.

    Returns
    -------
    DataFrame
        One row a kind, one column a number of classes; missing where even the largest size that
        was run is not enough.
    """
    found = {}
    for (n_classes, kind), part in table.groupby(["n_classes", "kind"]):
        part = part.sort_values("n_modes", ascending=False)
        # from the largest downwards, as long as it is enough
        kept = part[part["enough"].astype(int).cumprod().astype(bool)]
        found[kind, n_classes] = kept["n_modes"].min() if len(kept) else pd.NA
    sizes = pd.Series(found, dtype="Int64").unstack()
    return sizes.rename_axis(index="kind", columns="classes")
