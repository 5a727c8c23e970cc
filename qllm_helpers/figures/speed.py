"""Figures of measured speed: ratios to MerLin, growth with each size, time beside its bounds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, StrMethodFormatter

from qllm_helpers.benchmarks.tables import BOUNDS, SERIES
from qllm_helpers.figures.charts import legend_above
from qllm_helpers.figures.style import FAMILY_STYLE, INK, new_figure

__all__ = ["growth_panels", "ratio_bars", "time_and_bounds"]

_LABELS = {
    "modes": "modes (2 photons, 20 replicas)",
    "photons": "photons (8 modes, 20 replicas)",
    "replicas": "replicas (8 modes, 2 photons)",
    "batch": "batch (8 modes, 2 photons)",
}


def _circuits(table: pd.DataFrame) -> list[str]:
    return [f"{m}, {n}" for m, n in zip(table["n_modes"], table["n_photons"], strict=True)]


def ratio_bars(ratios: pd.DataFrame) -> Figure:
    """How many times faster than MerLin each circuit is, alone and beside other replicas.

    Parameters
    ----------
    ratios : DataFrame
        From :func:`qllm_helpers.benchmarks.tables.speed_ratios`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the table has no ratio.
    """
    columns = [name for name in ratios.columns if name.startswith("ratio_")]
    if not columns:
        raise ValueError("the table has no column ratio_R: measure MerLin and our layer together")
    figure, axes = new_figure(0.5 * len(ratios) + 1.1)
    looks = [FAMILY_STYLE[name] for name in ("svc", "photonic", "mlp")]
    places = np.arange(len(ratios))
    height = 0.8 / len(columns)
    for place, (column, look) in enumerate(zip(columns, looks, strict=False)):
        at = places + height * (place - (len(columns) - 1) / 2)
        replicas = column.removeprefix("ratio_")
        label = "1 replica" if replicas == "1" else f"{replicas} replicas, per replica"
        axes.barh(at, ratios[column] - 1, height * 0.9, left=1, color=look.color, label=label)
        for y, ratio in zip(at, ratios[column], strict=True):
            axes.annotate(f"{ratio:.0f}", (ratio, y), (3, 0), textcoords="offset points",
                          va="center", fontsize=9, color=INK)  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_yticks(places, _circuits(ratios))
    axes.set_ylim(len(ratios) - 0.5, -0.5)
    axes.set(xlabel="times faster than MerLin", ylabel="modes, photons")
    axes.grid(axis="y", visible=False)
    legend_above(figure, axes, columns=2)
    return figure


def growth_panels(table: pd.DataFrame) -> Figure:
    """Time of a training step against modes, photons, replicas and batch.

    Parameters
    ----------
    table : DataFrame
        The measured table "benchmark".

    Returns
    -------
    Figure
    """
    figure, panels = new_figure(8.4, rows=4)
    color = FAMILY_STYLE["photonic"].color
    for axes, (series, column) in zip(panels, SERIES.items(), strict=True):
        rows = table[table["series"] == series].sort_values(column)
        milliseconds = 1e3 * rows["seconds"]
        axes.plot(rows[column], milliseconds, "D-", color=color, label="measured")
        if series in ("replicas", "batch"):
            linear = milliseconds.iloc[-1] * rows[column] / rows[column].iloc[-1]
            axes.plot(rows[column], linear, ":", color=INK, label="in proportion")
            axes.legend(loc="lower right", labelcolor=INK)
            axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(rows[column], [str(size) for size in rows[column]])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set(xlabel=_LABELS[series], ylabel="time (ms)")
    return figure


def time_and_bounds(shares: pd.DataFrame) -> Figure:
    """Measured time of every circuit beside the three things that it cannot be faster than.

    Parameters
    ----------
    shares : DataFrame
        From :func:`qllm_helpers.benchmarks.tables.bound_shares`.

    Returns
    -------
    Figure
        One panel for every number of replicas.
    """
    groups = list(shares.groupby("n_replicas"))
    figure, panels = new_figure(3.3 * len(groups) + 0.5, rows=len(groups), squeeze=False)
    looks = [FAMILY_STYLE[name] for name in ("svc", "mlp", "twin")]
    for axes, (replicas, part) in zip(panels[:, 0], groups, strict=True):
        places = np.arange(len(part))
        left = np.zeros(len(part))
        for name, look in zip(BOUNDS, looks, strict=True):
            widths = part[f"{name}_ms"].to_numpy(float)
            axes.barh(places, widths, 0.62, left=left, color=look.color, label=name)
            left += widths
        axes.plot(part["ms"], places, "D", color=FAMILY_STYLE["photonic"].color, label="measured")
        axes.set_yticks(places, _circuits(part))
        axes.set_ylim(len(part) - 0.5, -0.5)
        axes.set_title(f"{replicas} replica{'s' if replicas > 1 else ''}", loc="left", fontsize=11)
        axes.set(xlabel="time of a training step (ms)", ylabel="modes, photons")
        axes.grid(axis="y", visible=False)
    legend_above(figure, panels[0, 0], columns=4)
    return figure
