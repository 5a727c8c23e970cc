"""Which class is taken for which, from the predictions of a study's heads."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from qllm_helpers.files import DataError
from qllm_helpers.studies.data import split_of
from qllm_helpers.studies.grid import Unit
from qllm_helpers.studies.predictions import from_text
from qllm_helpers.studies.run import TOLERANCE, load_units, run_study
from qllm_helpers.studies.table import load_predictions, load_results, predictions_file
from qllm_helpers.text.embeddings import load_embeddings

STUDY = "multiclass"
#: Heads that are shown for every corpus, beside the photonic one.
HEADS = ("LogisticRegression", "10 qubits, single")
_FIT = ["dataset", "head", "seed"]


def shown_heads(rows: pd.DataFrame) -> dict[str, list[str]]:
    """By corpus, :data:`HEADS` and the photonic head with the best mean validation accuracy."""
    shown = {}
    for dataset, part in rows[rows["family"] == "photonic"].groupby("dataset", sort=False):
        best = part.groupby("head")["validation_accuracy"].mean().idxmax()
        shown[dataset] = [HEADS[0], best, *HEADS[1:]]
    return shown


def confusion_table(
    rows: pd.DataFrame | None = None, *, n_jobs: int | None = None, progress: bool = False
) -> pd.DataFrame:
    """Confusions ``true``, ``predicted``, ``share`` (fraction, mean over seeds), ``std`` by head.

    Without shipped predictions heads are run with the settings of the `rows` (None: shipped).
    """
    rows = load_results(STUDY) if rows is None else rows
    wanted = {(data, head) for data, heads in shown_heads(rows).items() for head in heads}
    if predictions_file(STUDY).is_file():
        fits = load_results(STUDY)[_FIT].assign(classes=load_predictions(STUDY))
    else:
        units = [unit for unit in load_units(STUDY) if (unit.dataset, unit.head) in wanted]
        units = [one for unit in units for one in _with_settings_of(unit, rows)]
        fits = pd.DataFrame(run_study(units, n_jobs=n_jobs, progress=progress))
        fits["classes"] = fits.apply(lambda row: from_text(row["predictions"], row["n_test"]), 1)
    rows = rows.merge(fits[[*_FIT, "classes"]], on=_FIT)
    groups = rows.groupby(_FIT[:2], sort=False)
    tables = [_of_head(*place, part) for place, part in groups if place in wanted]
    return pd.concat(tables, ignore_index=True)


def _with_settings_of(unit: Unit, rows: pd.DataFrame) -> list[Unit]:
    """A unit's fits with the settings of its rows: another processor may choose others."""
    mine = rows[(rows["head"] == unit.head) & (rows["dataset"] == unit.dataset)]
    return [
        replace(unit, settings=(json.loads(setting),), seeds=tuple(map(int, part["seed"])))
        for setting, part in mine.groupby("hyperparameters")
    ]


def _of_head(dataset: str, head: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Confusions of one head on one corpus, each line of a matrix adding up to one."""
    data = load_embeddings(dataset, rows["encoder"].iloc[0])
    names, shares = data.label_names, []
    for _, row in rows.iterrows():
        y, predicted = data.y[split_of(row).test], row["classes"]
        accuracy = np.mean(predicted == y)
        if abs(accuracy - row["test_accuracy"]) > TOLERANCE:
            raise DataError(
                f"{head} with seed {row['seed']} on {dataset} comes out at {accuracy:.4f}, its row "
                f"says {row['test_accuracy']:.4f}. Run: qllm study {STUDY}"
            )
        labels = range(len(names))
        shares.append(confusion_matrix(y, predicted, labels=labels, normalize="true"))
    mean, spread = np.mean(shares, axis=0), np.std(shares, axis=0, ddof=1)
    place = pd.MultiIndex.from_product(
        [[dataset], [head], names, names], names=["dataset", "head", "true", "predicted"]
    )
    table = pd.DataFrame({"share": mean.ravel(), "std": spread.ravel()}, index=place)
    return table.reset_index().assign(n_seeds=len(shares))
