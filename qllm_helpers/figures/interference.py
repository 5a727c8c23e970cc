"""Figures of interferometers: circuits, interference, what a phase does, two curves in one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qllm_helpers.figures.charts import legend_above
from qllm_helpers.figures.style import FAMILY_STYLE, INK, SEQUENCE, new_figure
from qllm_helpers.photons.mesh import mesh_layout

if TYPE_CHECKING:
    from IPython.display import SVG

__all__ = ["coincidence_curve", "mesh_figure", "overlaid_curves", "perceval_svg", "phase_response"]

_PHOTON, _DATA = FAMILY_STYLE["photonic"].color, FAMILY_STYLE["svc"].color
_OTHER = FAMILY_STYLE["mlp"].color
# Perceval draws black on white in small print; here the ink must read on a dark page too.
_PERCEVAL_COLORS = {"darkred": _PHOTON, "black": INK, "lightgray": "#c9c9c9"}
_PERCEVAL_FONT_SCALE = 1.6
_PERCEVAL_SCALE = 1.35
# The tag with the convention of a beam splitter: too small to read, and always the same here.
_PERCEVAL_TAG = re.compile(r'<path [^>]*fill="thistle"[^>]*/>\s*<text [^>]*>[^<]*</text>')


def perceval_svg(drawing) -> SVG:
    """A circuit drawn by Perceval, in the book's ink, larger print, cropped and transparent.

    Parameters
    ----------
    drawing
        What ``perceval.pdisplay(circuit, output_format=perceval.Format.HTML)`` returns.

    Returns
    -------
    IPython.display.SVG

    Raises
    ------
    ValueError
        If it is not an SVG drawing.
    """
    from IPython.display import SVG

    if not hasattr(drawing, "as_svg"):
        raise ValueError("need the drawing of pdisplay(..., output_format=Format.HTML).")
    svg = _PERCEVAL_TAG.sub("", drawing.as_svg())
    for old, new in _PERCEVAL_COLORS.items():
        svg = svg.replace(f'"{old}"', f'"{new}"')
    svg = svg.replace('fill="lightpink"', f'fill="{_PHOTON}" fill-opacity="0.18"')
    svg = re.sub(
        r'<text (.*?)font-size="([\d.]+)"',
        lambda found: (
            f'<text {found[1]}fill="{INK}" font-family="sans-serif" '
            f'font-size="{float(found[2]) * _PERCEVAL_FONT_SCALE:.1f}"'
        ),
        svg,
    )
    # The last row of a drawing is empty, and there is room for nothing on either side.
    left, top, width, height = map(float, re.search(r'viewBox="(.*?)"', svg)[1].split())
    left, width, height = left + 20, width - 40, height - 22
    box = (
        f'width="{width * _PERCEVAL_SCALE:g}" height="{height * _PERCEVAL_SCALE:g}" '
        f'viewBox="{left:g} {top:g} {width:g} {height:g}"'
    )
    return SVG(re.sub(r'width="[\d.]+" height="[\d.]+" viewBox=".*?"', box, svg, count=1))


def coincidence_curve(angles: Sequence[float], curves: Mapping[str, Sequence[float]]) -> Figure:
    """Probability of one photon in each mode, against the angle of the beam splitter.

    Parameters
    ----------
    angles : array (n,), radians
        0 lets all light through, pi / 2 is the balanced splitter.
    curves : dict of str to array (n,)
        Probability by kind of photons.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(3.2)
    colors = (_PHOTON, INK, _DATA)
    for place, (name, values) in enumerate(curves.items()):
        style = SEQUENCE[place % len(SEQUENCE)][1]
        axes.plot(angles, values, style, color=colors[place % 3], lw=2.2, label=name)
    axes.axvline(np.pi / 2, color=INK, lw=1, alpha=0.5)
    axes.set_xticks([0, np.pi / 4, np.pi / 2, 3 * np.pi / 4, np.pi])
    axes.set_xticklabels(["0", "π/4", "π/2", "3π/4", "π"])
    axes.set(xlabel="beam splitter angle θ (radians)", ylabel="probability of (1, 1)")
    axes.set_ylim(-0.03, 1.03)
    legend_above(figure, axes, columns=2)
    return figure


def phase_response(phases: Sequence[float], responses: Mapping[str, np.ndarray]) -> Figure:
    """Probabilities against one phase, and how strong every frequency in them is.

    Parameters
    ----------
    phases : array (n,), radians
        Equally spaced over one turn, without its end.
    responses : dict of str to array (n, N)
        Probabilities of the N outputs, by name. The upper panel draws the output that varies
        most, the lower one the largest Fourier coefficient of all outputs at each frequency.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the phases are not equally spaced over one turn.
    """
    phases = np.asarray(phases, dtype=float)
    if not np.allclose(phases, phases[0] + 2 * np.pi * np.arange(len(phases)) / len(phases)):
        raise ValueError("phases must be equally spaced over one turn, without its end.")
    figure, (above, below) = new_figure(5.2, rows=2)
    colors = (_PHOTON, _DATA, _OTHER, FAMILY_STYLE["qubit"].color)
    for place, (name, values) in enumerate(responses.items()):
        marker, style = SEQUENCE[place % len(SEQUENCE)]
        look = {"color": colors[place % 4], "label": name}
        most = values[:, np.ptp(values, axis=0).argmax()]
        above.plot([*phases, phases[0] + 2 * np.pi], [*most, most[0]], style, **look)
        strength = np.abs(np.fft.rfft(values, axis=0)).max(axis=1) / len(phases)
        # Rounded: what vanishes is drawn as 0 on every machine.
        drawn = strength[1:8].round(9)
        below.plot(np.arange(1, 1 + len(drawn)), drawn, marker, ls=":", lw=1, **look)
    above.set_xticks([0, np.pi, 2 * np.pi], ["0", "π", "2π"])
    above.set(xlabel="phase (radians)", ylabel="probability")
    below.set(xlabel="frequency (periods per turn)", ylabel="largest coefficient")
    legend_above(figure, above, columns=3)
    return figure


# Lengths along a mesh: a beam splitter and the phase behind it; a tile has two of both.
_SPLITTER, _STEP = 1.4, 2.5


def _wire(axes, x, rows) -> None:
    axes.plot(x, rows, color=INK, lw=1.4, solid_capstyle="round")


def _draw_tile(axes, x: float, mode: int) -> None:
    """Beam splitter, phase, beam splitter, phase on `mode` and the one below, from x on."""
    for at in (x, x + _STEP):
        _wire(axes, [at, at + _SPLITTER], [mode, mode + 1])
        _wire(axes, [at, at + _SPLITTER], [mode + 1, mode])
        for row in (mode, mode + 1):
            _wire(axes, [at + _SPLITTER, at + _STEP], [row, row])


def _draw_mesh(axes, start: float, n_modes: int, live: np.ndarray) -> float:
    """Draw a mesh from x = `start` on; returns where it ends."""
    layout = mesh_layout(n_modes)
    reached = np.full(n_modes, start)
    phases = []
    for tile, mode in enumerate(layout):
        x = reached[mode : mode + 2].max()
        for row in (mode, mode + 1):
            _wire(axes, [reached[row], x], [row, row])
        _draw_tile(axes, x, mode)
        behind = (_SPLITTER + _STEP) / 2
        phases += [(x + behind + _STEP * which, mode, 2 * tile + which) for which in (0, 1)]
        reached[mode : mode + 2] = x + 2 * _STEP
    end = reached.max() + 1.6
    for row in range(n_modes):
        _wire(axes, [reached[row], end], [row, row])
        phases.append((end - 0.8, row, 2 * len(layout) + row))
    for x, row, index in phases:
        face, edge = (_PHOTON, _PHOTON) if live[index] else ("none", INK)
        axes.plot(x, row, "o", ms=6, mfc=face, mec=edge, mew=1.4, zorder=3)
    return end


def mesh_figure(
    input_state: Sequence[int], left_live: Sequence[bool], right_live: Sequence[bool]
) -> Figure:
    """The sandwich circuit, with the phases that matter and those that do not.

    Parameters
    ----------
    input_state : sequence of int, length m
        Photons per input mode.
    left_live, right_live : sequences of bool, length m * m
        Whether each phase of the two meshes can change a probability, in the order of
        `PhotonicLayer.left` and `.right`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the lengths do not fit.
    """
    n_modes = len(input_state)
    if not len(left_live) == len(right_live) == n_modes**2:
        raise ValueError(f"need {n_modes**2} values for each mesh of {n_modes} modes.")
    figure, axes = new_figure(0.4 * n_modes + 0.8)
    middle = _draw_mesh(axes, 0.0, n_modes, np.asarray(left_live))
    for row, photons in enumerate(input_state):
        _wire(axes, [middle, middle + 2.2], [row, row])
        axes.plot(middle + 0.9, row, "D", ms=7.5, color=_DATA, zorder=3)
        axes.text(-0.8, row, str(photons), color=INK, ha="right", va="center")
    _draw_mesh(axes, middle + 2.2, n_modes, np.asarray(right_live))
    axes.text(-2, -0.8, "photons in", color=INK, ha="left", va="center", fontsize=10)
    axes.set(ylim=(n_modes - 0.6, -1.2))
    axes.set_axis_off()
    round_mark = {"marker": "o", "ls": "", "ms": 6, "mew": 1.4}
    handles = [
        Line2D([], [], color=_PHOTON, label="trained phase", **round_mark),
        Line2D([], [], mfc="none", mec=INK, label="dead phase", **round_mark),
        Line2D([], [], marker="D", ls="", ms=7.5, color=_DATA, label="data"),
    ]
    legend_above(figure, None, columns=3, extra=handles, spacing=2.0)
    return figure


def overlaid_curves(line: pd.DataFrame, marks: pd.DataFrame, names: tuple[str, str]) -> Figure:
    """Two training runs that should be one: the first as a line, the second as marks on it.

    Parameters
    ----------
    line, marks : DataFrame
        Histories with the columns epoch, train_loss, validation_loss, validation_accuracy.
    names : tuple of str
        What the line and what the marks are.

    Returns
    -------
    Figure
    """
    figure, (above, below) = new_figure(4.8, rows=2, sharex=True)
    colors = {"train_loss": _PHOTON, "validation_loss": _DATA, "validation_accuracy": _OTHER}
    for column, color in colors.items():
        axes = below if column == "validation_accuracy" else above
        axes.plot(line["epoch"], line[column], color=color, lw=2)
        axes.plot(marks["epoch"], marks[column], "o", mfc="none", mec=color, mew=1.4)
    above.set_ylabel("cross-entropy (nats)")
    below.set(xlabel="epoch", ylabel="validation accuracy\n(fraction)")
    handles = [
        Line2D([], [], color=INK, lw=2, label=names[0]),
        Line2D([], [], marker="o", ls="", mfc="none", mec=INK, mew=1.4, label=names[1]),
        Line2D([], [], color=_PHOTON, lw=5, label="training"),
        Line2D([], [], color=_DATA, lw=5, label="validation"),
    ]
    legend_above(figure, None, columns=2, extra=handles, spacing=2.0)
    return figure
