"""Circuits as drawings: interferometers, Perceval's own pictures, gates on qubits."""

import re
from collections.abc import Sequence

import numpy as np
from IPython.display import SVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from qllm_helpers.figures.style import FAMILY_STYLE, INK, legend_above, new_figure, styled
from qllm_helpers.photons.interferometer import SPLIT, mesh_gates
from qllm_helpers.qubits.states import Circuit

_PHOTON, _DATA, _QUBIT = (FAMILY_STYLE[name].color for name in ("photonic", "svc", "qubit"))
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
# A trained phase is filled; a diamond takes data.
_PHASE = {"marker": "o", "ls": "", "ms": 6, "mew": 1.4, "zorder": 3, "mfc": "none", "mec": INK}
_TRAINED = _PHASE | {"mfc": _PHOTON, "mec": _PHOTON}
_TAKES_DATA = {"marker": "D", "ls": "", "ms": 7.5, "color": _DATA, "zorder": 3}


def _wire(axes, x, rows) -> None:
    axes.plot(x, rows, color=INK, lw=1.4, solid_capstyle="round")


def _draw_mesh(axes, start: float, n_modes: int, live: np.ndarray) -> float:
    """Draw a mesh from x = `start` on; returns where it ends."""
    paths = [[(start, row)] for row in range(n_modes)]
    phases = []
    steps = mesh_gates(n_modes).steps
    for mode in steps[steps[:, 0] == SPLIT, 1][::2]:
        x = max(paths[row][-1][0] for row in (mode, mode + 1))
        # beam splitter, phase, beam splitter, phase
        for row, other in ((mode, mode + 1), (mode + 1, mode)):
            paths[row] += [(x, row), (x + _SPLITTER, other), (x + _STEP, other)]
            paths[row] += [(x + _STEP + _SPLITTER, row), (x + 2 * _STEP, row)]
        phases += [(at + (_SPLITTER + _STEP) / 2, mode) for at in (x, x + _STEP)]
    end = max(path[-1][0] for path in paths) + 1.6
    for row, path in enumerate(paths):
        _wire(axes, *zip(*path, (end, row), strict=True))
        phases.append((end - 0.8, row))
    for (x, row), trained in zip(phases, live, strict=True):
        axes.plot(x, row, **_TRAINED if trained else _PHASE)
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
        axes.plot(middle + 0.9, row, **_TAKES_DATA)
        axes.text(-0.8, row, str(photons), color=INK, ha="right", va="center")
    _draw_mesh(axes, middle + 2.2, n_modes, np.asarray(right_live))
    axes.text(-2, -0.8, "photons in", color=INK, ha="left", va="center", fontsize=10)
    axes.set(ylim=(n_modes - 0.6, -1.2))
    axes.set_axis_off()
    looks = {"trained phase": _TRAINED, "dead phase": _PHASE, "data": _TAKES_DATA}
    for name, look in looks.items():
        axes.plot([], [], label=name, **look)
    legend_above(figure, axes, columns=3)
    return figure


def _draw(axes, circuit: Circuit, title: str, loaded: bool) -> None:
    boxes = {wire: [] for wire in range(circuit.n_qubits)}
    free = [0] * circuit.n_qubits
    for control, target, source in circuit.gates:
        # as far left as the gates before leave room; CNOT and RY side by side take two columns
        wires = range(min(w for w in (control, target) if w >= 0), max(control, target) + 1)
        column = max(free[wire] for wire in wires)
        x = column + (control >= 0)
        for wire in wires:
            free[wire] = x + 1
        color = _DATA if source < 0 else _QUBIT
        name = rf"$x_{{{-1 - source}}}$" if source < 0 else rf"$\theta_{{{source}}}$"
        corner = x - 0.36, target - 0.32
        axes.add_patch(Rectangle(corner, 0.72, 0.64, fc="none", ec=color, lw=1.3))
        axes.text(x, target, name, ha="center", va="center", fontsize=8, color=color)
        boxes[target].append(x)
        if control >= 0:
            axes.plot([column] * 2, [control, target], color=_QUBIT, lw=1.2)
            axes.plot(column, control, "o", ms=5, color=_QUBIT)
            axes.plot(column, target, "o", ms=9, mfc="none", mew=1.2, color=_QUBIT)
            axes.plot(column, target, "+", ms=9, mew=1.2, color=_QUBIT)
    end = max(free) - 1
    for wire, taken in boxes.items():
        # a wire is interrupted where boxes stand on it
        edges = [-0.9, *(edge for x in sorted(taken) for edge in (x - 0.36, x + 0.36)), end + 0.8]
        for piece in zip(edges[::2], edges[1::2], strict=True):
            axes.plot(piece, [wire, wire], color=INK, lw=1, zorder=0)
    if loaded:
        height = circuit.n_qubits - 0.3
        axes.add_patch(Rectangle((-1.7, -0.35), 0.8, height, fc="none", ec=_DATA, lw=1.3))
        axes.text(-1.3, (circuit.n_qubits - 1) / 2, "x / |x|", rotation=90, ha="center",
                  va="center", fontsize=9, color=_DATA)  # fmt: skip
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
