"""One row a head: differences with a margin, seeds as dots, measurements beside each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qllm_helpers.figures.style import AXIS, INK, errors, legend_above, looks, new_figure, styled
from qllm_helpers.results.intervals import paired_values, summarise


def _name_rows(axes, names, xlabel: str) -> None:
    """Names of the heads down the left side, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(xlabel)
    axes.grid(axis="y", visible=False)


@styled
def difference_forest(
    table: pd.DataFrame,
    *,
    label: str = "{head}",
    reference: str = "LogisticRegression",
    margin: float | None = None,
) -> Figure:
    """Paired differences with 95 % intervals, one row a pair; hollow: no difference was shown.

    Parameters
    ----------
    table : DataFrame
        From :func:`qllm_helpers.results.contrasts.compare`.
    label : str
        Name of a row, with columns in braces.
    reference : str
        What the differences are to, for the axis.
    margin : float or None
        Half-width (fraction) of a shaded band: differences that count as none.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(0.3 * len(table) + 1.1)
    bars = errors(table, "difference")
    for place, (row, style) in enumerate(zip(table.to_dict("records"), looks(table), strict=True)):
        shown = row["verdict"] in ("better", "worse")
        look = {
            "marker": style.marker,
            "color": style.color,
            "mfc": style.color if shown else "none",
        }
        axes.errorbar(row["difference"], place, xerr=bars[:, [place]], capsize=2.5, **look)
    axes.axvline(0, color=INK, lw=1)
    if margin is not None:
        axes.axvspan(-margin, margin, color=INK, alpha=0.15, lw=0)
    names = [label.format(**row) for row in table.to_dict("records")]
    _name_rows(axes, names, f"difference to {reference}\nin test accuracy (fraction)")
    return figure


@styled
def seed_strip(rows: pd.DataFrame, *, value: str = "test_accuracy", lines: bool = False) -> Figure:
    """Every seed of every head as a dot, with the mean and its 95 % interval.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    value : str
        Column to draw.
    lines : bool
        Join the dots of one seed, to show that seeds move all heads together.

    Returns
    -------
    Figure
    """
    wide, table = paired_values(rows, value=value), summarise(rows, value=value)
    figure, axes = new_figure(0.42 * len(table) + 0.9)
    places, bars = np.arange(len(table)), errors(table)
    if lines:
        axes.plot(wide.to_numpy().T, places + 0.16, color=INK, alpha=0.25, lw=0.7)
    for place, (row, style) in enumerate(zip(table.to_dict("records"), looks(table), strict=True)):
        values = wide[row["head"]].dropna()
        dots = {"ms": 4, "color": style.color, "alpha": 0.45}
        axes.plot(values, np.full(len(values), place + 0.16), "o", **dots)
        look = {"marker": style.marker, "ms": 8, "color": style.color, "capsize": 3}
        axes.errorbar(row["mean"], place - 0.16, xerr=bars[:, [place]], **look)
    _name_rows(axes, table["head"], AXIS.get(value, value))
    return figure


#: How the first, second and third measurement of a row are told apart.
_FILLS = (
    {"fillstyle": "full"},
    {"fillstyle": "left", "markerfacecoloralt": "none"},
    {"fillstyle": "none"},
)


@styled
def beside(
    tables: Mapping[str, pd.DataFrame],
    *,
    label: str = "head",
    reported: str | None = "reported",
    reference: str | None = None,
    joined: bool = False,
    xlabel: str = AXIS["test_accuracy"],
) -> Figure:
    """One row a head: what was reported, and what was measured in one or more ways.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Name of a way of measuring, and its rows: `label`, ``mean``, ``low``, ``high`` and, if all
        seeds shall be seen, ``lowest`` and ``highest`` (drawn as a pale bar), from
        :func:`qllm_helpers.results.intervals.summarise`. The first table fixes the rows.
    label : str
        Column with the name of a row.
    reported : str or None
        Column of the first table, drawn as a ring (NaN: not reported).
    reference : str or None
        Row whose means are drawn as vertical lines.
    joined : bool
        Join the measurements of a row by a line.
    xlabel : str
        With its unit.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a table has no row of the reference.
    """
    first = next(iter(tables.values())).reset_index(drop=True)
    names, styles = list(first[label]), looks(first)
    if reference is not None and reference not in names:
        raise ValueError(f"no row of the reference {reference!r}; rows: {names}")
    figure, axes = new_figure(0.36 * len(names) + 1.3)
    shifts = np.linspace(-0.2, 0.2, len(tables) + bool(reported))[bool(reported) :]
    means = []
    for shift, fill, (way, table) in zip(shifts, _FILLS, tables.items(), strict=False):
        table = table.set_index(label).reindex(names)
        means.append(table["mean"].to_numpy(float))
        _measurement(axes, table, np.arange(len(names)) + shift, styles, fill)
        axes.plot([], [], "o", color=INK, label=way, **fill)
        if reference is not None:
            axes.axvline(table.loc[reference, "mean"], color=INK, lw=1, ls=":", zorder=0)
    if joined:
        for place, style in enumerate(styles):
            path = [values[place] for values in means]
            axes.plot(path, place + shifts, color=style.color, lw=1, alpha=0.6)
    if reported:
        ring = {"marker": "o", "mfc": "none", "mec": INK, "mew": 1.6, "ls": "none"}
        axes.plot(first[reported], np.arange(len(names)) - 0.2, label="reported", **ring)
    _name_rows(axes, names, xlabel)
    legend_above(figure, axes, columns=2)
    return figure


def _measurement(axes, table: pd.DataFrame, at: np.ndarray, styles, fill: dict) -> None:
    """Means with intervals, one a row, over a pale bar from the lowest to the highest seed."""
    bars = errors(table)
    for place, (row, style) in enumerate(zip(table.iloc, styles, strict=True)):
        look = {"marker": style.marker, "color": style.color, "capsize": 2.5} | fill
        if "lowest" in table:
            ends = row["lowest"], row["highest"]
            axes.hlines(at[place], *ends, color=style.color, alpha=0.25, lw=5)
        axes.errorbar(row["mean"], at[place], xerr=bars[:, [place]], **look)
