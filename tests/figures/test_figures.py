"""Figures draw what the table says, repeat byte for byte and read on any page."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from qllm_helpers.results.statistics import paired_differences, selection_effect

from qllm_helpers import figures

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


@pytest.fixture
def history():
    epochs = np.tile(np.arange(1, 11), 3)
    columns = ("train_loss", "validation_loss", "validation_accuracy")
    values = np.random.default_rng(0).random((3, 30))
    return pd.DataFrame({"replica": np.repeat([0, 1, 2], 10), "epoch": epochs}).assign(
        **dict(zip(columns, values, strict=True))
    )


def draw_all(rows, history):
    differences = paired_differences(rows).merge(rows[["head", "family"]].drop_duplicates())
    headline = pd.DataFrame(
        {
            "label": ["MLP", "sQE (paper)"],
            "family": ["mlp", "qubit"],
            "reported": [0.77, 0.9],
            "mean": [0.7, np.nan],
            "low": [0.69, np.nan],
            "high": [0.71, np.nan],
        }
    )
    noise = selection_effect(n_candidates=9, n_test=622, accuracy=0.78, n_draws=1000)
    points, labels = np.random.default_rng(0).random((40, 2)), np.arange(40) % 2
    return {
        "mode": figures.accuracy_by_mode(rows),
        "parameters": figures.accuracy_by_parameters(rows),
        "forest": figures.difference_forest(differences, margin=0.01),
        "strip": figures.seed_strip(rows, lines=True),
        "curves": figures.training_curves({"photonic": history, "MLP": history}),
        "map": figures.embedding_map(points, labels, ["negative", "positive"]),
        "noise": figures.selection_effect_histogram(noise, observed={"reported": 0.05}),
        "headline": figures.headline(headline),
    }


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


def test_every_figure_repeats_byte_for_byte(rows, history, tmp_path):
    for attempt in ("first", "second"):
        for name, figure in draw_all(rows, history).items():
            figures.save(figure, tmp_path / f"{attempt}-{name}.svg")
    for first in tmp_path.glob("first-*.svg"):
        second = first.with_name(first.name.replace("first", "second"))
        assert first.read_bytes() == second.read_bytes(), first.name
        assert b"<dc:date>" not in first.read_bytes()


def test_every_figure_fits_a_phone_and_names_its_axes(rows, history):
    for name, figure in draw_all(rows, history).items():
        assert figure.get_figwidth() <= 6.4, name
        assert figure.axes[-1].get_xlabel(), name
        sizes = [text.get_fontsize() for axes in figure.axes for text in axes.get_xticklabels()]
        assert min(sizes) >= 10, name


def test_accuracies_say_that_they_are_fractions(rows, history):
    drawn = draw_all(rows, history)
    assert drawn["mode"].axes[0].get_ylabel() == "test accuracy (fraction)"
    assert "(fraction)" in drawn["forest"].axes[0].get_xlabel()


def test_no_text_is_black_even_without_the_style(rows, history):
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        drawn = draw_all(rows, history)
    for name, figure in drawn.items():
        texts = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_text())
        assert {to_hex(text.get_color()) for text in texts} == {figures.INK}, name


def test_forest_draws_the_differences_of_the_table(rows):
    table = paired_differences(rows)
    axes = figures.difference_forest(table).axes[0]
    drawn = [line.get_xdata()[0] for line in axes.containers for line in line.lines[:1]]
    assert drawn == pytest.approx(table["difference"].tolist())


def test_family_is_guessed_without_the_column(rows):
    guessed = figures.families(rows.drop(columns="family"))
    assert guessed.tolist() == rows["family"].tolist()


def test_bad_tables_are_refused(rows, history):
    with pytest.raises(ValueError, match="no rows of the reference"):
        figures.accuracy_by_mode(rows, reference="SVC")
    twice = rows.assign(head=rows["head"].replace("4m1p", "4m2p"), n_photons=1)
    with pytest.raises(ValueError, match="several heads have the same numbers"):
        figures.accuracy_by_mode(twice)
    with pytest.raises(ValueError, match="unknown head family 'magic'"):
        figures.seed_strip(rows.assign(family="magic"))
    with pytest.raises(ValueError, match="columns epoch and train_loss"):
        figures.training_curves(history.drop(columns="epoch"))
    with pytest.raises(ValueError, match="points"):
        figures.embedding_map(np.zeros((3, 3)), np.zeros(3))
