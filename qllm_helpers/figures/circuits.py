"""Figures of the gate-based heads: circuits, sizes, shots and noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from qllm_helpers.figures.charts import AXIS, legend_above
from qllm_helpers.figures.style import FAMILY_STYLE, INK, SEQUENCE, new_figure, styled
from qllm_helpers.qubits.circuits import Circuit
from qllm_helpers.results.statistics import interval, summarise

__all__ = ["accuracy_by_qubits", "circuit_drawing", "device_effects"]


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


def _box(axes, x: float, y: float, text: str, color: str) -> None:
    axes.add_patch(Rectangle((x - 0.36, y - 0.32), 0.72, 0.64, fc="none", ec=color, lw=1.3))
    axes.text(x, y, text, ha="center", va="center", fontsize=8, color=color)


def _wire_pieces(axes, start: float, end: float, wire: int, taken: list[float]) -> None:
    """A wire, interrupted where boxes stand on it."""
    edges = [start, *(e for x in sorted(taken) for e in (x - 0.36, x + 0.36)), end]
    for left, right in zip(edges[::2], edges[1::2], strict=True):
        axes.plot([left, right], [wire, wire], color=INK, lw=1, zorder=0)


def _draw(axes, circuit: Circuit, loaded: bool) -> None:
    quantum, data = FAMILY_STYLE["qubit"].color, FAMILY_STYLE["svc"].color
    boxes = {wire: [] for wire in range(circuit.n_qubits)}
    end = 0
    for (control, target, source), column in zip(circuit.gates, _columns(circuit), strict=True):
        color, x = (data if source < 0 else quantum), column + (control >= 0)
        name = rf"$x_{{{-1 - source}}}$" if source < 0 else rf"$\theta_{{{source}}}$"
        _box(axes, x, target, name, color)
        boxes[target].append(x)
        end = max(end, x)
        if control >= 0:
            axes.plot([column] * 2, [control, target], color=quantum, lw=1.2)
            axes.plot(column, control, "o", ms=5, color=quantum)
            axes.plot(column, target, "o", ms=9, mfc="none", mew=1.2, color=quantum)
            axes.plot(column, target, "+", ms=9, mew=1.2, color=quantum)
    for wire, taken in boxes.items():
        _wire_pieces(axes, -0.9, end + 0.8, wire, taken)
    if loaded:
        height = circuit.n_qubits - 0.3
        axes.add_patch(Rectangle((-1.7, -0.35), 0.8, height, fc="none", ec=data, lw=1.3))
        axes.text(-1.3, (circuit.n_qubits - 1) / 2, "x / |x|", rotation=90, ha="center",
                  va="center", fontsize=9, color=data)  # fmt: skip
    measured = range(circuit.n_qubits) if loaded else (0,)
    for wire in measured:
        axes.text(end + 0.9, wire, r"$\langle Z\rangle$", va="center", fontsize=9, color=INK)
    axes.set_xlim(-1.9, end + 1.9)
    axes.set_ylim(circuit.n_qubits - 0.4, -0.6)
    axes.set_axis_off()


@styled
def circuit_drawing(first: Circuit, second: Circuit) -> Figure:
    """Module 1 above, module 2 below.

    A box is RY: with a trainable angle, or (other colour) with an angle that the sample brings.

    Parameters
    ----------
    first : Circuit
        Behind amplitude encoding; all qubits are measured.
    second : Circuit
        From all zeros; qubit 0 is measured.

    Returns
    -------
    Figure
    """
    heights = [circuit.n_qubits for circuit in (first, second)]
    figure, panels = new_figure(0.5 * sum(heights) + 0.8, rows=2, height_ratios=heights)
    for axes, circuit, loaded, name in zip(
        panels, (first, second), (True, False), ("module 1", "module 2"), strict=True
    ):
        _draw(axes, circuit, loaded)
        axes.set_title(name, loc="left", fontsize=11)
    return figure


@styled
def accuracy_by_qubits(rows: pd.DataFrame, ways: dict[str, str], reference: str) -> Figure:
    """Test accuracy against the number of qubits, one line for each way to make them fewer.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    ways : dict of str to str
        Name of a line and the pattern of its heads, whose one group is the number of qubits.
    reference : str
        Head drawn as a line with a band.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a pattern matches no head.
    """
    figure, axes = new_figure(3.6)
    colors = [FAMILY_STYLE[name].color for name in ("qubit", "svc", "photonic")]
    for place, (name, pattern) in enumerate(ways.items()):
        sizes = rows["head"].str.fullmatch(pattern)
        if not sizes.any():
            raise ValueError(f"no head matches {pattern!r}")
        part = rows[sizes]
        number = part["head"].str.extract(pattern, expand=False).astype(int)
        table = summarise(part.assign(size=number), by="size").sort_values("size")
        error = np.nan_to_num([table["mean"] - table["low"], table["high"] - table["mean"]])
        marker, dashes = SEQUENCE[place % len(SEQUENCE)]
        look = {"marker": marker, "ls": dashes, "color": colors[place % 3], "label": name}
        shift = 0.08 * (place - (len(ways) - 1) / 2)
        axes.errorbar(table["size"] + shift, table["mean"], yerr=error, capsize=2.5, **look)
    line = summarise(rows[rows["head"] == reference]).iloc[0]
    axes.axhline(line["mean"], color=INK, label=reference, zorder=1)
    axes.axhspan(line["low"], line["high"], color=INK, alpha=0.2, lw=0, zorder=0)
    axes.set(xlabel="qubits, or latent values", ylabel=AXIS["test_accuracy"])
    axes.xaxis.get_major_locator().set_params(integer=True)
    legend_above(figure, axes, columns=2)
    return figure


@styled
def device_effects(changes: pd.DataFrame, columns: Sequence[str] = ("shots", "rate")) -> Figure:
    """Change of the test accuracy against shots and against the rate of noise, with intervals.

    Parameters
    ----------
    changes : DataFrame
        From :func:`qllm_helpers.studies.shots.changes`.
    columns : sequence of str
        One panel each.

    Returns
    -------
    Figure
    """
    figure, panels = new_figure(2.6 * len(columns), rows=len(columns), sharey=True, squeeze=False)
    names = {"shots": "shots of each module", "rate": "depolarising rate behind every gate"}
    style = FAMILY_STYLE["qubit"]
    for axes, column in zip(panels[:, 0], columns, strict=True):
        part = changes[changes[column].notna() & (changes[column] > 0)]
        groups = part.groupby(column)["change"]
        mean, bounds = groups.mean(), np.array([interval(v.to_numpy()) for _, v in groups])
        error = [mean - bounds[:, 0], bounds[:, 1] - mean]
        look = {"marker": style.marker, "color": style.color, "capsize": 2.5}
        axes.errorbar(mean.index.to_numpy(float), mean, yerr=np.array(error), **look)
        axes.axhline(0, color=INK, lw=1)
        axes.set_xscale("log")
        axes.set(xlabel=names[column], ylabel="change of accuracy\n(fraction)")
    return figure
