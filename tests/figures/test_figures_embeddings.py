"""The learning curve draws the table that it is given."""

import pandas as pd
import pytest
from qllm_helpers.figures.embeddings import learning_curve

from qllm_helpers.figures.style import save


@pytest.fixture
def table():
    rows = [
        (name, size, mean, mean - 0.05, mean + 0.03)
        for name, means in {"training": (1.0, 0.9), "test": (0.6, 0.8)}.items()
        for size, mean in zip((8, 1024), means, strict=True)
    ]
    return pd.DataFrame(rows, columns=["scored on", "per label", "mean", "low", "high"])


def test_points_and_intervals_are_those_of_the_table(table):
    axes = learning_curve(table).axes[0]
    first, second = axes.containers
    assert first.lines[0].get_ydata().tolist() == [1.0, 0.9]
    assert second.lines[0].get_xdata().tolist() == [8, 1024]
    low, high = second.lines[2][0].get_segments()[1][:, 1]
    assert (low, high) == pytest.approx((0.75, 0.83))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "1,024"]
    assert axes.get_ylabel() == "accuracy (fraction)"
    assert axes.get_xlabel()


def test_it_repeats_byte_for_byte(table, tmp_path):
    for name in ("one.svg", "two.svg"):
        save(learning_curve(table), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_missing_column_is_named(table):
    with pytest.raises(ValueError, match="no column 'high'"):
        learning_curve(table.drop(columns="high"))
