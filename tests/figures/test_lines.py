"""Lines draw the points and intervals of the table that they are given."""

import numpy as np
import pandas as pd
import pytest

from qllm_helpers.figures import lines, save


@pytest.fixture
def table():
    rows = [
        (name, size, mean, mean - 0.05, mean + 0.03)
        for name, means in {"training": (1.0, 0.9), "test": (0.6, 0.8)}.items()
        for size, mean in zip((8, 1024), means, strict=True)
    ]
    return pd.DataFrame(rows, columns=["scored on", "per label", "mean", "low", "high"])


def test_points_and_intervals_are_those_of_the_table(table):
    guessing = pd.DataFrame([{"head": "guessing", "mean": 0.5, "low": np.nan, "high": np.nan}])
    axes = lines(table, "per label", by="scored on", log="x", reference=guessing).axes[0]
    first, second = axes.containers
    assert first.lines[0].get_ydata().tolist() == [1.0, 0.9]
    # side by side, by a few per cent of the size
    assert second.lines[0].get_xdata() == pytest.approx([8, 1024], rel=0.03)
    low, high = second.lines[2][0].get_segments()[1][:, 1]
    assert (low, high) == pytest.approx((0.75, 0.83))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "1,024"]
    assert axes.get_legend_handles_labels()[1] == ["training", "test", "guessing"]


def test_a_panel_for_every_value_and_the_colours_that_were_asked_for(table, tmp_path):
    both = pd.concat([table.assign(modes="6 modes"), table.assign(modes="8 modes")])
    options = {"by": "scored on", "panel": "modes", "log": "xy"}
    families = {"training": "photonic", "test": "twin"}
    for name in ("one.svg", "two.svg"):
        figure = lines(both, "per label", families=families, **options)
        save(figure, tmp_path / name)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["6 modes", "8 modes"]
    colors = [bar.lines[0].get_color() for bar in figure.axes[1].containers]
    assert len(set(colors)) == 2
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
