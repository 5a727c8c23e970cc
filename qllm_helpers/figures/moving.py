"""Figures to move: Vega-Lite charts, each with a picture for whoever cannot run them."""

import sys
from base64 import b64encode

import altair as alt
import vl_convert

from qllm_helpers.figures.style import COLORS, INK

#: The type by which Jupyter, and the pages of the book, know a chart.
MIME = "application/vnd.vegalite.v5+json"
#: Width of a chart without its axis, pixels.
WIDTH = 380
_TEXT = {"labelColor": INK, "titleColor": INK, "labelFontSize": 14, "titleFontSize": 14}
_LINES = {"domainColor": INK, "tickColor": INK, "gridColor": INK, "gridOpacity": 0.2}
_CONFIG = {
    "background": "transparent",
    "view": {"continuousWidth": WIDTH, "discreteWidth": WIDTH, "stroke": None},
    "axis": {**_TEXT, **_LINES, "titleFontWeight": "normal", "labelLimit": 220},
    "legend": {**_TEXT, "orient": "top", "title": None, "symbolSize": 160},
    "text": {"color": INK, "fontSize": 14},
    "mark": {"color": COLORS[0]},
    "range": {"category": list(COLORS)},
}


class Moving:
    """An altair chart in the book's style; its description is what a screen reader says of it."""

    def __init__(self, chart: alt.TopLevelMixin):
        self.chart = chart.properties(config=_CONFIG)
        self.spec = self.chart.to_dict()
        if "description" not in self.spec:
            raise ValueError("say what the chart shows: chart.properties(description=...)")

    def __repr__(self) -> str:
        moved = [one["bind"]["name"] for one in self.spec["params"] if "bind" in one]
        return f"figure to move: {', '.join(moved)}"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        picture = b64encode(vl_convert.vegalite_to_png(self.spec, scale=2)).decode()
        bundle = {"text/plain": repr(self), MIME: self.spec, "image/png": picture}
        if "google.colab" in sys.modules:  # which does not know the type, and is online anyway
            bundle["text/html"] = self.chart.to_html()
        return bundle
