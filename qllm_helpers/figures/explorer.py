"""The explorer of modes and photons: a drawing that answers to pointer, touch and keyboard.

It is one piece of HTML without any script and without anything to load: style rules alone show
what belongs to the circuit that is pointed at. What cannot be shown in this way, on paper or in a
reader that drops styles, is in the table below the drawing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from qllm_helpers.figures.style import FAMILY_STYLE
from qllm_helpers.results.explorer import REFERENCE

__all__ = ["Explorer", "mode_photon_explorer"]

WIDTH, HEIGHT = 480, 400
#: Edges of the plot inside the drawing: left, right, top, bottom.
LEFT, RIGHT, TOP, BOTTOM = 68, 470, 96, 352
#: Distance of neighbouring numbers of photons, as a share of the distance of modes.
SPREAD = 0.19
_TEXT = "font-family:system-ui,sans-serif;fill:currentColor"

_STYLE = f"""
.qllm-explorer {{ max-width: 36rem; }}
.qllm-explorer fieldset {{ border: 0; margin: 0; padding: 0; }}
.qllm-explorer legend {{ font-size: 1rem; margin: 0; padding: 0; float: none; }}
.qllm-explorer label {{ display: inline-block; margin: 0 1rem 0 0; padding: 0.3rem 0;
  white-space: nowrap; }}
.qllm-explorer svg {{ width: 100%; height: auto; overflow: visible; }}
.qllm-explorer text {{ {_TEXT}; font-size: 15px; }}
@supports selector(:has(*)) {{ .qllm-explorer .qllm-set {{ display: none; }} }}
.qllm-explorer .qllm-told {{ display: none; }}
.qllm-explorer .qllm-circuit {{ cursor: pointer; outline: none; }}
.qllm-explorer .qllm-circuit > :not(rect) {{ pointer-events: none; }}
.qllm-explorer .qllm-seeds {{ visibility: hidden; stroke: currentColor; stroke-width: 5;
  stroke-linecap: round; opacity: 0.5; }}
.qllm-explorer .qllm-circuit:hover .qllm-told, .qllm-explorer .qllm-circuit:focus .qllm-told
  {{ display: inline; }}
.qllm-explorer .qllm-circuit:hover .qllm-seeds, .qllm-explorer .qllm-circuit:focus .qllm-seeds
  {{ visibility: visible; }}
.qllm-explorer .qllm-circuit:hover .qllm-ring, .qllm-explorer .qllm-circuit:focus .qllm-ring
  {{ stroke-opacity: 1; }}
.qllm-explorer svg:has(.qllm-circuit:hover) .qllm-hint,
.qllm-explorer svg:has(.qllm-circuit:focus) .qllm-hint {{ display: none; }}
.qllm-explorer svg:has(.qllm-circuit:hover) .qllm-circuit:focus:not(:hover) .qllm-told
  {{ display: none; }}
"""


@dataclass(frozen=True)
class Explorer:
    """The drawing, as a notebook or a page shows it.

    Attributes
    ----------
    table : DataFrame
        What is drawn.
    html : str
    """

    table: pd.DataFrame
    html: str

    def __repr__(self) -> str:
        circuits = int(self.table["n_modes"].notna().sum())
        return f"explorer of {circuits} circuits in {self.table['set'].nunique()} sets"

    def _repr_html_(self) -> str:
        return self.html


def mode_photon_explorer(table: pd.DataFrame) -> Explorer:
    """Accuracy of every circuit against modes; more on each when it is pointed at.

    Parameters
    ----------
    table : DataFrame
        From :func:`qllm_helpers.results.explorer.explorer_table`.

    Returns
    -------
    Explorer
        Its HTML is the same in every run, and stands alone. One explorer a page: a second one
        would share its switches.

    Raises
    ------
    ValueError
        If the table has no rows.
    """
    if table.empty:
        raise ValueError("there is nothing to explore: the table has no rows")
    names = list(table["set"].unique())
    switches, rules, panels = [], [], []
    for number, name in enumerate(names):
        key = f"qllm-set-{number}"
        checked = " checked" if number == 0 else ""
        switches.append(
            f'<label for="{key}"><input type="radio" name="qllm-set" id="{key}"{checked}> '
            f"{escape(name)}</label>"
        )
        rules.append(f".qllm-explorer:has(#{key}:checked) .{key} {{ display: block; }}")
        panels.append(_panel(table[table["set"] == name], name, key))
    html = (
        f"<style>{_STYLE}{chr(10).join(rules)}</style>\n"
        '<div class="qllm-explorer">\n<fieldset><legend>Show</legend>'
        f"{''.join(switches)}</fieldset>\n{''.join(panels)}\n{_fallback(table)}\n</div>"
    )
    # so that a search, which marks its words, leaves the drawing as it is
    html = html.replace('<text class="', '<text class="nohighlight ')
    html = re.sub("<text (?!class=)", '<text class="nohighlight" ', html)
    return Explorer(table, html)


def _panel(part: pd.DataFrame, name: str, key: str) -> str:
    """Drawing of one set."""
    circuits = part[part["n_modes"].notna()]
    reference = part[part["n_modes"].isna()].iloc[0]
    values = [value for seeds in part["seeds"] for value in seeds]
    values += list(part["reported"].dropna())
    scale = _Scale(min(values), max(values), sorted(circuits["n_modes"].unique()))
    photons = sorted(circuits["n_photons"].unique())
    drawn = [_axes(scale), _band(scale, reference), _legend(photons, circuits)]
    ordered = circuits.sort_values(["n_photons", "n_modes"])
    drawn += [_circuit(scale, row, photons) for row in ordered.to_dict("records")]
    label = (
        f"Test accuracy against modes, {name}: mean over seeds with 95 % intervals for "
        f"{len(circuits)} circuits, and {REFERENCE} as a band"
    )
    return (
        f'<div class="qllm-set {key}"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" '
        f'aria-label="{escape(label)}">{"".join(drawn)}</svg></div>'
    )


class _Scale:
    """From modes and accuracies to places in the drawing."""

    def __init__(self, low: float, high: float, modes: Sequence[int]):
        self.low, self.high, self.modes = low - 0.01, high + 0.01, list(modes)
        self.step = (RIGHT - LEFT) / len(self.modes)

    def x(self, modes: int, shift: float = 0.0) -> float:
        return LEFT + self.step * (self.modes.index(modes) + 0.5 + shift)

    def y(self, accuracy: float) -> float:
        return BOTTOM - (accuracy - self.low) / (self.high - self.low) * (BOTTOM - TOP)

    def ticks(self) -> list[float]:
        step = 0.1 if self.high - self.low > 0.2 else 0.02
        first, last = int(self.low / step) + 1, int(self.high / step)
        return [round(step * n, 2) for n in range(first, last + 1)]


def _axes(scale: _Scale) -> str:
    grid = [
        f'<path d="M{LEFT} {scale.y(tick):.1f}H{RIGHT}" stroke="currentColor" opacity="0.2"/>'
        f'<text x="{LEFT - 8}" y="{scale.y(tick) + 5:.1f}" text-anchor="end">{tick:.2f}</text>'
        for tick in scale.ticks()
    ]
    grid += [
        f'<text x="{scale.x(modes):.1f}" y="{BOTTOM + 20}" text-anchor="middle">{modes}</text>'
        for modes in scale.modes
    ]
    middle = (LEFT + RIGHT) / 2
    return (
        f'{"".join(grid)}<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">modes</text>'
        f'<text transform="translate(16 {(TOP + BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        "test accuracy</text>"
        '<text class="qllm-hint" x="2" y="18">Point at a circuit, or reach it with the</text>'
        '<text class="qllm-hint" x="2" y="38">Tab key: its numbers and all its seeds.</text>'
    )


def _band(scale: _Scale, reference: pd.Series) -> str:
    top, bottom = scale.y(reference["high"]), scale.y(reference["low"])
    return (
        f'<rect x="{LEFT}" y="{top:.1f}" width="{RIGHT - LEFT}" height="{bottom - top:.1f}" '
        'fill="currentColor" opacity="0.18"/>'
        f'<path d="M{LEFT} {scale.y(reference["mean"]):.1f}H{RIGHT}" stroke="currentColor"/>'
    )


def _legend(photons: list[int], circuits: pd.DataFrame) -> str:
    parts, place = [], LEFT + 4
    for count in photons:
        parts.append(_mark(place, TOP - 13, photons, count))
        parts.append(f'<text x="{place + 10}" y="{TOP - 8}">{count}</text>')
        place += 34
    parts.append(f'<text x="{place - 6}" y="{TOP - 8}">photons</text>')
    place += 70
    if circuits["reported"].notna().any():
        parts.append(_hollow(place, TOP - 13) + f'<text x="{place + 10}" y="{TOP - 8}">reported')
        parts.append("</text>")
        place += 84
    parts.append(f'<path d="M{place} {TOP - 13}h18" stroke="currentColor"/>')
    parts.append(f'<text x="{place + 24}" y="{TOP - 8}">linear</text>')
    return "".join(parts)


def _hollow(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="none" stroke="currentColor"/>'


#: Outlines around (0, 0) for 1, 2, 3, ... photons, as in the other figures.
_OUTLINES = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0",
    "M-4.5 -4.5h9v9h-9z",
    "M0 -5.5L5.5 4.5h-11z",
    "M0 -6L5 0L0 6L-5 0z",
    "M-2 -5.5h4v3.5h3.5v4h-3.5v3.5h-4v-3.5h-3.5v-4h3.5z",
    "M-5 -5L5 5M-5 5L5 -5",
)


def _mark(x: float, y: float, photons: list[int], count: int) -> str:
    place = photons.index(count)
    color = FAMILY_STYLE["photonic"].color
    fill = color if place % 2 == 0 else "none"
    outline = _OUTLINES[place % len(_OUTLINES)]
    return (
        f'<path transform="translate({x:.1f} {y:.1f})" d="{outline}" fill="{fill}" '
        f'stroke="{color}" stroke-width="1.6"/>'
    )


def _circuit(scale: _Scale, row: dict, photons: list[int]) -> str:
    """A circuit with its interval; its seeds and its numbers appear when it is pointed at."""
    count = row["n_photons"]
    shift = SPREAD * (photons.index(count) - (len(photons) - 1) / 2)
    x, y = scale.x(row["n_modes"], shift), scale.y(row["mean"])
    half = scale.step * SPREAD / 2
    color = FAMILY_STYLE["photonic"].color
    seeds = "".join(f"M{x:.1f} {scale.y(value):.1f}h.1" for value in sorted(row["seeds"]))
    lines = _sentences(row)
    told = "".join(
        f'<text class="qllm-told" x="2" y="{18 + 20 * n}">{escape(line)}</text>'
        for n, line in enumerate(lines)
    )
    reported = "" if pd.isna(row["reported"]) else _hollow(x, scale.y(row["reported"]))
    return (
        f'<g class="qllm-circuit" tabindex="0" role="img" aria-label="{escape("; ".join(lines))}">'
        # the whole column answers to a pointer or a finger
        f'<rect x="{x - half:.1f}" y="{TOP}" width="{2 * half:.1f}" height="{BOTTOM - TOP}" '
        f'fill="transparent"/><path class="qllm-seeds" d="{seeds}"/>'
        f'<path d="M{x:.1f} {scale.y(row["low"]):.1f}V{scale.y(row["high"]):.1f}" '
        f'stroke="{color}" stroke-width="2"/>{reported}{_mark(x, y, photons, count)}'
        f'<circle class="qllm-ring" cx="{x:.1f}" cy="{y:.1f}" r="11" fill="none" '
        f'stroke="currentColor" stroke-width="2" stroke-opacity="0"/>{told}</g>'
    )


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")


def _sentences(row: dict) -> list[str]:
    """What is said about a circuit, in three lines that fit the drawing."""
    size = f"{_plural(row['n_modes'], 'mode')}, {_plural(row['n_photons'], 'photon')}"
    reported = "" if pd.isna(row["reported"]) else f", reported {row['reported']:.4f}"
    points = [100 * row[f"difference{end}"] for end in ("", "_low", "_high")]
    return [
        f"{size}: {row['mean']:.4f}{reported}",
        f"95 % interval {row['low']:.4f} to {row['high']:.4f}, {row['n_seeds']} seeds",
        f"to linear: {points[0]:+.2f} points [{points[1]:+.2f}, {points[2]:+.2f}]",
    ]


def _fallback(table: pd.DataFrame) -> str:
    """Every number as a table, folded."""
    titles = ("set", "modes", "photons", "mean", "95 % interval", "seeds", "points to linear")
    lines = []
    for row in table[table["n_modes"].notna()].to_dict("records"):
        cells = [row["set"], row["n_modes"], row["n_photons"], f"{row['mean']:.4f}"]
        cells += [f"{row['low']:.4f} to {row['high']:.4f}", row["n_seeds"]]
        cells += [f"{100 * row['difference']:+.2f}"]
        lines.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return (
        "<details><summary>The same as a table</summary>"
        '<div style="overflow-x:auto"><table class="dataframe">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div></details>"
    )
