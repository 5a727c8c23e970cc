"""More than two classes: tables of known answer, and confusions that fit the stored rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qllm_helpers.figures import classes as figures_classes
from qllm_helpers.files import DataError
from qllm_helpers.results.classes import (
    REFERENCE,
    corpus_table,
    size_table,
    smallest_sizes,
)
from qllm_helpers.studies import confusion, unit
from qllm_helpers.studies.confusion import confusion_table, shown_heads
from qllm_helpers.studies.grid import load_units
from qllm_helpers.studies.measurements import load_measurements
from qllm_helpers.studies.predictions import split_of
from qllm_helpers.studies.run import load_results
from qllm_helpers.text.embeddings import load_embeddings


def fits(head, accuracy, dataset="trec", *, family="photonic", modes=None, photons=None, twin=None):
    draw = np.random.default_rng(0)
    luck = draw.normal(0, 0.01, 10)  # the same for all heads: the splits are shared
    return pd.DataFrame(
        {
            "head": head,
            "dataset": dataset,
            "seed": range(10),
            "family": family,
            "n_modes": modes,
            "n_photons": photons,
            "twin": twin,
            "readout": None,
            "configuration": "{}",
            "estimator": "PhotonicClassifier",
            "test_accuracy": accuracy + luck + np.random.default_rng(len(head)).normal(0, 1e-4, 10),
            "macro_f1": accuracy - 0.1,
            "validation_accuracy": accuracy,
        }
    ).astype({"n_modes": "Int64", "n_photons": "Int64"})


@pytest.fixture
def rows():
    gap = {2: -0.2, 4: -0.05, 6: -0.001, 8: 0.002}
    photonic = [fits(f"{m} modes, 1 photon", 0.8 + g, modes=m, photons=1) for m, g in gap.items()]
    rank = [
        fits(f"rank {m}", 0.8 + (-0.3 if m == 6 else 0), modes=m, family="twin", twin="identity")
        for m in gap
    ]
    return pd.concat([fits(REFERENCE, 0.8, family="linear"), *photonic, *rank], ignore_index=True)


def test_corpus_table_shows_what_was_put_in(rows):
    table = corpus_table(rows)
    assert table.loc["2 modes, 1 photon", "difference"] == pytest.approx(-0.2, abs=1e-3)
    assert table.loc["2 modes, 1 photon", "p_corrected"] < 1e-6
    assert table.loc["2 modes, 1 photon", "macro_f1"] == pytest.approx(0.5)
    assert np.isnan(table.loc[REFERENCE, "difference"])
    assert table["accuracy"].is_monotonic_decreasing
    with pytest.raises(ValueError, match="rows of one corpus"):
        corpus_table(pd.concat([rows, rows.assign(dataset="sst5")]))


def test_smallest_size_is_where_every_larger_one_is_enough(rows):
    table = size_table({6: rows, 5: rows[rows["head"] != "8 modes, 1 photon"]})
    sizes = smallest_sizes(table)
    assert sizes.loc["photonic, 1 photon", 6] == 6
    assert sizes.loc["photonic, 1 photon", 5] == 6
    # rank 6 is not enough: rank 2 and 4 do not count
    assert sizes.loc["linear map", 6] == 8
    assert table.loc[table["n_modes"] == 2, "enough"].tolist() == [True, False] * 2
    few = size_table({6: rows[~rows["head"].str.startswith(("6 modes", "8 modes"))]})
    assert pd.isna(smallest_sizes(few).loc["photonic, 1 photon", 6])


def test_shown_photonic_head_is_chosen_on_validation():
    rows = load_results("multiclass")
    for dataset, heads in shown_heads(rows).items():
        mine = rows[(rows["dataset"] == dataset) & (rows["family"] == "photonic")]
        best = mine.groupby("head")["validation_accuracy"].mean()
        assert best[heads[1]] == best.max()


def test_confusions_are_those_of_the_stored_rows(monkeypatch, tmp_path):
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(confusion, "HEADS", (REFERENCE,))
    monkeypatch.setattr(confusion, "shown_heads", lambda rows: {"trec": [REFERENCE]})
    rows = load_results("multiclass")
    fresh = confusion_table(rows)
    shipped = load_measurements("confusion")
    shipped = shipped[(shipped["dataset"] == "trec") & (shipped["head"] == REFERENCE)]
    assert fresh["share"].to_numpy() == pytest.approx(shipped["share"].to_numpy(), abs=1e-3)
    assert fresh.groupby("true")["share"].sum().to_numpy() == pytest.approx(1)
    monkeypatch.setattr(unit, "_chosen_fits", None)  # predictions are kept: nothing is fitted again
    lying = rows.assign(test_accuracy=rows["test_accuracy"] + 0.05)
    with pytest.raises(DataError, match="LogisticRegression with seed .* comes out at"):
        confusion_table(lying)


def test_shipped_predictions_need_no_fit(monkeypatch):
    monkeypatch.setattr(confusion, "shown_heads", lambda rows: {"trec": [REFERENCE]})
    rows = load_results("multiclass")
    rows = rows[(rows["head"] == REFERENCE) & (rows["dataset"] == "trec")]
    y = load_embeddings("trec").y
    right = [y[split_of(row).test] for _, row in rows.iterrows()]
    monkeypatch.setattr(confusion, "predictions_file", lambda study: Path(__file__))
    monkeypatch.setattr(confusion, "load_predictions", lambda study: pd.Series(right, rows.index))
    monkeypatch.setattr(confusion, "run_study", None)
    table = confusion_table(rows.assign(test_accuracy=1.0))
    assert table["share"].equals((table["true"] == table["predicted"]).astype(float))


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


def test_figures_draw_every_field_and_line(rows):
    table = size_table({6: rows})
    figure = figures_classes.difference_by_modes(table)
    assert len(figure.axes) == 1
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "photonic, 1 photon" in names
    fields = pd.DataFrame(
        [("h", a, b, 0.75 if a == b else 0.25) for a in "xy" for b in "xy"],
        columns=["head", "true", "predicted", "share"],
    )
    drawn = figures_classes.confusion_panels(fields, {"h": "photonic"})
    assert [text.get_text() for text in drawn.axes[0].texts] == ["75", "25", "25", "75"]
