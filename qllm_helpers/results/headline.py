"""The published tables with what this book measured beside every line.

Which of our heads stands beside which published line is our choice and is written here, in
:data:`COUNTERPARTS`. Where several heads could stand there, one is chosen seed by seed on
validation accuracy, never on a test accuracy.
"""

from __future__ import annotations

from textwrap import fill

import numpy as np
import pandas as pd

from qllm_helpers.results.intervals import summarise
from qllm_helpers.results.published import published_photons, published_table
from qllm_helpers.results.selection import select_best
from qllm_helpers.results.statistics import LEVEL, MARGIN, equivalence, paired_differences

__all__ = [
    "COUNTERPARTS",
    "headline_table",
    "photon_table",
    "reported_lines",
    "verdicts",
]

#: Every difference is taken to this head, on the same protocol, body and seeds.
REFERENCE = "LogisticRegression"
#: Published line -> pattern (whole name) of the heads here that can stand for it.
COUNTERPARTS = {
    "LogisticRegression": REFERENCE,
    "SVC": "SVC",
    "MLP": "MLP",
    "2 modes": r"2 modes, \d photons?",
    "4 modes": r"4 modes, \d photons?",
    "6 modes": r"6 modes, \d photons?",
    "8 modes": r"8 modes, \d photons?",
    "SVC (paper)": "SVC .*",
    "MLP (paper)": r"NN.\d+.",
    "best classical of that size (paper)": rf"{REFERENCE}|SVC .*|NN.0.",
    "single sQE, 10 qubits (paper)": r"10 qubits, (single|[CMN] = \d+)",
    "multi sQE, 14 qubits (paper)": "14 qubits, multi, 886 parameters(, encoders of 10)?",
    "end to end, upper bound (paper)": "8 modes, 2 photons, linear, whole",
    "LogisticRegression (five-fold)": REFERENCE,
    "SVM (five-fold)": "SVC .*",
    "NN[0] (five-fold)": r"NN.0.",
    "NN[96] (five-fold)": r"NN.96.",
    "8 modes, 1 photon (five-fold)": "8 modes, 1 photon",
    "fidelity kernel (five-fold)": ".*, fidelity kernel",
    "LogisticRegression (here)": REFERENCE,
    "photonic (here)": r"\d+ modes, \d photons?",
}
_NOT_RUN = {
    "qubit": "gate-based heads: not run in this edition",
    "mlp": "training the body end to end: not run in this edition",
}
END_TO_END = "end to end, upper bound (paper)"
_HERE = (("LogisticRegression (here)", "linear"), ("photonic (here)", "photonic"))
_MEASURED = ("mean", "low", "high", "n_seeds")
_COUNTS = ("n_parameters", "n_live_parameters", "n_effective_parameters")
_CORRECTED = {"p_value": "p_corrected", "p_equivalence": "p_equivalence_corrected"}
_DIFFERENCE = ("difference", "difference_low", "difference_high", "p_value", "p_equivalence")


def _matching(rows: pd.DataFrame, label: str) -> pd.DataFrame:
    """Rows of the heads that can stand for a published line."""
    candidates = rows[rows["head"].str.fullmatch(COUNTERPARTS[label])]
    if candidates.empty:
        raise ValueError(
            f"no rows for the line {label!r}: the study has no head {COUNTERPARTS[label]!r}. "
            "Run `qllm study` with few_shot, paper, qubits and end_to_end"
        )
    return candidates


def _choose(rows: pd.DataFrame, label: str) -> pd.DataFrame:
    """One row a seed: the candidate with the best validation accuracy."""
    # ties go to the lower validation loss, as in training (heads without a loss come last)
    candidates = _matching(rows, label).sort_values("validation_loss", kind="stable")
    return select_best(candidates.assign(line=label), within="line", on="validation_accuracy")


def _differences(chosen: list[pd.DataFrame], rows: pd.DataFrame) -> pd.DataFrame:
    """Paired difference of every line to the reference, with two p-values."""
    others = [line for line in chosen if (line["head"] != REFERENCE).any()]
    both = pd.concat([*others, rows[rows["head"] == REFERENCE].assign(line="reference")])
    table = paired_differences(both, "reference", by="line")
    same = equivalence(both, "reference", by="line", margin=MARGIN)
    table = table.assign(p_equivalence=same["p_value"])
    names = {"line": "label", "low": "difference_low", "high": "difference_high"}
    return table.rename(columns=names)[["label", *_DIFFERENCE]]


def _measure(label: str, chosen: pd.DataFrame, rows: pd.DataFrame) -> dict:
    """What was measured here for one published line."""
    summary = summarise(chosen, by="line").iloc[0]
    tuned = bool(chosen["fine_tuned"].iloc[0])
    n_heads = _matching(rows, label)["head"].nunique()
    note = f"best of {n_heads} heads on validation, per seed" if n_heads > 1 else ""
    state = "trained with the head" if label == END_TO_END else "tuned" if tuned else "frozen"
    body = f"{chosen['encoder'].iloc[0]}, {state}"
    # the median of a count that some rows lack would be of other heads than the rest
    known = [name for name in _COUNTS if chosen[name].notna().all()]
    measured = {name: summary[name] for name in (*_MEASURED, *known)}
    return {"label": label, "body": body, "note": note} | measured


def _protocol(labels: list[str], rows: pd.DataFrame) -> pd.DataFrame:
    """What was measured here for the published lines of one protocol."""
    chosen = [_choose(rows, label) for label in labels]
    measured = [_measure(*line, rows) for line in zip(labels, chosen, strict=True)]
    measured = pd.DataFrame(measured).reindex(
        columns=["label", "body", "note", *_MEASURED, *_COUNTS]
    )
    return measured.merge(_differences(chosen, rows), on="label", how="left")


def reported_lines() -> pd.DataFrame:
    """The published lines, and two of this book's own that belong beside the paper's.

    Returns
    -------
    DataFrame
        :func:`qllm_helpers.results.published.published_table`; lines of source ``"here"`` have no
        reported figure.
    """
    own = [
        {"label": label, "source": "here", "family": family, "protocol": "paper"}
        for label, family in _HERE
    ]
    table = published_table()
    place = int((table["source"] != "reproduction, five-fold").sum())
    own = pd.DataFrame(own).reindex(columns=table.columns)
    own = own.astype(table.dtypes)
    return pd.concat([table[:place], own, table[place:]], ignore_index=True)


def headline_table(
    few_shot: pd.DataFrame | None = None,
    paper: pd.DataFrame | None = None,
    qubits: pd.DataFrame | None = None,
    end_to_end: pd.DataFrame | None = None,
    *,
    fine_tuned: bool = True,
) -> pd.DataFrame:
    """Every published line beside what was measured here.

    Parameters
    ----------
    few_shot, paper, qubits, end_to_end : DataFrame or None
        Rows of the four studies; None for the shipped ones. Without rows of ``qubits`` or of
        ``end_to_end`` (none shipped, or an empty table) their lines say that they were not run.
    fine_tuned : bool
        Body of the few-shot rows: contrastively tuned as in the earlier reproduction, or frozen.
        The rows of the paper's protocol have a frozen body.

    Returns
    -------
    DataFrame
        The columns of :func:`reported_lines`; ``body`` (sentence encoder here), ``mean``,
        ``low``, ``high`` (test accuracy, fraction, 95 % t interval over seeds), ``n_seeds``, the
        three parameter counts (median over seeds; missing if a chosen head has none), the
        paired ``difference`` to logistic regression with ``difference_low`` and
        ``difference_high`` (uncorrected 95 % interval),
        ``p_value`` (paired t-test), ``p_equivalence`` (two one-sided tests, margin one point),
        ``p_corrected`` and ``p_equivalence_corrected`` (each by Holm over the whole table),
        ``verdict`` and ``note`` (what was chosen, or why nothing was run).

    Raises
    ------
    ValueError
        If the rows lack a head that a line needs.
    DataError
        If another study has not been run.
    """
    from qllm_helpers.studies.run import load_results, shipped_table

    few_shot = load_results("few_shot") if few_shot is None else few_shot
    paper = load_results("paper") if paper is None else paper
    if qubits is None and shipped_table("qubits").is_file():
        qubits = load_results("qubits")
    if end_to_end is None and shipped_table("end_to_end").is_file():
        end_to_end = load_results("end_to_end")
    rows = {"few_shot": few_shot[few_shot["fine_tuned"] == fine_tuned], "paper": paper}
    if qubits is not None and len(qubits):
        rows["qubits"] = qubits[~qubits["fine_tuned"]]
    if end_to_end is not None and len(end_to_end):
        # what it is compared with has a frozen body
        reference = paper[paper["head"] == REFERENCE]
        rows["end_to_end"] = pd.concat([end_to_end, reference], ignore_index=True)
    lines = reported_lines()
    # gate-based heads have a study of their own, with its own rows of the reference
    study = lines["protocol"].mask(lines["family"] == "qubit", "qubits")
    study = study.mask(lines["label"] == END_TO_END, "end_to_end")
    known = lines[lines["label"].isin(COUNTERPARTS) & study.isin(rows)]
    measured = [
        _protocol(part["label"].tolist(), rows[name]) for name, part in known.groupby(study)
    ]
    table = lines.merge(pd.concat(measured), on="label", how="left")
    table["note"] = table["note"].fillna(table["family"].map(_NOT_RUN))
    return _corrected(table.astype({"n_seeds": "Int64"}))


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Correct both p-values over the table, and say what follows."""
    from statsmodels.stats.multitest import multipletests

    known = table["p_value"].notna()
    for name, target in _CORRECTED.items():
        table[target] = np.nan
        table.loc[known, target] = multipletests(table.loc[known, name], method="holm")[1]
    different = table["p_corrected"] < LEVEL
    verdict = np.where(table["difference"] > 0, "above", "below").astype(object)
    verdict[~different] = "not settled"
    verdict[table["p_equivalence_corrected"] < LEVEL] = "within one point"
    verdict[~known] = np.where(table["mean"].isna()[~known], "not run", "reference")
    return table.assign(verdict=verdict)


def verdicts(table: pd.DataFrame) -> str:
    """Sentences that say what the table shows.

    Parameters
    ----------
    table : DataFrame
        From :func:`headline_table`.

    Returns
    -------
    str
        A paragraph for each verdict, with the lines of the table that it is about.
    """
    wording = {
        "above": "above logistic regression",
        "below": "below logistic regression",
        "within one point": "within one point of logistic regression (equivalence test)",
        "not settled": "not settled: neither a difference nor equality is shown",
        "not run": "not run here",
    }
    named = {key: table.loc[table["verdict"] == key, "label"].tolist() for key in wording}
    sentences = [
        f"{wording[key]} ({len(labels)}): {'; '.join(labels) or 'none'}"
        for key, labels in named.items()
    ]
    return "\n".join(fill(line, 76, subsequent_indent="    ") for line in sentences)


def photon_table(few_shot: pd.DataFrame | None = None, *, fine_tuned: bool = True) -> pd.DataFrame:
    """The earlier reproduction's figures per number of photons, beside ours.

    Parameters
    ----------
    few_shot, fine_tuned
        As in :func:`headline_table`.

    Returns
    -------
    DataFrame
        The columns of :func:`qllm_helpers.results.published.published_photons`, ``label``,
        ``family``,
        ``mean``, ``low``, ``high``, ``std`` (over seeds) and ``n_seeds`` of the test accuracy.
    """
    from qllm_helpers.studies.run import load_results

    rows = load_results("few_shot") if few_shot is None else few_shot
    rows = rows[(rows["fine_tuned"] == fine_tuned) & (rows["family"] == "photonic")]
    ours = summarise(rows, by=["head", "n_modes", "n_photons"])
    columns = ["n_modes", "n_photons", "head", *_MEASURED, "std"]
    table = published_photons().merge(ours[columns], on=["n_modes", "n_photons"], how="left")
    return table.rename(columns={"head": "label"}).assign(family="photonic")
