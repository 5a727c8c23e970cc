"""Circuits as drawings: interferometers, Perceval's own pictures, gates on qubits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from qllm_helpers.figures.style import FAMILY_STYLE, INK, legend_above, new_figure, styled
from qllm_helpers.photons.interferometer import mesh_layout
from qllm_helpers.qubits.states import Circuit

if TYPE_CHECKING:
    from IPython.display import SVG

_PHOTON, _DATA = FAMILY_STYLE["photonic"].color, FAMILY_STYLE["svc"].color
# Perceval draws black on white in small print; here the ink must read on a dark page too.
_PERCEVAL_COLORS = {"darkred": _PHOTON, "black": INK, "lightgray": "#c9c9c9"}
_PERCEVAL_FONT_SCALE = 1.6
_PERCEVAL_SCALE = 1.35
# The tag with the convention of a beam splitter: too small to read, and always the same here.
_PERCEVAL_TAG = re.compile(r'<path [^>]*fill="thistle"[^>]*/>\s*<text [^>]*>[^<]*</text>')


def perceval_svg(drawing) -> SVG:
    """A circuit drawn by Perceval, in the book's ink, larger print, cropped and transparent.

    `drawing` comes from ``perceval.pdisplay(circuit, output_format=perceval.Format.HTML)``.
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


# Lengths along a mesh: a beam splitter and the phase behind it; a tile has two of both.
_SPLITTER, _STEP = 1.4, 2.5


def _wire(axes, x, rows) -> None:
    axes.plot(x, rows, color=INK, lw=1.4, solid_capstyle="round")


def _draw_mesh(axes, start: float, n_modes: int, live: np.ndarray) -> float:
    """Draw a mesh from x = `start` on; returns where it ends."""
    layout = mesh_layout(n_modes)
    reached = np.full(n_modes, start)
    phases = []
    for tile, mode in enumerate(layout):
        x = reached[mode : mode + 2].max()
        for row in (mode, mode + 1):
            _wire(axes, [reached[row], x], [row, row])
        # beam splitter, phase, beam splitter, phase
        for which, at in enumerate((x, x + _STEP)):
            crossed = at + _SPLITTER
            _wire(axes, [at, crossed], [mode, mode + 1])
            _wire(axes, [at, crossed], [mode + 1, mode])
            for row in (mode, mode + 1):
                _wire(axes, [crossed, at + _STEP], [row, row])
            phases.append((at + (_SPLITTER + _STEP) / 2, mode, 2 * tile + which))
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

    One flag for each of the m * m phases of a mesh, ordered as in `PhotonicLayer.left`, `.right`.
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


def _columns(circuit: Circuit) -> list[int]:
    """Column of every gate: as far left as the gates before it leave room for its wires."""
    free, columns = [0] * circuit.n_qubits, []
    for control, target, _ in circuit.gates:
        wires = range(min(w for w in (control, target) if w >= 0), max(control, target) + 1)
        column = max(free[wire] for wire in wires)
        # CNOT and RY side by side take two columns
        for wire in wires:
            free[wire] = column + (2 if control >= 0 else 1)
        columns.append(column)
    return columns


def _draw(axes, circuit: Circuit, title: str, loaded: bool) -> None:
    quantum, data = FAMILY_STYLE["qubit"].color, FAMILY_STYLE["svc"].color
    boxes = {wire: [] for wire in range(circuit.n_qubits)}
    end = 0
    for (control, target, source), column in zip(circuit.gates, _columns(circuit), strict=True):
        color, x = (data if source < 0 else quantum), column + (control >= 0)
        name = rf"$x_{{{-1 - source}}}$" if source < 0 else rf"$\theta_{{{source}}}$"
        corner = x - 0.36, target - 0.32
        axes.add_patch(Rectangle(corner, 0.72, 0.64, fc="none", ec=color, lw=1.3))
        axes.text(x, target, name, ha="center", va="center", fontsize=8, color=color)
        boxes[target].append(x)
        end = max(end, x)
        if control >= 0:
            axes.plot([column] * 2, [control, target], color=quantum, lw=1.2)
            axes.plot(column, control, "o", ms=5, color=quantum)
            axes.plot(column, target, "o", ms=9, mfc="none", mew=1.2, color=quantum)
            axes.plot(column, target, "+", ms=9, mew=1.2, color=quantum)
    for wire, taken in boxes.items():
        # a wire is interrupted where boxes stand on it
        edges = [-0.9, *(edge for x in sorted(taken) for edge in (x - 0.36, x + 0.36)), end + 0.8]
        for piece in zip(edges[::2], edges[1::2], strict=True):
            axes.plot(piece, [wire, wire], color=INK, lw=1, zorder=0)
    if loaded:
        height = circuit.n_qubits - 0.3
        axes.add_patch(Rectangle((-1.7, -0.35), 0.8, height, fc="none", ec=data, lw=1.3))
        axes.text(-1.3, (circuit.n_qubits - 1) / 2, "x / |x|", rotation=90, ha="center",
                  va="center", fontsize=9, color=data)  # fmt: skip
    for wire in range(circuit.n_qubits if loaded else 1):
        axes.text(end + 0.9, wire, r"$\langle Z\rangle$", va="center", fontsize=9, color=INK)
    axes.set(xlim=(-1.9, end + 1.9), ylim=(circuit.n_qubits - 0.4, -0.6))
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_axis_off()


@styled
def circuit_drawing(first: Circuit, second: Circuit) -> Figure:
    """Module 1 (amplitude encoding, all qubits measured) above module 2 (from zeros, qubit 0).

    A box is RY: with a trainable angle, or (other colour) with an angle that the sample brings.
    """
    heights = [first.n_qubits, second.n_qubits]
    figure, panels = new_figure(0.5 * sum(heights) + 0.8, rows=2, height_ratios=heights)
    _draw(panels[0], first, "module 1", loaded=True)
    _draw(panels[1], second, "module 2", loaded=False)
    return figure
