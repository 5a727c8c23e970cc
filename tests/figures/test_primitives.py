"""Figures draw what the table says, repeat byte for byte and read on any page."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from qllm_helpers import figures
from qllm_helpers.figures import lines, save
from qllm_helpers.results.contrasts import compare
from qllm_helpers.results.intervals import summarise
from qllm_helpers.results.selection import selection_effect

PAGES = {"light": "#ffffff", "dark": "#14181e"}


@pytest.fixture
def rows():
    draw = np.random.default_rng(0)
    heads = [("LogisticRegression", "linear", None, None), ("MLP", "mlp", None, None)]
    heads += [(f"{m}m{k}p", "photonic", m, k) for m in (2, 4, 6) for k in range(1, m // 2 + 1)]
    table = [
        {
            "head": head,
            "family": family,
            "n_modes": modes,
            "n_photons": photons,
            "twin": None,
            "seed": seed,
            "test_accuracy": draw.normal(0.76, 0.01),
            "n_parameters": 385 * (modes or 1),
            "n_live_parameters": 300 * (modes or 1),
            "n_effective_parameters": 200 * (modes or 1),
        }
        for head, family, modes, photons in heads
        for seed in range(5)
    ]
    return pd.DataFrame(table)


def draw_all(rows):
    noise = selection_effect(n_candidates=9, n_test=622, accuracy=0.78, n_draws=1000)
    photonic = rows[rows["n_modes"].notna()]
    sweep = summarise(photonic, by=["n_photons", "n_modes"]).drop(columns="family")
    means = summarise(rows)
    reported = means.assign(reported=[0.77, *[np.nan] * (len(means) - 1)])
    return {
        "lines": figures.lines(sweep, "n_modes", by="n_photons", reference=means[:1]),
        "panels": figures.lines(
            compare(rows.assign(size=4), within="size"), "size", y="difference", panel="head",
            log="x", margin=0.01, marks={"here": 4},
        ),
        "parameters": figures.accuracy_by_parameters(rows),
        "forest": figures.difference_forest(compare(rows), margin=0.01),
        "strip": figures.seed_strip(rows, lines=True),
        "beside": figures.beside({"here": reported, "again": means}, reference="MLP"),
        "joined": figures.beside({"one": means, "two": means}, joined=True),
        "noise": figures.selection_effect_histogram(noise, observed={"reported": 0.05}),
    }  # fmt: skip


def luminance(color):
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", PAGES)
def test_colours_have_contrast_on_both_pages(page):
    for name, style in figures.FAMILY_STYLE.items():
        assert contrast(style.color, PAGES[page]) >= 3.5, name
    assert contrast(figures.INK, PAGES[page]) >= 4.2


def test_families_differ_in_colour_and_in_marker():
    styles = figures.FAMILY_STYLE.values()
    assert len({style.color for style in styles}) == len(styles)
    assert len({style.marker for style in styles}) == len(styles)


def test_every_figure_repeats_byte_for_byte(rows, tmp_path):
    for attempt in ("first", "second"):
        for name, figure in draw_all(rows).items():
            figures.save(figure, tmp_path / f"{attempt}-{name}.svg")
    for first in tmp_path.glob("first-*.svg"):
        second = first.with_name(first.name.replace("first", "second"))
        assert first.read_bytes() == second.read_bytes(), first.name
        assert b"<dc:date>" not in first.read_bytes()


def test_every_figure_fits_a_phone_and_names_its_axes(rows):
    for name, figure in draw_all(rows).items():
        assert figure.get_figwidth() <= 6.4, name
        assert figure.axes[-1].get_xlabel(), name
        sizes = [text.get_fontsize() for axes in figure.axes for text in axes.get_xticklabels()]
        assert min(sizes) >= 10, name


def test_accuracies_say_that_they_are_fractions(rows):
    drawn = draw_all(rows)
    assert drawn["lines"].axes[0].get_ylabel() == "test accuracy (fraction)"
    for name in ("forest", "strip", "beside"):
        assert "(fraction)" in drawn[name].axes[0].get_xlabel()


def test_no_text_is_black_even_without_the_style(rows):
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        drawn = draw_all(rows)
    for name, figure in drawn.items():
        texts = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_text())
        assert {to_hex(text.get_color()) for text in texts} == {figures.INK}, name


def test_forest_draws_the_differences_of_the_table(rows):
    table = compare(rows)
    axes = figures.difference_forest(table).axes[0]
    drawn = [line.get_xdata()[0] for line in axes.containers for line in line.lines[:1]]
    assert drawn == pytest.approx(table["difference"].tolist())


def test_lines_draw_the_table_and_hollow_marks_found_nothing(rows):
    table = compare(rows.assign(size=4), within="size").assign(verdict="inconclusive")
    table.loc[0, "verdict"] = "better"
    axes = figures.lines(table, "size", y="difference", margin=0.01).axes[0]
    drawn = [bar.lines[0].get_ydata()[0] for bar in axes.containers]
    assert drawn == pytest.approx(table["difference"].tolist())
    markers = [style.marker for style in figures.FAMILY_STYLE.values()]
    dots = [line for line in axes.lines if line.get_marker() in markers and len(line.get_xdata())]
    filled = [dot for dot in dots if dot.get_markerfacecolor() != "none"]
    assert [line.get_ydata()[0] for line in filled] == [table.loc[0, "difference"]]


def test_panels_share_their_range_unless_told_otherwise():
    table = pd.DataFrame({"head": ["a", "b"] * 2, "size": [4, 4, 8, 8], "mean": [0.1, 0.8] * 2})
    for shared, n_ranges in ((True, 1), (False, 2)):
        drawn = figures.lines(table, "size", panel="head", sharey=shared)
        assert len({axes.get_ylim() for axes in drawn.axes}) == n_ranges


def test_bad_tables_are_refused(rows):
    with pytest.raises(ValueError, match="no rows"):
        figures.lines(rows[:0], "n_modes")
    with pytest.raises(ValueError, match="no row of the reference"):
        figures.beside({"here": summarise(rows)}, reference="lost")
    with pytest.raises(ValueError, match="unknown head family 'magic'"):
        figures.seed_strip(rows.assign(family="magic"))


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
