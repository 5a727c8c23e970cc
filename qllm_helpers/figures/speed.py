"""Figures of measured speed: ratios to MerLin, growth with each size, time beside its bounds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, StrMethodFormatter

from qllm_helpers.figures.style import FAMILY_STYLE, INK, legend_above, new_figure

_LABELS = {
    "n_modes": "modes (2 photons, 20 replicas)",
    "n_photons": "photons (8 modes, 20 replicas)",
    "n_replicas": "replicas (8 modes, 2 photons)",
    "batch": "batch (8 modes, 2 photons)",
}


def _color(family: str) -> str:
    return FAMILY_STYLE[family].color


def _circuits_down(axes, part: pd.DataFrame) -> np.ndarray:
    """Places of horizontal bars, one circuit a line from top to bottom."""
    places = np.arange(len(part))
    names = [f"{m}, {n}" for m, n in zip(part["n_modes"], part["n_photons"], strict=True)]
    axes.set_yticks(places, names)
    axes.set_ylim(len(part) - 0.5, -0.5)
    axes.set_ylabel("modes, photons")
    axes.grid(axis="y", visible=False)
    return places


def ratio_bars(rows: pd.DataFrame) -> Figure:
    """How many times faster than MerLin ours is; `rows`: ours of one task in "benchmark"."""
    if "ratio" not in rows or rows["ratio"].isna().all():
        raise ValueError("the rows have no ratio: measure MerLin and our layer together")
    groups = list(rows.groupby("n_replicas"))
    figure, axes = new_figure(0.5 * len(groups[0][1]) + 1.1)
    height = 0.8 / len(groups)
    for place, (replicas, part) in enumerate(groups):
        at = _circuits_down(axes, part) + height * (place - (len(groups) - 1) / 2)
        label = "1 replica" if replicas == 1 else f"{replicas} replicas, per replica"
        look = {"color": _color(("svc", "photonic", "mlp")[place % 3]), "label": label}
        bars = axes.barh(at, part["ratio"] - 1, height * 0.9, left=1, **look)
        axes.bar_label(bars, fmt=lambda x: f"{x + 1:.0f}", padding=3, fontsize=9, color=INK)
    axes.set(xscale="log", xlabel="times faster than MerLin")
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    legend_above(figure, axes, columns=2)
    return figure


def growth_panels(table: pd.DataFrame) -> Figure:
    """Time of a training step against each size, from the measured table "benchmark"."""
    figure, panels = new_figure(8.4, rows=4)
    for axes, (size, label) in zip(panels, _LABELS.items(), strict=True):
        rows = table[table["series"] == size.removeprefix("n_")].sort_values(size)
        sizes, milliseconds = rows[size], 1e3 * rows["seconds"]
        axes.plot(sizes, milliseconds, "D-", color=_color("photonic"), label="measured")
        if size in ("n_replicas", "batch"):
            linear = milliseconds.iloc[-1] * sizes / sizes.iloc[-1]
            axes.plot(sizes, linear, ":", color=INK, label="in proportion")
            axes.legend(loc="lower right", labelcolor=INK)
            axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(sizes, sizes.astype(str))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set(xlabel=label, ylabel="time (ms)")
    return figure


def time_and_bounds(rows: pd.DataFrame) -> Figure:
    """Time of every circuit beside its bounds; `rows`: ours of one task in "benchmark"."""
    groups = list(rows.groupby("n_replicas"))
    figure, panels = new_figure(3.3 * len(groups) + 0.5, rows=len(groups), squeeze=False)
    bounds = {"launch": "svc", "arithmetic": "mlp", "memory": "twin"}
    for axes, (replicas, part) in zip(panels[:, 0], groups, strict=True):
        places, left = _circuits_down(axes, part), np.zeros(len(part))
        for name, family in bounds.items():
            widths = 1e3 * part[f"bound_{name}"].to_numpy()
            axes.barh(places, widths, 0.62, left=left, color=_color(family), label=name)
            left += widths
        axes.plot(1e3 * part["seconds"], places, "D", color=_color("photonic"), label="measured")
        axes.set_title(f"{replicas} replica{'s' if replicas > 1 else ''}", loc="left", fontsize=11)
        axes.set_xlabel("time of a training step (ms)")
    legend_above(figure, panels[0, 0], columns=4)
    return figure
