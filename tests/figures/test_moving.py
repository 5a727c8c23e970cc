"""Figures to move show themselves everywhere: as charts, as pictures, and in words."""

import re
import sys
from base64 import b64decode
from html.parser import HTMLParser

import altair as alt
import pandas as pd
import pytest

from qllm_helpers.figures.moving import MIME, Moving, mode_photon_explorer
from qllm_helpers.results.headline import (
    TUNED_REFERENCE,
    explorer_rows,
    explorer_table,
    published_photons,
)
from qllm_helpers.results.intervals import interval
from qllm_helpers.studies.run import study_rows


def chart():
    k = alt.param("k", value=1, bind=alt.binding_range(min=1, max=3, step=1, name="k"))
    points = alt.Chart(pd.DataFrame({"k": [1, 2, 3], "y": [1.0, 4.0, 9.0]})).mark_point()
    return points.transform_filter(alt.datum.k <= k).encode(x="k", y="y").add_params(k)


def test_bundle_has_chart_picture_and_words():
    moving = Moving(chart().properties(description="Squares."))
    bundle = moving._repr_mimebundle_()
    assert bundle["text/plain"] == "figure to move: k"
    assert bundle[MIME]["description"] == "Squares."
    assert b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    again = Moving(chart().properties(description="Squares."))
    assert again._repr_mimebundle_() == bundle


def test_colab_gets_a_page_of_its_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", None)
    bundle = Moving(chart().properties(description="Squares."))._repr_mimebundle_()
    assert "vegaEmbed" in bundle["text/html"]


def test_chart_without_words_is_refused():
    with pytest.raises(ValueError, match="description"):
        Moving(chart())


def fits(protocol, sizes, **columns):
    """Rows of a made-up study: every head is two points below the reference."""
    heads = [(TUNED_REFERENCE, None, None)]
    heads += [(f"{m} modes, {n} photon{'s' * (n > 1)}", m, n) for m, n in sizes]
    rows = [
        {"head": head, "n_modes": m, "n_photons": n, "seed": seed, "protocol": protocol}
        | {"kind": "photonic" if m else "linear"}
        | {"test_accuracy": 0.7 + 0.01 * seed - 0.02 * (m is not None)}
        for head, m, n in heads
        for seed in range(4)
    ]
    return pd.DataFrame(rows).assign(**columns)


@pytest.fixture
def sets():
    tuned = fits("few_shot", [(2, 1), (4, 1), (4, 2)], fine_tuned=True)
    frozen = fits("few_shot", [(2, 1), (4, 2)], fine_tuned=False)
    paper = fits("paper", [(2, 1), (12, 5)])
    return explorer_rows({"few_shot": pd.concat([frozen, tuned]), "paper": paper})


def test_a_line_for_every_circuit_with_its_interval_and_difference(sets):
    table = explorer_table(sets)
    circuits = table[table["n_modes"].notna()]
    assert list(circuits.groupby("set", sort=False).size()) == [2, 2, 3]
    one = circuits.iloc[0]
    assert one["mean"] == pytest.approx(0.695)
    assert (one["low"], one["high"]) == pytest.approx(interval([0.68, 0.69, 0.70, 0.71]))
    assert one["difference"] == pytest.approx(-0.02)
    assert one["n_seeds"] == len(one["seeds"]) == 4


def test_reported_figures_stand_only_beside_the_same_protocol(sets):
    table = explorer_table(sets).set_index(["set", "n_modes", "n_photons"])["reported"]
    published = published_photons().set_index(["n_modes", "n_photons"])["reported"]
    assert table["few-shot, tuned body", 4, 2] == published[4, 2]
    assert table["paper's protocol"].isna().all()


def test_a_set_without_the_reference_is_refused(sets):
    name, rows = next(iter(sets.items()))
    with pytest.raises(ValueError, match=f"no rows of '{TUNED_REFERENCE}'"):
        explorer_table({name: rows[rows["head"] != TUNED_REFERENCE]})
    with pytest.raises(ValueError, match="nothing to explore"):
        mode_photon_explorer(explorer_table(sets).iloc[:0])


def test_the_drawing_repeats_and_loads_nothing(sets):
    table = explorer_table(sets)
    explorer = mode_photon_explorer(table)
    assert explorer.data == mode_photon_explorer(explorer_table(sets)).data
    assert re.search(r"<script|https?:|\bsrc=|@import|url\(", explorer.data) is None


class Reader(HTMLParser):
    """Collects what a screen reader says of the circuits, and checks that all tags close."""

    def __init__(self):
        super().__init__()
        self.spoken, self.open = [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if attributes.get("role") == "img":
            assert attributes["tabindex"] == "0"
            self.spoken.append(attributes["aria-label"])
        if tag != "input":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_circuit_can_be_reached_and_read_aloud(sets):
    reader = Reader()
    reader.feed(mode_photon_explorer(explorer_table(sets)).data)
    assert reader.open == []
    assert len(reader.spoken) == 7
    assert reader.spoken[1].startswith("12 modes, 5 photons: 0.6950; 95 % interval 0.67")
    assert "to linear: -2.00 points" in reader.spoken[1]


def test_a_search_leaves_the_words_of_the_drawing_alone(sets):
    html = mode_photon_explorer(explorer_table(sets)).data
    texts = re.findall("<text ([^>]*)>", html)
    assert texts
    # Sphinx marks nothing below an element of this class
    assert all(re.match('class="nohighlight[ "]', text) for text in texts)


def test_kinds_of_photons_and_numbers_of_classes_are_sets_too():
    names = ("few_shot", "paper", "photons", "finetune", "multiclass")
    rows = {name: study_rows(name) for name in names}
    sets = explorer_rows(rows)
    table = explorer_table(sets)
    assert list(table["set"].unique()) == list(sets) and len(sets) == 8
    apart = table[(table["set"] == "distinguishable photons") & (table["n_photons"] == 3)]
    photons = rows["photons"]
    for _, row in apart.iterrows():
        head = f"{row['n_modes']} modes, 3 photons, distinguishable"
        mean = photons[photons["head"] == head]["test_accuracy"].mean()
        assert row["mean"] == pytest.approx(mean)


def test_the_shipped_rows_can_be_explored():
    sets = explorer_rows({name: study_rows(name) for name in ("few_shot", "paper")})
    table = explorer_table(sets)
    explorer = mode_photon_explorer(table)
    assert len(explorer.data) < 200_000
    circuits = table[table["n_modes"].notna()]
    assert explorer.data.count('class="qllm-circuit"') == len(circuits) > 20
