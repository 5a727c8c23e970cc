"""Confusions of heads with more than two classes fit the stored rows."""

import pytest

from qllm_helpers.files import DataError
from qllm_helpers.studies import confusion
from qllm_helpers.studies.confusion import confusion_table, shown_heads
from qllm_helpers.studies.grid import load_units
from qllm_helpers.studies.table import load_measurements, load_results

REFERENCE = "LogisticRegression"


def test_shown_photonic_head_is_chosen_on_validation():
    rows = load_results("multiclass")
    for dataset, heads in shown_heads(rows).items():
        mine = rows[(rows["dataset"] == dataset) & (rows["family"] == "photonic")]
        best = mine.groupby("head")["validation_accuracy"].mean()
        assert best[heads[1]] == best.max()


def test_confusions_are_those_of_the_stored_rows(monkeypatch):
    monkeypatch.setattr(confusion, "HEADS", (REFERENCE,))
    monkeypatch.setattr(confusion, "shown_heads", lambda rows: {"trec": [REFERENCE]})
    rows = load_results("multiclass")
    fresh = confusion_table(rows)
    shipped = load_measurements("confusion")
    shipped = shipped[(shipped["dataset"] == "trec") & (shipped["head"] == REFERENCE)]
    assert fresh["share"].to_numpy() == pytest.approx(shipped["share"].to_numpy(), abs=1e-3)
    assert fresh.groupby("true")["share"].sum().to_numpy() == pytest.approx(1)
    lying = rows.assign(test_accuracy=rows["test_accuracy"] + 0.05)
    with pytest.raises(DataError, match="LogisticRegression with seed .* comes out at"):
        confusion_table(lying)


def test_shipped_confusions_fit_accuracies_and_are_complete():
    table, rows = load_measurements("confusion"), load_results("multiclass")
    known = {(unit.dataset, unit.head) for unit in load_units("multiclass")}
    for place, part in table.groupby(["dataset", "head"]):
        assert place in known
        assert len(part) == part["true"].nunique() ** 2
        mine = rows[(rows["dataset"] == place[0]) & (rows["head"] == place[1])]
        assert part["n_seeds"].unique().tolist() == [len(mine)]
        # the mean of the diagonal is the mean recall of the classes
        hits = part[part["true"] == part["predicted"]]["share"].mean()
        assert abs(hits - mine["test_accuracy"].mean()) < 0.1
