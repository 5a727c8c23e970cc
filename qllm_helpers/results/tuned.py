"""The paper's lines on a fine-tuned body, beside the headline table.

The paper leaves open whether its body was fine-tuned. The headline table takes it as frozen for
the paper's protocol; here the same lines are measured on bodies that were tuned on the training
sentences of each seed (our recipe: :data:`qllm_helpers.text.tuning.PAPER_OPTIONS`).
"""

from __future__ import annotations

import pandas as pd

from qllm_helpers.results.headline import (
    COUNTERPARTS,
    END_TO_END,
    _corrected,
    _protocol,
    reported_lines,
)

__all__ = ["tuned_lines", "with_tuned_body"]

#: Columns that :func:`with_tuned_body` adds, with the prefix ``tuned_``.
SHOWN = (
    *("mean", "low", "high", "n_seeds", "difference", "difference_low", "difference_high"),
    *("p_corrected", "verdict", "note"),
)


def tuned_lines(
    finetune: pd.DataFrame | None = None, qubits: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The paper's lines, and this book's two beside them, on a fine-tuned body.

    Parameters
    ----------
    finetune, qubits : DataFrame or None
        Rows of the two studies; None for the shipped ones. Rows on a frozen body are left out.

    Returns
    -------
    DataFrame
        The columns of :func:`qllm_helpers.results.headline.headline_table`; differences are to
        logistic
        regression on the same bodies, corrected (Holm) over this table. Fewer heads were run on
        tuned bodies than on the frozen one: ``note`` says among how many was chosen. A study
        without rows on a tuned body has no lines.

    Raises
    ------
    ValueError
        If the rows lack a head that a line needs.
    DataError
        If a study has not been run.
    """
    from qllm_helpers.studies.run import load_results

    rows = {
        "finetune": load_results("finetune") if finetune is None else finetune,
        "qubits": load_results("qubits") if qubits is None else qubits,
    }
    rows = {name: part[part["fine_tuned"]] for name, part in rows.items()}
    lines = reported_lines()
    lines = lines[lines["source"].isin(["paper", "here"]) & lines["label"].isin(COUNTERPARTS)]
    lines = lines[lines["label"] != END_TO_END]
    # gate-based heads have a study of their own, with its own rows of the reference
    study = lines["family"].eq("qubit").map({True: "qubits", False: "finetune"})
    measured = [
        _protocol(part["label"].tolist(), rows[name])
        for name, part in lines.groupby(study)
        if len(rows[name])
    ]
    table = lines.merge(pd.concat(measured), on="label")
    return _corrected(table.astype({"n_seeds": "Int64"}))


def with_tuned_body(table: pd.DataFrame, tuned: pd.DataFrame | None = None) -> pd.DataFrame:
    """The headline table with what the paper's lines give on a fine-tuned body.

    Parameters
    ----------
    table : DataFrame
        From :func:`qllm_helpers.results.headline.headline_table`.
    tuned : DataFrame or None
        From :func:`tuned_lines`; None for the shipped rows.

    Returns
    -------
    DataFrame
        With columns ``tuned_mean``, ``tuned_low``, ... (see :data:`SHOWN`); missing where a line
        was not run on a fine-tuned body, or has one already.
    """
    tuned = tuned_lines() if tuned is None else tuned
    columns = tuned.set_index("label")[list(SHOWN)].add_prefix("tuned_")
    return table.join(columns, on="label")
