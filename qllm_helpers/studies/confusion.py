"""Which class is taken for which, from the predictions of the study ``multiclass``."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from qllm_helpers.files import DataError
from qllm_helpers.studies.data import split_of
from qllm_helpers.studies.grid import TOLERANCE
from qllm_helpers.studies.table import load_predictions, load_results
from qllm_helpers.text.corpora import load_embeddings

#: Heads that are shown for every corpus, beside the photonic one.
HEADS = ("LogisticRegression", "10 qubits, single")


def shown_heads(rows: pd.DataFrame) -> dict[str, list[str]]:
    """By corpus, :data:`HEADS` and the photonic head with the best mean validation accuracy."""
    photonic = rows[rows["family"] == "photonic"]
    means = photonic.groupby(["dataset", "head"], sort=False)["validation_accuracy"].mean()
    best = means.groupby("dataset", sort=False).idxmax()
    return {dataset: [HEADS[0], head, *HEADS[1:]] for dataset, head in best}


def confusion_table() -> pd.DataFrame:
    """Confusions ``true``, ``predicted``, ``share`` (mean over seeds), ``std`` of shown heads."""
    rows = load_results("multiclass").assign(classes=load_predictions("multiclass"))
    shown = shown_heads(rows)
    groups = rows.groupby(["dataset", "head"], sort=False)
    tables = [_of_head(*place, part) for place, part in groups if place[1] in shown[place[0]]]
    return pd.concat(tables, ignore_index=True)


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
                f"says {row['test_accuracy']:.4f}. Run: qllm study multiclass"
            )
        labels = range(len(names))
        shares.append(confusion_matrix(y, predicted, labels=labels, normalize="true"))
    mean, spread = np.mean(shares, axis=0), np.std(shares, axis=0, ddof=1)
    place = pd.MultiIndex.from_product(
        [[dataset], [head], names, names], names=["dataset", "head", "true", "predicted"]
    )
    table = pd.DataFrame({"share": mean.ravel(), "std": spread.ravel()}, index=place)
    return table.reset_index().assign(n_seeds=len(shares))
