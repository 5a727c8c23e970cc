"""Which class is taken for which: confusion matrices of heads with their stored settings.

Result rows hold accuracies, not predictions. Here the heads of a study are fitted once more, each
seed with the setting that its row says was chosen on validation, and their test accuracies are
held against the rows.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from qllm_helpers.files import DataError
from qllm_helpers.studies.grid import Unit, load_units
from qllm_helpers.studies.run import TOLERANCE
from qllm_helpers.studies.table import load_results
from qllm_helpers.studies.unit import chosen_fits, one_thread, unit_data
from qllm_helpers.text.embeddings import load_embeddings

__all__ = ["confusion_table", "shown_heads"]

STUDY = "multiclass"
#: Heads that are shown for every corpus, beside the photonic one.
HEADS = ("LogisticRegression", "10 qubits, single")


def shown_heads(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Heads whose confusions are measured, by corpus.

    Parameters
    ----------
    rows : DataFrame
        Rows of the study.

    Returns
    -------
    dict of str to list of str
        :data:`HEADS`, and the photonic head with the best mean validation accuracy.
    """
    shown = {}
    for dataset, part in rows[rows["family"] == "photonic"].groupby("dataset", sort=False):
        best = part.groupby("head")["validation_accuracy"].mean().idxmax()
        shown[dataset] = [HEADS[0], best, *HEADS[1:]]
    return shown


def confusion_table(rows: pd.DataFrame | None = None, *, progress: bool = False) -> pd.DataFrame:
    """Mean confusion matrix of every shown head.

    Parameters
    ----------
    rows : DataFrame or None
        Rows of the study ``multiclass``; None for the shipped ones.
    progress : bool
        Show a progress bar.

    Returns
    -------
    DataFrame
        ``dataset``, ``head``, ``true`` and ``predicted`` (names of classes), ``share`` (of the
        test sentences of the true class, fraction, mean over seeds), ``std`` (over seeds) and
        ``n_seeds``.

    Raises
    ------
    DataError
        If a head does not come out as its row says.
    """
    from tqdm.auto import tqdm

    rows = load_results(STUDY) if rows is None else rows
    wanted = {(data, head) for data, heads in shown_heads(rows).items() for head in heads}
    units = [unit for unit in load_units(STUDY) if (unit.dataset, unit.head) in wanted]
    bar = tqdm(units, desc="confusions", disable=not progress)
    return pd.concat([_of_unit(unit, rows) for unit in bar], ignore_index=True)


def _of_unit(unit: Unit, rows: pd.DataFrame) -> pd.DataFrame:
    """Confusions of one head on one corpus."""
    mine = rows[(rows["head"] == unit.head) & (rows["dataset"] == unit.dataset)]
    names = load_embeddings(unit.dataset, unit.encoder).label_names
    shares = []
    # seeds that chose the same setting are fitted side by side
    for setting, part in mine.groupby("hyperparameters"):
        seeds = tuple(int(seed) for seed in part["seed"])
        some = replace(unit, settings=(json.loads(setting),), seeds=seeds)
        shares += _shares(some, part["test_accuracy"].tolist(), len(names))
    mean, spread = np.mean(shares, axis=0), np.std(shares, axis=0, ddof=1)
    place = pd.MultiIndex.from_product([names, names], names=["true", "predicted"])
    table = pd.DataFrame({"share": mean.ravel(), "std": spread.ravel()}, index=place).reset_index()
    table.insert(0, "head", unit.head)
    table.insert(0, "dataset", unit.dataset)
    return table.assign(n_seeds=len(shares))


def _shares(unit: Unit, accuracies: list[float], n_classes: int) -> list[np.ndarray]:
    """Confusion matrix of every seed, each row adding up to one."""
    with one_thread():
        data = unit_data(unit)
        fits = chosen_fits(unit, data)
    matrices = []
    for replica, (candidate, split) in enumerate(zip(fits, data.splits, strict=True)):
        y = data.y[split.test]
        predicted = candidate.fit.predict(data.features(replica, split.test))
        if abs(np.mean(predicted == y) - accuracies[replica]) > TOLERANCE:
            raise DataError(
                f"{unit.head} with seed {unit.seeds[replica]} on {unit.dataset} comes out at "
                f"{np.mean(predicted == y):.4f}, its row says {accuracies[replica]:.4f}. Run: "
                f"qllm study {unit.study}"
            )
        labels = range(n_classes)
        matrices.append(confusion_matrix(y, predicted, labels=labels, normalize="true"))
    return matrices
