"""What the explorer of modes and photons shows: every circuit of some sets beside a reference."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from qllm_helpers.results.contrasts import compare
from qllm_helpers.results.intervals import summarise
from qllm_helpers.results.published import published_photons

#: Head that every circuit is compared with.
REFERENCE = "LogisticRegression"
_SIZE = ["n_modes", "n_photons"]


def explorer_rows(studies: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Rows of the sets that a reader can switch between: photonic heads and the reference.

    `studies` holds rows of ``few_shot`` and ``paper`` and, for more sets, of ``photons``,
    ``finetune`` and ``multiclass``.
    """
    few_shot, finetune = studies["few_shot"], studies.get("finetune")
    sets = {"paper's protocol": studies["paper"]}
    if finetune is not None:
        sets["paper's protocol, tuned body"] = finetune[finetune["fine_tuned"]]
    if "photons" in studies:
        rows, apart = studies["photons"], "distinguishable twin"
        unbunched = rows["space"].eq("unbunched").fillna(False)
        sets["unbunched outputs"] = rows[unbunched | rows["n_modes"].isna()]
        distinguishable = rows[rows["kind"].eq(apart) & ~unbunched | rows["n_modes"].isna()]
        kind = distinguishable["kind"].replace(apart, "photonic")
        sets["distinguishable photons"] = distinguishable.assign(kind=kind)
    sets["few-shot, frozen body"] = few_shot[~few_shot["fine_tuned"]]
    sets["few-shot, tuned body"] = few_shot[few_shot["fine_tuned"]]
    for words, name in (("five classes (SST-5)", "sst5"), ("six classes (TREC)", "trec")):
        if "multiclass" in studies:
            sets[words] = studies["multiclass"][lambda t, name=name: t["dataset"] == name]
    return {
        name: rows[rows["kind"].eq("photonic") | rows["head"].eq(REFERENCE)]
        for name, rows in sets.items()
    }


def explorer_table(sets: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One line for every circuit of every set, and for the reference (``n_modes`` missing).

    Columns ``set``, ``n_modes``, ``n_photons``, ``mean``, ``low``, ``high`` (test accuracy, 95 %),
    ``n_seeds``; ``difference``, ``difference_low``, ``difference_high`` to the reference on the
    same seeds (95 %); ``reported``, the earlier reproduction's figure for the same circuit of the
    few-shot protocol; ``seeds``, the accuracies of all seeds. Raises ValueError if a set has no
    rows of the reference.
    """
    return pd.concat([_one_set(name, rows) for name, rows in sets.items()], ignore_index=True)


def _one_set(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    against = compare(rows, REFERENCE)[["head", "difference", "low", "high"]]
    against = against.rename(columns={"low": "difference_low", "high": "difference_high"})
    seeds = rows.groupby("head")["test_accuracy"].agg(list).rename("seeds")
    table = summarise(rows)[["head", *_SIZE, "mean", "low", "high", "n_seeds"]]
    table = table.merge(against, on="head", how="left").join(seeds, on="head")
    table = table.astype(dict.fromkeys(_SIZE, "Int64"))
    table.insert(0, "set", name)
    few_shot = rows["protocol"].eq("few_shot").all()
    reported = published_photons()[[*_SIZE, "reported"]] if few_shot else None
    if reported is None:
        return table.assign(reported=float("nan"))
    return table.merge(reported, on=_SIZE, how="left")
