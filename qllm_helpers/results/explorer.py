"""What the explorer of modes and photons shows: every circuit of two studies beside a reference."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from qllm_helpers.results.intervals import summarise
from qllm_helpers.results.published import published_photons
from qllm_helpers.results.statistics import paired_differences
from qllm_helpers.results.sweeps import plain_sweep

__all__ = ["REFERENCE", "explorer_rows", "explorer_table"]

#: Head that every circuit is compared with.
REFERENCE = "LogisticRegression"
_SIZE = ["n_modes", "n_photons"]


def explorer_rows(
    few_shot: pd.DataFrame,
    paper: pd.DataFrame,
    *,
    photons: pd.DataFrame | None = None,
    finetune: pd.DataFrame | None = None,
    multiclass: pd.DataFrame | None = None,
) -> dict[str, pd.DataFrame]:
    """Rows of the sets that a reader can switch between.

    Parameters
    ----------
    few_shot, paper : DataFrame
        Rows of the studies ``few_shot`` and ``paper``.
    photons, finetune, multiclass : DataFrame or None
        Rows of these studies, for more sets.

    Returns
    -------
    dict of str to DataFrame
        Name of the set -> its rows, of photonic heads and of the reference.
    """
    sets = {"paper's protocol": paper}
    if finetune is not None:
        sets["paper's protocol, tuned body"] = finetune[finetune["fine_tuned"]]
    if photons is not None:
        sets["unbunched outputs"] = _called_plainly(photons, ", unbunched")
        sets["distinguishable photons"] = _called_plainly(photons, ", distinguishable")
    sets["few-shot, frozen body"] = few_shot[~few_shot["fine_tuned"]]
    sets["few-shot, tuned body"] = few_shot[few_shot["fine_tuned"]]
    if multiclass is not None:
        sets["five classes (SST-5)"] = multiclass[multiclass["dataset"] == "sst5"]
        sets["six classes (TREC)"] = multiclass[multiclass["dataset"] == "trec"]
    return sets


def _called_plainly(rows: pd.DataFrame, ending: str) -> pd.DataFrame:
    """Rows of one kind of circuit, called by modes and photons alone, and of the reference."""
    kind = rows["head"].str.endswith(ending)
    chosen = rows[kind | (rows["head"] == REFERENCE)]
    return chosen.assign(head=chosen["head"].str.removesuffix(ending))


def explorer_table(sets: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One line for every circuit of every set.

    Parameters
    ----------
    sets : dict of str to DataFrame
        From :func:`explorer_rows`: one row per fit, with rows of :data:`REFERENCE`.

    Returns
    -------
    DataFrame
        ``set``, ``n_modes``, ``n_photons``, ``mean``, ``low``, ``high`` (test accuracy and its
        95 % interval, Student's t over the seeds), ``n_seeds``; ``difference``,
        ``difference_low``, ``difference_high`` to the reference on the same seeds (95 %);
        ``reported``, the earlier reproduction's figure for the same circuit of the few-shot
        protocol; and ``seeds``, the list of the accuracies of all seeds. All are fractions. A
        line with ``n_modes`` missing is the reference.

    Raises
    ------
    ValueError
        If a set has no rows of the reference or of photonic heads.
    """
    return pd.concat([_one_set(name, rows) for name, rows in sets.items()], ignore_index=True)


def _one_set(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    reference = rows[rows["head"] == REFERENCE]
    if reference.empty:
        raise ValueError(f"the set {name!r} has no rows of {REFERENCE}")
    both = pd.concat([reference, plain_sweep(rows)])
    table = summarise(both)[["head", "mean", "low", "high", "n_seeds"]]
    against = paired_differences(both, REFERENCE)[["head", "difference", "low", "high"]]
    against = against.rename(columns={"low": "difference_low", "high": "difference_high"})
    seeds = both.groupby("head")["test_accuracy"].agg(list).rename("seeds")
    sizes = both.drop_duplicates("head")[["head", *_SIZE]].astype(dict.fromkeys(_SIZE, "Int64"))
    for part in (sizes, against, seeds.reset_index()):
        table = table.merge(part, on="head", how="left")
    table.insert(0, "set", name)
    protocols = rows["protocol"].unique()
    table["reported"] = float("nan")
    if list(protocols) == ["few_shot"]:
        reported = published_photons().set_index(_SIZE)["reported"]
        keys = pd.MultiIndex.from_frame(table[_SIZE])
        table["reported"] = reported.reindex(keys).to_numpy()
    return table
