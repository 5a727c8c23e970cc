"""Accuracies that others have published, and what this book measured beside every line.

Published figures are copied from the paper (Kim et al., arXiv:2504.08732) or from the documentation
of its photonic reproduction (MerLin, 2025), never measured here.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from textwrap import fill

import pandas as pd

from qllm_helpers.files import read_verified
from qllm_helpers.results.contrasts import NOT_RUN, VERDICTS, compare
from qllm_helpers.results.intervals import having, summarise
from qllm_helpers.results.verdicts import load_verdicts
from qllm_helpers.studies.table import body_state, load_results
from qllm_helpers.text.encoders import DEFAULT_ENCODER

#: "Up to 3.14 %" of the paper: its best quantum head minus its best classical one of that size.
PAPER_GAIN = 0.0314
#: The gain, in words "+4 %", that the reproduction's first report named.
REPRODUCTION_GAIN = 0.04
#: Every difference is taken to this head, on the same protocol, body and seeds.
REFERENCE = "LogisticRegression, C = 1"
#: The same with its C chosen like the settings of the other heads.
TUNED_REFERENCE = "LogisticRegression"
_SIZE = ["n_modes", "n_photons"]
_COUNTS = ["n_parameters", "n_live_parameters", "n_effective_parameters"]
_MEASURED = ["mean", "low", "high", "std", "lowest", "highest", "n_seeds", *_COUNTS]
_LIMITS = {"low": "difference_low", "high": "difference_high"}
_TESTED = ["difference", *_LIMITS.values(), "p_corrected", "verdict"]


def _read(name: str) -> pd.DataFrame:
    table = pd.read_csv(io.BytesIO(read_verified(f"{name}.csv")))
    sizes = ["reported_parameters", "n_modes", "n_photons", "n_qubits"]
    return table.astype({size: "Int64" for size in sizes if size in table})


def published_table() -> pd.DataFrame:
    """Lines of the published tables, each with the head here that stands for it (our choice).

    ``reported_std`` is over folds, ``reported_parameters`` as printed, without support vectors.
    """
    return _read("published")


def published_photons() -> pd.DataFrame:
    """The reproduction's few-shot figures for every number of modes and photons (its table: best).

    ``reported`` is the test accuracy.
    """
    return _read("published_photons")


def headline_table(encoder: str = DEFAULT_ENCODER) -> pd.DataFrame:
    """Every published line beside what was measured here, with its verdict; or "not run".

    To :func:`published_table` come what :func:`summarise` says of our rows; ``reached``, the share
    of seeds at least as good as reported; and of the line's claim the difference to logistic
    regression with its 95 % interval over seeds and sentences, and the verdict.
    """
    lines = published_table()
    measured = [_measured(line, encoder) for line in lines.to_dict("records")]
    columns = ["body", *_MEASURED, "reached", *_TESTED]
    table = lines.join(pd.DataFrame(measured, index=lines.index, columns=columns))
    return table.astype(dict.fromkeys(["n_seeds", *_COUNTS], "Int64"))


def _measured(line: dict, encoder: str) -> dict:
    """What is known of a published line: its rows in numbers, and the verdict of its claim."""
    named = {"head": line["ours"], "selection": line["selection"]}
    place = named | {"fine_tuned": line["fine_tuned"], "encoder": encoder}
    rows = having(load_results(line["study"]), place)
    if rows.empty:
        return {"verdict": NOT_RUN}
    body = f"{encoder}, {body_state(line['study'], line['fine_tuned'])}"
    known = summarise(rows)[_MEASURED].iloc[0].to_dict() | {"body": body}
    if not pd.isna(line["reported"]):
        known["reached"] = (rows["test_accuracy"] >= line["reported"]).mean()
    claim = named | {"reference": REFERENCE, "study": line["study"], "body": body, "shift": 0.0}
    verdicts = having(load_verdicts(), claim)
    if line["ours"] == REFERENCE or verdicts.empty:
        return known | {"verdict": "reference" if line["ours"] == REFERENCE else "no claim"}
    return known | verdicts.rename(columns=_LIMITS)[_TESTED].iloc[0].to_dict()


def explorer_rows(studies: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Sets of rows for the explorer; of the `studies` ``few_shot`` and ``paper`` must be there."""
    few_shot, sets = studies["few_shot"], {"paper's protocol": studies["paper"]}
    if "finetune" in studies:
        sets["paper's protocol, tuned body"] = having(studies["finetune"], {"fine_tuned": True})
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
            sets[words] = having(studies["multiclass"], {"dataset": name})
    return {
        name: rows[rows["kind"].eq("photonic") | rows["head"].eq(TUNED_REFERENCE)]
        for name, rows in sets.items()
        if not rows.empty
    }


def explorer_table(sets: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A line for every circuit of every ``set``, and for the reference (``n_modes`` missing).

    Means and differences with 95 % intervals, what was ``reported``, accuracies of all ``seeds``.
    """
    tables, reported = [], published_photons()[[*_SIZE, "reported"]]
    for name, rows in sets.items():
        table = summarise(rows)[["head", *_SIZE, "mean", "low", "high", "n_seeds"]]
        against = compare(rows, TUNED_REFERENCE).rename(columns=_LIMITS)
        table = table.merge(against[["head", "difference", *_LIMITS.values()]], "left", on="head")
        table = table.join(rows.groupby("head")["test_accuracy"].agg(list).rename("seeds"), "head")
        table.insert(0, "set", name)
        table = table.astype(dict.fromkeys(_SIZE, "Int64")).merge(reported, "left", on=_SIZE)
        if rows["protocol"].ne("few_shot").any():
            table["reported"] = float("nan")
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def verdict_groups(table: pd.DataFrame) -> str:
    """Sentences that say what the table shows: a paragraph for each verdict, with its lines."""
    named = {word: table.loc[table["verdict"] == word, "label"] for word in (*VERDICTS, NOT_RUN)}
    look = {"width": 76, "subsequent_indent": "    ", "break_on_hyphens": False}
    return "\n".join(
        fill(f"{word} ({len(names)}): {'; '.join(names)}", **look)
        for word, names in named.items()
        if len(names)
    )


def headline_markdown(table: pd.DataFrame) -> str:
    """The headline table for the README: every line but the five-fold ones, with its counts."""
    titles = ["", "reported", "here: mean, 95 % interval", "points to logistic regression"]
    titles += ["seeds", "parameters: nominal / live / effective"]
    lines = [titles, ["---"] * len(titles)]
    for row in table[table["source"] != "reproduction, five-fold"].to_dict("records"):
        here, gap, seeds = NOT_RUN, "", ""
        if pd.notna(row["mean"]):
            here = f"{row['mean']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
            points = "" if pd.isna(row["difference"]) else f"{100 * row['difference']:+.2f}, "
            gap, seeds = points + row["verdict"], row["n_seeds"]
        counts = " / ".join("–" if pd.isna(row[n]) else f"{row[n]:,.0f}" for n in _COUNTS)
        reported = "–" if pd.isna(row["reported"]) else f"{row['reported']:.4f}"
        lines.append([row["label"], reported, here, gap, seeds, counts])
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
