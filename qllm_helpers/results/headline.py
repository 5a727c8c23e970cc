"""Accuracies that others have published, and what this book measured beside every line.

Published figures are copied from the paper (Kim et al., arXiv:2504.08732) or from the documentation
of its photonic reproduction (MerLin, 2025), never measured here; only the reproduction's five-fold
figures came with a spread. Which of our heads can stand beside a line is data too. Where several
can, one is chosen seed by seed on validation accuracy, never on a test accuracy.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from textwrap import fill

import pandas as pd

from qllm_helpers import checks
from qllm_helpers.files import read_verified
from qllm_helpers.results.contrasts import NOT_RUN, VERDICTS, compare
from qllm_helpers.results.intervals import summarise
from qllm_helpers.results.selection import select_best
from qllm_helpers.studies.table import load_results

#: "Up to 3.14 %" of the paper: its best quantum head minus its best classical one of that size.
PAPER_GAIN = 0.0314
#: The gain, in words "+4 %", that the reproduction's first report named.
REPRODUCTION_GAIN = 0.04
#: Every difference is taken to this head, on the same protocol, body and seeds.
REFERENCE = "LogisticRegression"
END_TO_END = "end to end, upper bound (paper)"
_SIZE = ["n_modes", "n_photons"]
_COUNTS = ["n_parameters", "n_live_parameters", "n_effective_parameters"]
_MEASURED = ["mean", "low", "high", "std", "n_seeds", *_COUNTS]
_LIMITS = {"low": "difference_low", "high": "difference_high"}
_TESTED = ["difference", *_LIMITS.values(), "p_corrected", "verdict"]


def _read(name: str) -> pd.DataFrame:
    table = pd.read_csv(io.BytesIO(read_verified(f"{name}.csv")))
    sizes = ["reported_parameters", "n_modes", "n_photons", "n_qubits"]
    return table.astype({size: "Int64" for size in sizes if size in table})


def published_table() -> pd.DataFrame:
    """Lines of the published tables, each with the heads here that can stand for it (our choice).

    ``citation`` is a key of ``book/references.bib``; ``reported`` (test), ``reported_validation``
    and ``reported_std`` (over folds) are accuracies; ``reported_parameters`` as printed, without
    the paper's support vectors; ``ours`` are shell patterns of heads of ``study``, separated by
    ";". Lines of source ``"here"`` belong beside the paper's and report nothing.
    """
    return _read("published")


def published_photons() -> pd.DataFrame:
    """The reproduction's few-shot figures for every number of modes and photons (its table: best).

    Columns ``n_modes``, ``n_photons``, ``reported_validation``, ``reported`` (test accuracy;
    missing for eight modes with four photons) and ``reported_parameters``.
    """
    return _read("published_photons")


def matching(rows: pd.DataFrame, patterns: str) -> pd.DataFrame:
    """Rows of the heads that match one of some shell patterns, separated by ";"."""
    known = list(rows["head"].drop_duplicates())
    heads = [h for h in known if any(fnmatchcase(h, one) for one in patterns.split(";"))]
    if not heads:
        raise ValueError(f"no head matches {patterns!r}: run `qllm study`; heads: {known}")
    return rows[rows["head"].isin(heads)]


def _chosen(line: dict, rows: pd.DataFrame) -> pd.DataFrame:
    """One row a seed: the candidate with the best validation accuracy, called like the line."""
    # ties go to the lower validation loss, as in training (heads without a loss come last)
    candidates = matching(rows, line["ours"]).sort_values("validation_loss", kind="stable")
    n_heads = candidates["head"].nunique()
    best = select_best(candidates.assign(line=0), within="line")
    tuned = "tuned" if best["fine_tuned"].iloc[0] else "frozen"
    state = "trained with the head" if line["label"] == END_TO_END else tuned
    # the median of a count that some rows lack would be of other heads than the rest
    unknown = {name: pd.NA for name in _COUNTS if best[name].isna().any()}
    return best.assign(
        **unknown,
        body=f"{best['encoder'].iloc[0]}, {state}",
        note=f"best of {n_heads} heads on validation, per seed" if n_heads > 1 else "",
        head=line["label"],
    )


def measure_lines(lines: pd.DataFrame, rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Published lines with what was measured, from `rows`: study -> rows on one body; or "not run".

    Adds ``body``, ``note``; ``mean``, ``low``, ``high`` (95 % over seeds), ``std``, ``n_seeds``,
    parameter counts; the paired ``difference`` to logistic regression, its interval and verdict.
    """
    known = lines[lines["study"].isin(rows)].to_dict("records")
    chosen = {line["label"]: _chosen(line, rows[line["study"]]) for line in known}
    reference = {
        name: part[part["head"] == REFERENCE].assign(head=f"reference, {name}")
        for name, part in rows.items()
    }
    pairs = [
        (one["label"], f"reference, {one['study']}") for one in known if one["ours"] != REFERENCE
    ]
    tests = compare(pd.concat([*chosen.values(), *reference.values()]), pairs).set_index("head")
    every = pd.concat(chosen.values())
    measured = summarise(every).set_index("head")[_MEASURED]
    told = every.drop_duplicates("head").set_index("head")[["body", "note"]]
    found = told.join(measured).join(tests.rename(columns=_LIMITS)[_TESTED])
    table = lines.join(found.fillna({"verdict": "reference"}), on="label")
    return table.fillna({"verdict": NOT_RUN}).astype({"n_seeds": "Int64"})


def headline_table(
    studies: Mapping[str, pd.DataFrame] | None = None, *, fine_tuned: bool = True
) -> pd.DataFrame:
    """Every published line beside what was measured here, as :func:`measure_lines` gives it.

    `studies` replaces shipped rows of ``few_shot``, ``paper``, ``qubits``, ``end_to_end``;
    `fine_tuned` is the body of the few-shot rows (the earlier reproduction's was tuned).
    """
    names = ("few_shot", "paper", "qubits", "end_to_end")
    rows = {name: load_results(name) for name in names} | dict(studies or {})
    rows["few_shot"] = rows["few_shot"][rows["few_shot"]["fine_tuned"] == fine_tuned]
    rows["qubits"] = rows["qubits"][~rows["qubits"]["fine_tuned"]]
    # what it is compared with has a frozen body
    frozen = rows["paper"][rows["paper"]["head"] == REFERENCE]
    rows["end_to_end"] = pd.concat([rows["end_to_end"], frozen], ignore_index=True)
    return measure_lines(published_table(), {name: rows[name] for name in names})


def tuned_lines(studies: Mapping[str, pd.DataFrame] | None = None) -> pd.DataFrame:
    """The paper's lines, and this book's two beside them, on a fine-tuned body.

    Whether the paper's was, it does not say. `studies` replaces ``finetune`` and ``qubits``.
    """
    rows = {name: load_results(name) for name in ("finetune", "qubits")} | dict(studies or {})
    lines = published_table()
    lines = lines[lines["source"].isin(["paper", "here"]) & (lines["label"] != END_TO_END)]
    lines = lines.assign(study=lines["study"].replace("paper", "finetune"))
    tuned = {name: part[part["fine_tuned"]] for name, part in rows.items()}
    return measure_lines(lines.reset_index(drop=True), tuned)


def explorer_rows(studies: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Rows of the sets that a reader of the explorer can switch between: circuits and reference.

    `studies` holds rows of ``few_shot`` and ``paper``, perhaps of ``photons``, ``finetune`` and
    ``multiclass``.
    """
    sets = {"paper's protocol": studies["paper"]}
    if "finetune" in studies:
        sets["paper's protocol, tuned body"] = studies["finetune"][lambda rows: rows["fine_tuned"]]
    if "photons" in studies:
        rows, apart = studies["photons"], "distinguishable twin"
        unbunched = rows["space"].eq("unbunched").fillna(False)
        sets["unbunched outputs"] = rows[unbunched | rows["n_modes"].isna()]
        distinguishable = rows[rows["kind"].eq(apart) & ~unbunched | rows["n_modes"].isna()]
        kind = distinguishable["kind"].replace(apart, "photonic")
        sets["distinguishable photons"] = distinguishable.assign(kind=kind)
    few_shot, more = studies["few_shot"], studies.get("multiclass", pd.DataFrame())
    sets["few-shot, frozen body"] = few_shot[~few_shot["fine_tuned"]]
    sets["few-shot, tuned body"] = few_shot[few_shot["fine_tuned"]]
    for words, name in (("five classes (SST-5)", "sst5"), ("six classes (TREC)", "trec")):
        if len(more):
            sets[words] = more[more["dataset"] == name]
    return {
        name: rows[rows["kind"].eq("photonic") | rows["head"].eq(REFERENCE)]
        for name, rows in sets.items()
    }


def explorer_table(sets: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A line for every circuit of every ``set``, and for the reference (``n_modes`` missing).

    ``mean``, ``difference`` to the reference, each with its 95 % interval; ``reported`` of the
    same circuit (few-shot protocol); ``seeds``, the accuracies of all seeds.
    """
    tables, reported = [], published_photons()[[*_SIZE, "reported"]]
    for name, rows in sets.items():
        table = summarise(rows)[["head", *_SIZE, "mean", "low", "high", "n_seeds"]]
        against = compare(rows, REFERENCE).rename(columns=_LIMITS)
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
    return "\n".join(
        fill(f"{word} ({len(names)}): {'; '.join(names)}", 76, subsequent_indent="    ")
        for word, names in named.items()
        if len(names)
    )


#: Part of the table -> its columns and their headings.
PARTS = {
    "accuracy": {"reported": "reported", "mean": "here", "low": "from", "high": "to",
                 "n_seeds": "seeds"},
    "difference": {"difference": "difference", "difference_low": "from", "difference_high": "to",
                   "p_corrected": "p (Holm)", "verdict": "verdict"},
    "parameters": {"reported_parameters": "reported", "n_parameters": "nominal",
                   "n_live_parameters": "live", "n_effective_parameters": "effective"},
    "origin": {"body": "body here", "note": "note"},
}  # fmt: skip


def _format(name: str, value) -> str:
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "–"
    if name == "n_seeds" or name.endswith("parameters"):
        return f"{value:,.0f}"
    if name == "p_corrected":
        return f"{value:.3f}" if value >= 0.001 else "< 0.001"
    return f"{value:+.4f}" if name.startswith("difference") else f"{value:.4f}"


def headline_part(table: pd.DataFrame, part: str = "accuracy") -> pd.DataFrame:
    """A part of the headline table that fits a page: a key of :data:`PARTS`."""
    columns = PARTS[checks.choice("part", part, PARTS)].items()
    cells = {title: [_format(name, value) for value in table[name]] for name, title in columns}
    return pd.DataFrame(cells, index=table["label"].tolist())


@dataclass(frozen=True)
class CsvLink:
    """A table as a link that downloads it, in a notebook and on a page."""

    table: pd.DataFrame
    name: str

    def __repr__(self) -> str:
        return f"{self.name}: {len(self.table)} lines"

    def _repr_html_(self) -> str:
        content = self.table.to_csv(index=False, float_format="%.6f")
        data = base64.b64encode(content.encode()).decode()
        link = f'<a download="{self.name}" href="data:text/csv;base64,{data}">{self.name}</a>'
        return f"<p>{link} ({len(self.table)} lines)</p>"


def _markdown(titles: str, lines) -> str:
    """A Markdown table; ends in a line feed."""
    rows = [titles.split(";"), ["---"] * (titles.count(";") + 1), *lines]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def _cells(table: pd.DataFrame) -> list[list]:
    """Label, reported accuracy, measured one with interval, verdict and seeds of every line."""
    cells = []
    for row in table.to_dict("records"):
        here, gap, seeds = NOT_RUN, "", ""
        if pd.notna(row["mean"]):
            here = f"{row['mean']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
            points = "" if pd.isna(row["difference"]) else f"{100 * row['difference']:+.2f}, "
            gap, seeds = points + row["verdict"], row["n_seeds"]
        cells.append([row["label"], _format("reported", row["reported"]), here, gap, seeds])
    return cells


def headline_markdown(table: pd.DataFrame) -> str:
    """The headline table for the README: every line but the five-fold ones, with its counts."""
    table = table[table["source"] != "reproduction, five-fold"]
    counts = zip(*([_format(name, one) for one in table[name]] for name in _COUNTS), strict=True)
    lines = [[*cells, " / ".join(n)] for cells, n in zip(_cells(table), counts, strict=True)]
    titles = ";reported;here: mean, 95 % interval;points to logistic regression;seeds;"
    return _markdown(titles + "parameters: nominal / live / effective", lines)


def tuned_markdown(table: pd.DataFrame, tuned: pd.DataFrame) -> str:
    """The paper's lines on a frozen and on a fine-tuned body, for the README."""
    frozen = {label: here for label, _, here, *_ in _cells(table)}
    lines = [[*cells[:2], frozen[cells[0]], *cells[2:]] for cells in _cells(tuned)]
    titles = ";reported;here, frozen body;here, fine-tuned body;"
    return _markdown(titles + "points to logistic regression there;seeds", lines)
