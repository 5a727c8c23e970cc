"""Figures of sweeps draw every circuit once, repeat, and refuse what they do not know."""

import pandas as pd
import pytest

from qllm_helpers.figures import sweeps as figures
from qllm_helpers.figures.style import save
from qllm_helpers.results.published import published_photons
from qllm_helpers.results.sweeps import KINDS


@pytest.fixture
def beside():
    spread = {"mean": 0.7, "low": 0.68, "high": 0.72, "least": 0.6, "most": 0.8}
    return published_photons().assign(**spread)


@pytest.fixture
def lines():
    return pd.DataFrame(
        {"n_modes": m, "n_photons": n, "kind": kind, "mean": 0.7, "low": 0.69, "high": 0.71}
        for m in (6, 8)
        for n in (1, 2, 3)
        for kind in KINDS.values()
    )


def test_every_figure_repeats_byte_for_byte(beside, lines, tmp_path):
    band = ("LogisticRegression", lines.iloc[:1])
    for attempt in ("first", "second"):
        drawn = {
            "beside": figures.published_beside_ours({"frozen body": beside, "tuned body": beside}),
            "lines": figures.lines_by_photons(lines, "accuracy", reference=band),
            "log": figures.lines_by_photons(lines.drop(columns=["low", "high"]), "x", log=True),
        }
        for name, figure in drawn.items():
            save(figure, tmp_path / f"{attempt}-{name}.svg")
    for first in tmp_path.glob("first-*.svg"):
        second = first.with_name(first.name.replace("first", "second"))
        assert first.read_bytes() == second.read_bytes(), first.name


def test_every_circuit_has_a_line_and_every_kind_a_legend(beside, lines):
    axes = figures.published_beside_ours({"tuned body": beside}).axes[0]
    assert len(axes.get_yticks()) == 10
    figure = figures.lines_by_photons(lines, "accuracy")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["6 modes", "8 modes"]
    shown = figure.axes[0].get_legend_handles_labels()[1]
    assert sorted(shown) == sorted(KINDS.values())


def test_unknown_names_are_refused(beside, lines):
    with pytest.raises(ValueError, match="unknown state"):
        figures.published_beside_ours({"thawed body": beside})
    with pytest.raises(ValueError, match="unknown kind"):
        figures.lines_by_photons(lines.assign(kind="coins"), "accuracy")
