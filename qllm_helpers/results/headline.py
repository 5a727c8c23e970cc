"""The published tables with what this book measured beside every line.

Which of our heads can stand beside a published line is data (``published.csv``). Where several can,
one is chosen seed by seed on validation accuracy, never on a test accuracy.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from textwrap import fill

import pandas as pd

from qllm_helpers.results.contrasts import VERDICTS, compare
from qllm_helpers.results.intervals import summarise
from qllm_helpers.results.published import published_photons, published_table
from qllm_helpers.results.selection import select_best
from qllm_helpers.studies.table import load_results

#: Every difference is taken to this head, on the same protocol, body and seeds.
REFERENCE = "LogisticRegression"
END_TO_END = "end to end, upper bound (paper)"
_COUNTS = ["n_parameters", "n_live_parameters", "n_effective_parameters"]
_MEASURED = ["mean", "low", "high", "std", "n_seeds", *_COUNTS]
_TESTED = ["difference", "difference_low", "difference_high", "p_corrected", "verdict"]


def matching(rows: pd.DataFrame, patterns: str) -> pd.DataFrame:
    """Rows of the heads that match one of some shell patterns, separated by ";"."""
    known = rows["head"].drop_duplicates()
    heads = [h for h in known if any(fnmatchcase(h, one) for one in patterns.split(";"))]
    if not heads:
        raise ValueError(f"no head matches {patterns!r}: run `qllm study`; heads: {list(known)}")
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
    """Lines of the published tables with what was measured beside each.

    `rows` maps a study to its rows on one body; lines of another study say "not run". Adds
    ``body``, ``note``; ``mean``, ``low``, ``high`` (test accuracy, 95 % over seeds), ``std``,
    ``n_seeds``, three parameter counts; the paired ``difference`` to logistic regression with its
    95 % interval, ``p_corrected`` (Holm over the table) and ``verdict``.
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
    tests = tests.rename(columns={"low": "difference_low", "high": "difference_high"})[_TESTED]
    every = pd.concat(chosen.values())
    measured = summarise(every).set_index("head")[_MEASURED]
    told = every.drop_duplicates("head").set_index("head")[["body", "note"]]
    table = lines.join(told.join(measured).join(tests), on="label")
    table["verdict"] = table["verdict"].fillna(
        table["mean"].isna().map({True: "not run", False: "reference"})
    )
    return table.astype({"n_seeds": "Int64"})


def headline_table(
    studies: Mapping[str, pd.DataFrame] | None = None, *, fine_tuned: bool = True
) -> pd.DataFrame:
    """Every published line beside what was measured here, as :func:`measure_lines` gives it.

    `studies` replaces shipped rows of ``few_shot``, ``paper``, ``qubits``, ``end_to_end``.
    `fine_tuned` is the body of the few-shot rows: contrastively tuned as in the earlier
    reproduction, or frozen. The rows of the paper's protocol have a frozen body.
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

    The paper leaves open whether its body was fine-tuned. Parameters as in :func:`headline_table`
    (studies ``finetune`` and ``qubits``); differences are to logistic regression on tuned bodies.
    """
    rows = {name: load_results(name) for name in ("finetune", "qubits")} | dict(studies or {})
    lines = published_table()
    lines = lines[lines["source"].isin(["paper", "here"]) & (lines["label"] != END_TO_END)]
    lines = lines.assign(study=lines["study"].replace("paper", "finetune"))
    tuned = {name: part[part["fine_tuned"]] for name, part in rows.items()}
    return measure_lines(lines.reset_index(drop=True), tuned)


def photon_table(few_shot: pd.DataFrame) -> pd.DataFrame:
    """The reproduction's figures per number of photons beside ours.

    `few_shot` holds rows of one body. The columns of `published_photons`, ``label``, those of
    `summarise`, and ``reached``: the share of our seeds at least as good as the reported accuracy.
    """
    size = ["n_modes", "n_photons"]
    rows = few_shot[few_shot["kind"] == "photonic"].merge(published_photons(), on=size)
    ours = summarise(rows, by=[*size, "head"]).rename(columns={"head": "label"})
    reached = (rows["test_accuracy"] >= rows["reported"]).groupby([rows[s] for s in size]).mean()
    table = published_photons().merge(ours, on=size).join(reached.rename("reached"), on=size)
    return table.assign(reached=table["reached"].where(table["reported"].notna()))


def verdict_groups(table: pd.DataFrame) -> str:
    """Sentences that say what the table shows: a paragraph for each verdict, with its lines."""
    named = {word: table.loc[table["verdict"] == word, "label"] for word in (*VERDICTS, "not run")}
    lines = [
        f"{word} ({len(names)}): {'; '.join(names)}" for word, names in named.items() if len(names)
    ]
    return "\n".join(fill(line, 76, subsequent_indent="    ") for line in lines)


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
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, not {part!r}")
    columns = PARTS[part].items()
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


def markdown(titles, lines) -> str:
    """A Markdown table; ends in a line feed."""
    rows = [titles, ["---"] * len(titles), *lines]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def _cells(row: dict) -> list[str]:
    """Reported, measured with interval, and verdict of a line."""
    if pd.isna(row["mean"]):
        return [row["label"], _format("reported", row["reported"]), "not run", "", ""]
    here = f"{row['mean']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
    gap = f"{100 * row['difference']:+.2f}, {row['verdict']}"
    gap = row["verdict"] if row["verdict"] == "reference" else gap
    return [row["label"], _format("reported", row["reported"]), here, gap, row["n_seeds"]]


def headline_markdown(table: pd.DataFrame) -> str:
    """The headline table for the README: every line but the five-fold ones, with its counts."""
    table = table[table["source"] != "reproduction, five-fold"]
    titles = ["", "reported", "here: mean, 95 % interval", "points to logistic regression"]
    titles += ["seeds", "parameters: nominal / live / effective"]
    lines = [
        _cells(row) + [" / ".join(_format(name, row[name]) for name in _COUNTS)]
        for row in table.to_dict("records")
    ]
    return markdown(titles, lines)


def tuned_markdown(table: pd.DataFrame, tuned: pd.DataFrame) -> str:
    """The paper's lines on a frozen and on a fine-tuned body, for the README."""
    frozen = {row["label"]: _cells(row)[2] for row in table.to_dict("records")}
    titles = ["", "reported", "here, frozen body", "here, fine-tuned body"]
    titles += ["points to logistic regression there", "seeds"]
    cells = [_cells(row) for row in tuned.to_dict("records")]
    return markdown(titles, [[*c[:2], frozen[c[0]], *c[2:]] for c in cells])
