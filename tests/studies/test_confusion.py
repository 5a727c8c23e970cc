"""Confusions of heads with more than two classes fit the stored rows."""

import numpy as np
import pandas as pd
import pytest

from qllm_helpers.files import DataError
from qllm_helpers.studies import confusion
from qllm_helpers.studies.confusion import HEADS, confusion_table, shown_heads
from qllm_helpers.studies.data import study_split
from qllm_helpers.studies.grid import load_units
from qllm_helpers.studies.table import load_measurements, load_results
from qllm_helpers.text.corpora import load_embeddings

ENCODER = "all-mpnet-base-v2"


@pytest.fixture
def made(monkeypatch):
    """Rows of three heads and their predictions: the last class is taken for the first."""
    y, rows, predictions = load_embeddings("trec", ENCODER).y, [], []
    for head, family, validation in [(HEADS[0], "linear", 0.9), ("worse", "photonic", 0.6),
                                     ("better", "photonic", 0.7)]:  # fmt: skip
        for seed in (0, 1):
            true = y[study_split("trec", ENCODER, "paper", 64, seed).test]
            predictions.append(np.where(true == y.max(), 0, true))
            accuracy = np.mean(predictions[-1] == true)
            rows.append({"head": head, "family": family, "seed": seed, "test_accuracy": accuracy,
                         "validation_accuracy": validation})  # fmt: skip
    place = {"dataset": "trec", "encoder": ENCODER, "protocol": "paper", "samples_per_class": 64}
    rows = pd.DataFrame(rows).assign(**place)
    monkeypatch.setattr(confusion, "load_results", lambda study: rows)
    found = pd.Series(predictions, dtype=object)
    monkeypatch.setattr(confusion, "load_predictions", lambda study: found)
    return rows


def test_confusions_are_those_of_the_predictions(made):
    assert shown_heads(made) == {"trec": [HEADS[0], "better", HEADS[1]]}
    table = confusion_table()
    assert table["head"].unique().tolist() == [HEADS[0], "better"]
    names = load_embeddings("trec", ENCODER).label_names
    matrix = table[table["head"] == "better"]["share"].to_numpy().reshape(6, 6)
    expected = np.eye(6)
    expected[-1] = expected[0]
    assert np.array_equal(matrix, expected)
    assert table["true"].tolist()[::6] == [*names, *names]
    assert (table["std"] == 0).all() and (table["n_seeds"] == 2).all()


def test_predictions_that_do_not_fit_their_rows_are_refused(made):
    made["test_accuracy"] += 0.05
    with pytest.raises(DataError, match="LogisticRegression with seed .* comes out at"):
        confusion_table()


def test_shipped_confusions_fit_accuracies_and_are_complete():
    table, rows = load_measurements("confusion"), load_results("multiclass")
    known = {(unit.dataset, unit.head) for unit in load_units("multiclass")}
    for dataset, heads in shown_heads(rows).items():
        mine = rows[(rows["dataset"] == dataset) & (rows["family"] == "photonic")]
        best = mine.groupby("head")["validation_accuracy"].mean()
        assert best[heads[1]] == best.max()
    for place, part in table.groupby(["dataset", "head"]):
        assert place in known
        assert len(part) == part["true"].nunique() ** 2
        mine = rows[(rows["dataset"] == place[0]) & (rows["head"] == place[1])]
        assert part["n_seeds"].unique().tolist() == [len(mine)]
        # the mean of the diagonal is the mean recall of the classes
        hits = part[part["true"] == part["predicted"]]["share"].mean()
        assert abs(hits - mine["test_accuracy"].mean()) < 0.1
