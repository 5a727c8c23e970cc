"""The primitives: lines with intervals, one row a head (forest, strip, beside); other shapes."""

from collections.abc import Mapping, Sequence

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
    looks,
    new_figure,
    styled,
)
from qllm_helpers.results.intervals import paired_values, summarise
from qllm_helpers.results.selection import pareto_front


def _line_looks(table: pd.DataFrame, by: str, families: Mapping[str, str] | None) -> dict:
    """Look of every line: its family's colour where families differ, else colours in turn."""
    names = list(table[by].drop_duplicates())
    if families is None and "family" in table.columns:
        known = table.drop_duplicates(by).set_index(by)["family"]
        families = dict(known) if known.nunique() == len(known) else None
    found = {}
    for place, name in enumerate(names):
        marker, dashes = SEQUENCE[place % len(SEQUENCE)]
        look = {"marker": marker, "ls": dashes, "color": COLORS[place % len(COLORS)]}
        family = {} if families is None else FAMILY_STYLE[families[name]].look
        found[name] = look | family
    return found


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


def _references(axes, reference: pd.DataFrame | None, marks: Mapping[str, float] | None) -> None:
    """What the lines are compared with: heads as bands across the panel, upright lines."""
    for place, row in enumerate([] if reference is None else reference.iloc):
        dashes = ("-", ":", "--")[place % 3]
        axes.axhline(row["mean"], color=INK, ls=dashes, label=row["head"], zorder=1)
        if np.isfinite(row["low"]):
            axes.axhspan(row["low"], row["high"], color=INK, alpha=0.18, lw=0, zorder=0)
    for name, value in (marks or {}).items():
        axes.axvline(value, color=INK, ls="-.", label=name, zorder=1)


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

    `table` has the columns `x`, `by`, `y`, with intervals ``low`` and ``high`` (``summarise``), and
    perhaps ``verdict`` (``compare``): differences that were not shown are hollow. `panel`: a column
    whose values get a panel of `height` inches each, in one vertical range if `sharey` and linear.
    `families`: line -> head family, for colours (else the column). `reference`: ``head``, ``mean``,
    ``low``, ``high``, a line with a band. `margin`: half a band around zero, in units of `y`.
    `marks`: name -> `x` of an upright line. `log`: "x", "y" or "xy". No rows: ValueError.
    """
    if table.empty:
        raise ValueError("there is nothing to draw: the table has no rows")
    parts = [("", table)] if panel is None else list(table.groupby(panel, sort=False))
    shared = {"sharex": True, "sharey": sharey and "y" not in log}
    figure, panels = new_figure(height * len(parts), rows=len(parts), squeeze=False, **shared)
    styles, sizes = _line_looks(table, by, families), table[x].astype(float)
    for axes, (title, part) in zip(panels[:, 0], parts, strict=True):
        if margin is not None:
            axes.axhspan(-margin, margin, color=INK, alpha=0.15, lw=0)
            axes.axhline(0, color=INK, lw=1)
        for place, (name, look) in enumerate(styles.items()):
            points = part[(part[by] == name) & np.isfinite(part[x].astype(float))].sort_values(x)
            at = _shifted(points[x], place, len(styles), table[x], "x" in log)
            _line(axes, points, at, y, str(name), look)
        _references(axes, reference, marks)
        _ticks(axes, np.unique(sizes[np.isfinite(sizes)]), log)
        axes.set_ylabel(ylabel)
        axes.set_title(str(title), loc="left", fontsize=11)
    panels[-1, 0].set_xlabel(xlabel or x)
    legend_above(figure, panels[0, 0], columns=2)
    return figure


def _name_rows(axes, names, xlabel: str) -> None:
    """Names of the heads down the left side, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=4)  # names take half of the width
    axes.xaxis.set_major_formatter("{x:g}")
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

    `table` comes from :func:`qllm_helpers.results.contrasts.compare`; `label` names a row, with
    columns in braces; `reference` names, on the axis, what the differences are to. `margin`:
    half-width (fraction) of a shaded band, differences that count as none.
    """
    names = [label.format(**row) for row in table.to_dict("records")]
    height = 0.3 + 0.12 * max((name.count("\n") for name in names), default=0)
    figure, axes = new_figure(height * len(table) + 1.1)
    bars = errors(table, "difference")
    for place, (row, style) in enumerate(zip(table.to_dict("records"), looks(table), strict=True)):
        shown = row["verdict"] in ("better", "worse")
        look = style.look | {"mfc": style.color if shown else "none", "capsize": 2.5}
        axes.errorbar(row["difference"], place, xerr=bars[:, [place]], **look)
    axes.axvline(0, color=INK, lw=1)
    if margin is not None:
        axes.axvspan(-margin, margin, color=INK, alpha=0.15, lw=0)
    _name_rows(axes, names, f"difference to {reference}\nin test accuracy (fraction)")
    return figure


@styled
def seed_strip(
    rows: pd.DataFrame,
    *,
    value: str = "test_accuracy",
    lines: bool = False,
    margin: float | None = None,
) -> Figure:
    """Every seed of every head as a dot, with the mean and its 95 % interval.

    `rows` has one row a fit, `value` is the column to draw. `lines` joins the dots of one seed, to
    show that seeds move all heads together. `margin`: half-width (fraction) of a shaded band around
    the mean of the first head.
    """
    wide, table = paired_values(rows, value=value), summarise(rows, value=value)
    figure, axes = new_figure(0.42 * len(table) + 0.9)
    places, bars = np.arange(len(table)), errors(table)
    if margin is not None:
        middle = table["mean"].iloc[0]
        axes.axvspan(middle - margin, middle + margin, color=INK, alpha=0.15, lw=0)
    if lines:
        axes.plot(wide.to_numpy().T, places + 0.16, color=INK, alpha=0.25, lw=0.7)
    for place, (row, style) in enumerate(zip(table.to_dict("records"), looks(table), strict=True)):
        values = wide[row["head"]].dropna()
        dots = {"ms": 4, "color": style.color, "alpha": 0.45}
        axes.plot(values, np.full(len(values), place + 0.16), "o", **dots)
        look = style.look | {"ms": 8, "capsize": 3}
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
    reference: str | None = None,
    joined: bool = False,
) -> Figure:
    """One row a head: what was reported, and what was measured in one or more ways.

    `tables`: name of a way of measuring -> rows with `label` (the row's name), ``mean``, ``low``,
    ``high`` and, for a pale bar over all seeds, ``lowest`` and ``highest``, all fractions, from
    :func:`qllm_helpers.results.intervals.summarise`; the first fixes the rows, and its column
    ``reported``, if there is one, is drawn as rings (NaN: none). `reference`: the row whose means
    are upright lines; ValueError if it is missing. `joined`: a line joins the marks of a row.
    """
    first = next(iter(tables.values())).reset_index(drop=True)
    names, styles = list(first[label]), looks(first)
    if reference is not None and reference not in names:
        raise ValueError(f"no row of the reference {reference!r}; rows: {names}")
    figure, axes = new_figure(0.36 * len(names) + 1.3)
    reported = "reported" in first
    shifts = np.linspace(-0.2, 0.2, len(tables) + reported)[int(reported) :]
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
        axes.plot(first["reported"], np.arange(len(names)) - 0.2, label="reported", **ring)
    _name_rows(axes, names, AXIS["test_accuracy"])
    legend_above(figure, axes, columns=2)
    return figure


def _measurement(axes, table: pd.DataFrame, at: np.ndarray, styles, fill: dict) -> None:
    """Means with intervals, one a row, over a pale bar from the lowest to the highest seed."""
    bars = errors(table)
    for place, (row, style) in enumerate(zip(table.iloc, styles, strict=True)):
        if "lowest" in table:
            ends = row["lowest"], row["highest"]
            axes.hlines(at[place], *ends, color=style.color, alpha=0.25, lw=5)
        look = style.look | {"capsize": 2.5} | fill
        axes.errorbar(row["mean"], at[place], xerr=bars[:, [place]], **look)


@styled
def accuracy_by_parameters(
    rows: pd.DataFrame,
    *,
    counts: Sequence[str] = ("n_parameters", "n_live_parameters", "n_effective_parameters"),
) -> Figure:
    """Accuracy against the number of parameters, with intervals and the Pareto front.

    One panel for every column in `counts`; a head without a count is left out of its panel.
    """
    table = summarise(rows)
    figure, panels = new_figure(
        2.9 * len(counts) + 0.4, rows=len(counts), sharex=True, sharey=True, squeeze=False
    )
    for axes, count in zip(panels[:, 0], counts, strict=True):
        known = table[table[count].notna()]
        for family in [name for name in FAMILY_STYLE if name in set(known["family"])]:
            style = FAMILY_STYLE[family]
            part = known[known["family"] == family]
            look = style.look | {"ls": "none", "capsize": 2.5}
            axes.errorbar(part[count], part["mean"], yerr=errors(part), label=style.label, **look)
        front = known[pareto_front(known, cost=count)].sort_values(count)
        if len(front):
            x, y = [*front[count], known[count].max()], [*front["mean"], front["mean"].max()]
            axes.step(x, y, where="post", color=INK, lw=1, ls="--", zorder=0, label="Pareto front")
        axes.set_xscale("log")
        axes.tick_params(labelbottom=True)
        axes.set(xlabel=AXIS.get(count, count), ylabel=AXIS["test_accuracy"])
    legend_above(figure, panels[0, 0], columns=4)
    return figure


@styled
def selection_effect_histogram(
    differences: Sequence[float], *, observed: dict[str, float]
) -> Figure:
    """Distribution of "best minus best" under pure noise, with reported differences (fractions).

    `differences` come from :func:`qllm_helpers.results.selection.selection_effect`.
    """
    differences = np.asarray(differences, dtype=float)
    figure, axes = new_figure(3.2)
    weights = np.full(differences.size, 1 / differences.size)
    axes.hist(differences, 60, weights=weights, color=INK, alpha=0.45, label="pure noise")
    axes.axvline(0, color=INK, lw=1)
    styles = [FAMILY_STYLE[name] for name in ("photonic", "qubit", "svc", "mlp")]
    for place, (name, value) in enumerate(observed.items()):
        share = (differences >= value).mean()
        label = f"{name} ({share:.0%} of draws reach it)"
        line = SEQUENCE[place % len(SEQUENCE)][1]
        axes.axvline(value, color=styles[place % 4].color, ls=line, lw=2, label=label)
    axes.set(xlabel="best head minus best reference (fraction)", ylabel="share of draws")
    legend_above(figure, axes, columns=1)
    return figure
