"""Lines with intervals: one primitive for everything that grows with a size or a setting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter

from qllm_helpers.figures.style import (
    AXIS,
    COLORS,
    FAMILY_STYLE,
    INK,
    SEQUENCE,
    errors,
    legend_above,
    new_figure,
    styled,
)


def _looks(table: pd.DataFrame, by: str, families: Mapping[str, str] | None) -> dict:
    """Look of every line: its family's colour where families differ, else colours in turn."""
    names = list(table[by].drop_duplicates())
    if families is None and "family" in table.columns:
        known = table.drop_duplicates(by).set_index(by)["family"]
        families = dict(known) if known.nunique() == len(known) else None
    looks = {}
    for place, name in enumerate(names):
        marker, dashes = SEQUENCE[place % len(SEQUENCE)]
        color = COLORS[place % len(COLORS)]
        if families is not None:
            color, marker = FAMILY_STYLE[families[name]].color, FAMILY_STYLE[families[name]].marker
        looks[name] = {"marker": marker, "ls": dashes, "color": color}
    return looks


def _shifted(x: pd.Series, place: int, count: int, table: pd.DataFrame, log: bool) -> pd.Series:
    """Lines side by side, so that their intervals can be read where they meet."""
    middle = place - (count - 1) / 2
    if log:
        return x.astype(float) * 1.045**middle
    steps = np.diff(np.unique(table.to_numpy(float)))
    return x.astype(float) + (0.1 * steps.min() * middle if len(steps) else 0.0)


def _line(axes, part: pd.DataFrame, at: pd.Series, y: str, name: str, look: dict) -> None:
    """One line; where the rows carry a verdict, a hollow mark is one that found no difference."""
    bars = errors(part, y) if {"low", "high"} <= set(part.columns) else None
    shown = part["verdict"].isin(["better", "worse"]) if "verdict" in part else at.notna()
    hollow = look | {"mfc": "none"}
    axes.errorbar(at, part[y], yerr=bars, capsize=2.5, elinewidth=1.2, **hollow)
    axes.plot(at[shown], part[y][shown], **look | {"ls": "none"})
    axes.plot([], [], label=name, **look)


def _ticks(axes, values: np.ndarray, log: str) -> None:
    """Ticks at the sizes that were run, if they are few."""
    if "x" in log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    if "y" in log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    if len(values) <= 8:
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(values, [f"{value:,.10g}" for value in values])


def reference_band(axes, row: pd.Series, dashes: str = "-", color: str = INK) -> None:
    """Mean and interval of a head across a panel."""
    axes.axhline(row["mean"], color=color, ls=dashes, label=row["head"], zorder=1)
    if np.isfinite(row["low"]):
        axes.axhspan(row["low"], row["high"], color=color, alpha=0.18, lw=0, zorder=0)


@styled
def lines(
    table: pd.DataFrame,
    x: str,
    *,
    by: str = "head",
    panel: str | None = None,
    y: str = "mean",
    xlabel: str = "",
    ylabel: str = AXIS["test_accuracy"],
    families: Mapping[str, str] | None = None,
    reference: pd.DataFrame | None = None,
    margin: float | None = None,
    marks: Mapping[str, float] | None = None,
    log: str = "",
    sharey: bool = True,
    height: float = 3.6,
) -> Figure:
    """Means with intervals against a size or a setting, one line a head.

    Parameters
    ----------
    table : DataFrame
        Columns `x`, `by`, `y` and, where there are intervals, ``low`` and ``high``: for example
        from :func:`qllm_helpers.results.intervals.summarise`. With a column ``verdict`` (from
        :func:`qllm_helpers.results.contrasts.compare`) differences that were not shown are hollow.
    x, by, y : str
        Columns of the horizontal axis, of the name of a line, of its height.
    panel : str or None
        Column whose values get a panel each, one under the other.
    xlabel, ylabel : str
        With units.
    families : dict of str to str, optional
        Line -> head family that gives its colour; default: the column ``family``, if all differ.
    reference : DataFrame, optional
        Rows with ``head``, ``mean``, ``low``, ``high``: a line with a band across every panel.
    margin : float, optional
        Half-width of a band around zero: differences that count as none.
    marks : dict of str to float, optional
        Name and value of `x`: an upright line.
    log : str
        Logarithmic axes: ``"x"``, ``"y"`` or ``"xy"``.
    sharey : bool
        One vertical range for all panels (not if that axis is logarithmic).
    height : float
        Inches of a panel.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the table has no rows.
    """
    if table.empty:
        raise ValueError("there is nothing to draw: the table has no rows")
    parts = [("", table)] if panel is None else list(table.groupby(panel, sort=False))
    shared = {"sharex": True, "sharey": sharey and "y" not in log}
    figure, panels = new_figure(height * len(parts), rows=len(parts), squeeze=False, **shared)
    looks = _looks(table, by, families)
    for axes, (title, part) in zip(panels[:, 0], parts, strict=True):
        if margin is not None:
            axes.axhspan(-margin, margin, color=INK, alpha=0.15, lw=0)
            axes.axhline(0, color=INK, lw=1)
        for place, (name, look) in enumerate(looks.items()):
            points = part[(part[by] == name) & np.isfinite(part[x].astype(float))].sort_values(x)
            at = _shifted(points[x], place, len(looks), table[x], "x" in log)
            _line(axes, points, at, y, str(name), look)
        for place, row in enumerate((reference if reference is not None else table[:0]).iloc):
            reference_band(axes, row, ("-", ":", "--")[place % 3])
        for name, value in (marks or {}).items():
            axes.axvline(value, color=INK, ls="-.", label=name, zorder=1)
        _ticks(axes, np.unique(table[x][np.isfinite(table[x].astype(float))].astype(float)), log)
        axes.set(ylabel=ylabel)
        axes.set_title(str(title), loc="left", fontsize=11)
    panels[-1, 0].set_xlabel(xlabel or x)
    legend_above(figure, panels[0, 0], columns=2)
    return figure


@styled
def training_curves(histories: pd.DataFrame | dict[str, pd.DataFrame]) -> Figure:
    """Loss and validation accuracy over the epochs: mean of the replicas, and their range.

    Parameters
    ----------
    histories : DataFrame or dict of str to DataFrame
        ``history_`` of a fitted estimator, or several by name.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a column is missing.
    """
    histories = {"": histories} if isinstance(histories, pd.DataFrame) else histories
    figure, panels = new_figure(4.8, rows=2, sharex=True)
    columns = (
        ("train_loss", 0, "-"),
        ("validation_loss", 0, "--"),
        ("validation_accuracy", 1, "-"),
    )
    kinds = {"train_loss": "training", "validation_loss": "validation"}
    for color, (name, history) in zip(COLORS * len(histories), histories.items(), strict=False):
        if not {"epoch", "train_loss"} <= set(history.columns):
            raise ValueError("a history needs the columns epoch and train_loss")
        for column, panel, dashes in columns:
            if column not in history.columns or history[column].isna().all():
                continue
            spread = history.groupby("epoch")[column].agg(["mean", "min", "max"])
            label = " ".join(part for part in (name, kinds.get(column, "")) if part)
            panels[panel].plot(spread.index, spread["mean"], dashes, color=color, label=label)
            panels[panel].fill_between(
                spread.index, spread["min"], spread["max"], color=color, alpha=0.18, lw=0
            )
    panels[0].set_ylabel("cross-entropy (nats)")
    panels[1].set(xlabel="epoch", ylabel="validation accuracy\n(fraction)")
    legend_above(figure, panels[0], columns=2)
    return figure
