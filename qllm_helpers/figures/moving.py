"""Figures that answer to pointer, touch and keyboard: Vega-Lite charts, and an explorer in HTML."""

import sys
from base64 import b64encode
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
from IPython.display import HTML
from jinja2 import Template

from qllm_helpers.figures.style import COLORS, FAMILY_STYLE, INK
from qllm_helpers.results.headline import TUNED_REFERENCE

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
    """An altair chart in the book's style, with a picture for whoever cannot run it.

    Its description is what a screen reader says of it.
    """

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


#: Edges of the plot inside the drawing, which is 480 wide.
_EDGES = {"left": 68, "right": 470, "top": 96, "bottom": 352, "height": 400}
#: Distance of neighbouring numbers of photons, as a share of the distance of modes.
_SPREAD = 0.19


def mode_photon_explorer(table: pd.DataFrame) -> HTML:
    """Accuracy of every circuit against modes; more on each when it is pointed at.

    `table` is an :func:`qllm_helpers.results.headline.explorer_table`. One explorer a page: a
    second one would share its switches.
    """
    if table.empty:
        raise ValueError("there is nothing to explore: the table has no rows")
    circuits = table[table["n_modes"].notna()]
    titles = {"set": "set", "n_modes": "modes", "n_photons": "photons", "mean": "mean"}
    titles |= {"low": "from", "high": "to", "n_seeds": "seeds"}
    shown = circuits[list(titles)].round(4).rename(columns=titles)
    shown["points to linear"] = (100 * circuits["difference"]).round(2)
    template = Path(__file__).with_name("explorer.html").read_text(encoding="utf-8")
    html = Template(template, autoescape=True).render(
        panels=[_panel(name, part) for name, part in table.groupby("set", sort=False)],
        color=FAMILY_STYLE["photonic"].color,
        reference=TUNED_REFERENCE,
        table=shown.to_html(index=False, border=0),
        **_EDGES,
    )
    return HTML(html)


def _panel(name: str, part: pd.DataFrame) -> dict:
    """Everything that the drawing of one set needs, in the units of the drawing."""
    circuits = part[part["n_modes"].notna()].sort_values(["n_photons", "n_modes"])
    values = [*np.concatenate(part["seeds"].to_list()), *part["reported"].dropna()]
    low, high = min(values) - 0.01, max(values) + 0.01
    modes, photons = (sorted(circuits[name].unique()) for name in ("n_modes", "n_photons"))
    step = (_EDGES["right"] - _EDGES["left"]) / len(modes)

    def x(n_modes: int, shift: float = 0.0) -> float:
        return round(_EDGES["left"] + step * (modes.index(n_modes) + 0.5 + shift), 1)

    def y(accuracy: float) -> float:
        share = (accuracy - low) / (high - low)
        return round(_EDGES["bottom"] - share * (_EDGES["bottom"] - _EDGES["top"]), 1)

    drawn = []
    for row in circuits.to_dict("records"):
        shift = _SPREAD * (photons.index(row["n_photons"]) - (len(photons) - 1) / 2)
        # places of means, intervals and seeds; the row itself is what is said about the circuit
        place = {end: y(row[end]) for end in ("low", "high")}
        place |= {"x": x(row["n_modes"], shift), "y": y(row["mean"]), "row": row}
        place["seeds"] = [y(value) for value in sorted(row["seeds"])]
        place["reported"] = None if pd.isna(row["reported"]) else y(row["reported"])
        drawn.append(place)
    reference = part[part["n_modes"].isna()].iloc[0]
    ticks = 0.1 if high - low > 0.2 else 0.02
    steps = range(int(low / ticks) + 1, int(high / ticks) + 1)
    return {
        "name": name,
        "circuits": drawn,
        "photons": photons,
        "half": round(step * _SPREAD / 2, 1),
        "modes": [(x(n), n) for n in modes],
        "ticks": [(y(ticks * n), f"{ticks * n:.2f}") for n in steps],
        "band": {end: y(reference[end]) for end in ("low", "mean", "high")},
        "has_reported": bool(circuits["reported"].notna().any()),
    }
