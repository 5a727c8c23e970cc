"""A figure to move shows itself everywhere: as a chart, as a picture, and in words."""

import sys
from base64 import b64decode

import altair as alt
import pandas as pd
import pytest

from qllm_helpers.figures.moving import MIME, Moving


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
