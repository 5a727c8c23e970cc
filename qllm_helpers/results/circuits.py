"""Which heads of the study ``qubits`` are compared with which, question by question."""

from __future__ import annotations

import pandas as pd

from qllm_helpers.results.contrasts import paired_table

__all__ = [
    "EQUAL_SIZE",
    "MAIN",
    "QUESTIONS",
    "REFERENCE",
    "beside_photonic",
    "question_table",
    "short_names",
]

REFERENCE = "LogisticRegression"
_BASE, _MULTI, _PAPER = "10 qubits, single", "10 qubits, multi", "14 qubits, multi, 886 parameters"
_PAPER_10 = f"{_PAPER}, encoders of 10"
#: Heads that stand for the paper's two lines, and the references beside them.
MAIN = (_BASE, _MULTI, _PAPER, _PAPER_10, "quadratic forms, rank 10")


def _against(reference: str, *endings: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"10 qubits, {ending}", reference) for ending in endings)


#: Question -> pairs of head and reference.
QUESTIONS = {
    "logistic regression": tuple((head, REFERENCE) for head in MAIN),
    "parts": _against(
        _BASE, "without module 2", "without module 1, linear map", "without module 1, first values"
    ),
    "sizes": _against(
        _BASE, *(f"C = {c}" for c in (1, 5, 9)), *(f"M = {m}" for m in (1, 2, 8)),
        *(f"N = {n}" for n in (0, 1, 4)),
    ),
    "readings": (
        *_against(
            _BASE, "open boundary", "embedding repeated", "shared re-uploading", "latent times pi",
            "small start",
        ),
        *_against(_MULTI, "multi, mean"),
        (_PAPER_10, _PAPER),
    ),
    "twins": (
        *((_BASE, f"{_BASE}, {twin}") for twin in ("frozen", "quadratic")),
        *((_MULTI, f"{_MULTI}, {twin}") for twin in ("frozen", "quadratic")),
        (_PAPER, f"{_PAPER}, quadratic"),
    ),
}  # fmt: skip
#: Gate-based head and the photonic head of the study ``paper`` nearest to it in nominal size.
EQUAL_SIZE = (
    (_PAPER, "2 modes, 1 photon"),
    (_PAPER_10, "2 modes, 1 photon"),
    ("10 qubits, without module 1, linear map", "10 modes, 1 photon"),
)


def question_table(rows: pd.DataFrame, question: str) -> pd.DataFrame:
    """Paired differences that answer a question, corrected for their number.

    Parameters
    ----------
    rows : DataFrame
        Rows of the study ``qubits``.
    question : str
        Key of :data:`QUESTIONS`.

    Returns
    -------
    DataFrame
        As :func:`qllm_helpers.results.contrasts.paired_table`, with ``family``.

    Raises
    ------
    ValueError
        If the question is unknown, or a head has no rows.
    """
    if question not in QUESTIONS:
        raise ValueError(f"unknown question {question!r}; known: {', '.join(QUESTIONS)}")
    table = paired_table(rows, QUESTIONS[question])
    families = rows.drop_duplicates("head").set_index("head")["family"]
    return table.assign(family=table["head"].map(families))


def beside_photonic(rows: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Gate-based minus photonic heads of about the same size, on the same splits and seeds.

    Parameters
    ----------
    rows, paper : DataFrame
        Rows of the studies ``qubits`` and ``paper``.

    Returns
    -------
    DataFrame
        As :func:`qllm_helpers.results.contrasts.paired_table` for :data:`EQUAL_SIZE`, with
        ``n_parameters`` and ``n_parameters_reference`` (nominal).

    Raises
    ------
    ValueError
        If a head has no rows.
    """
    heads = {head for pair in EQUAL_SIZE for head in pair}
    both = pd.concat([part[part["head"].isin(heads)] for part in (rows, paper)])
    table = paired_table(both, EQUAL_SIZE)
    sizes = both.drop_duplicates("head").set_index("head")["n_parameters"]
    return table.assign(
        n_parameters=table["head"].map(sizes), n_parameters_reference=table["reference"].map(sizes)
    )


def short_names(table: pd.DataFrame, prefix: str = "") -> pd.DataFrame:
    """The table with names short enough for an axis.

    Parameters
    ----------
    table : DataFrame
        From :func:`question_table`.
    prefix : str
        Start of names that is dropped.

    Returns
    -------
    DataFrame
        With another column ``head``.
    """
    names = table["head"].str.removeprefix(prefix)
    names = names.str.replace("multi, 886 parameters, encoders", "encoders")
    return table.assign(head=names.str.replace(", 886 parameters", ""))
