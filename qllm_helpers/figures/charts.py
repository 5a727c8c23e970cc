"""Figures of result tables: accuracies, differences, and what was reported."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qllm_helpers.figures.style import FAMILY_STYLE, INK, SEQUENCE, families, new_figure, styled
from qllm_helpers.results.statistics import paired_values, pareto_front, summarise

AXIS = {
    "test_accuracy": "test accuracy (fraction)",
    "validation_accuracy": "validation accuracy (fraction)",
    "macro_f1": "macro F1 (fraction)",
    "n_parameters": "parameters, as printed (nominal)",
    "n_live_parameters": "parameters with a gradient (live)",
    "n_effective_parameters": "independent directions (effective)",
    "fit_seconds": "time to fit (s)",
}


def _bars(axes, x, table, **options) -> None:
    """Means with their intervals."""
    low, high = table["mean"] - table["low"], table["high"] - table["mean"]
    errors = np.nan_to_num(np.array([low, high], dtype=float))  # one seed: no interval
    axes.errorbar(x, table["mean"], yerr=errors, capsize=2.5, elinewidth=1.2, **options)


def _lines(table) -> list[tuple]:
    """Place, row and style of every line of a chart with one line a head."""
    looks = [FAMILY_STYLE[family] for family in families(table)]
    return list(zip(range(len(table)), table.to_dict("records"), looks, strict=True))


def legend_above(figure: Figure, axes, columns: int, *, extra=(), spacing: float = 1.2) -> None:
    """Legend of one panel, or of the `extra` handles alone, above the figure: it hides nothing."""
    handles = [] if axes is None else axes.get_legend_handles_labels()[0]
    figure.legend(
        handles=[*handles, *extra],
        loc="outside upper center",
        ncols=columns,
        columnspacing=spacing,
        labelcolor=INK,
        frameon=False,
    )


@styled
def accuracy_by_mode(
    rows: pd.DataFrame,
    *,
    reference: str | None = "LogisticRegression",
    value: str = "test_accuracy",
    height: float = 3.8,
) -> Figure:
    """Accuracy of photonic heads against modes, one line per number of photons.

    Parameters
    ----------
    rows : DataFrame
        One row per fit; rows with ``n_modes`` and without a ``twin`` are drawn.
    reference : str or None
        Head drawn as a horizontal line with its interval as a band; None for none.
    value : str
        Column on the vertical axis.
    height : float
        Inches.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no photonic row, no row of the reference, or two heads of the same size.
    """
    if reference is not None and reference not in set(rows["head"]):
        raise ValueError(
            f"no rows of the reference {reference!r}; heads: {list(set(rows['head']))}"
        )
    photonic = rows[rows["n_modes"].notna()]
    if "twin" in rows.columns:
        photonic = photonic[photonic["twin"].isna()]
    table = summarise(photonic, by=("n_modes", "n_photons"), value=value)
    if photonic.groupby(["n_modes", "n_photons"])["head"].nunique().max() > 1:
        raise ValueError(
            "several heads have the same numbers of modes and photons: filter the rows by head"
        )
    figure, axes = new_figure(height)
    color = FAMILY_STYLE["photonic"].color
    photons = sorted(table["n_photons"].unique())
    for place, count in enumerate(photons):
        line = table[table["n_photons"] == count].sort_values("n_modes")
        shift = 0.14 * (place - (len(photons) - 1) / 2)  # so that intervals do not overlap
        marker, style = SEQUENCE[place % len(SEQUENCE)]
        label = f"{count:.0f} photon{'s' if count > 1 else ''}"
        face = color if place % 2 == 0 else "none"
        look = {"marker": marker, "linestyle": style, "color": color, "markerfacecolor": face}
        _bars(axes, line["n_modes"] + shift, line, label=label, **look)
    if reference is not None:
        _reference_band(axes, rows, reference, value)
    axes.set_xticks(sorted(table["n_modes"].unique()))
    axes.set(xlabel="modes", ylabel=AXIS.get(value, value))
    axes.grid(axis="x", visible=False)
    legend_above(figure, axes, columns=3 if len(photons) != 3 else 2)
    return figure


def _reference_band(axes, rows, reference, value) -> None:
    line = summarise(rows[rows["head"] == reference], value=value).iloc[0]
    style = FAMILY_STYLE[families(line.to_frame().T).iloc[0]]
    axes.axhline(line["mean"], color=style.color, label=reference, zorder=1)
    if np.isfinite(line["low"]):
        axes.axhspan(line["low"], line["high"], color=style.color, alpha=0.2, lw=0, zorder=0)


@styled
def accuracy_by_parameters(
    rows: pd.DataFrame,
    *,
    counts: Sequence[str] = ("n_parameters", "n_live_parameters", "n_effective_parameters"),
    value: str = "test_accuracy",
    label_front: bool = True,
    height: float = 2.9,
) -> Figure:
    """Accuracy against the number of parameters, with intervals and the Pareto front.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    counts : sequence of str
        Columns that count parameters; one panel each. Heads without a count are left out.
    value : str
        Column on the vertical axis.
    label_front : bool
        Write the name of the heads on the front.
    height : float
        Inches of one panel.

    Returns
    -------
    Figure
    """
    table = summarise(rows, value=value)
    table["family"] = families(table)
    figure, panels = new_figure(
        height * len(counts) + 0.4, rows=len(counts), sharex=True, sharey=True, squeeze=False
    )
    for axes, count in zip(panels[:, 0], counts, strict=True):
        known = table[table[count].notna()]
        for family in [name for name in FAMILY_STYLE if name in set(known["family"])]:
            style = FAMILY_STYLE[family]
            part = known[known["family"] == family]
            look = {"marker": style.marker, "color": style.color, "linestyle": "none"}
            _bars(axes, part[count], part, label=style.label, **look)
        _draw_front(axes, known, count, label_front)
        axes.set_xscale("log")
        axes.tick_params(labelbottom=True)
        axes.set(xlabel=AXIS.get(count, count), ylabel=AXIS.get(value, value))
    legend_above(figure, panels[0, 0], columns=4)
    return figure


def _draw_front(axes, table, count, label) -> None:
    front = table[pareto_front(table, cost=count)].sort_values(count)
    if front.empty:
        return
    x, y = front[count].to_list(), front["mean"].to_list()
    x.append(table[count].max())
    y.append(y[-1])
    axes.step(x, y, where="post", color=INK, lw=1, ls="--", zorder=0, label="Pareto front")
    if label:
        for at, height, name in zip(x, y, front["head"], strict=False):
            axes.annotate(name, (at, height), (4, 7), textcoords="offset points", fontsize=8)


@styled
def difference_forest(
    table: pd.DataFrame,
    *,
    reference: str = "LogisticRegression",
    margin: float | None = None,
    alpha: float = 0.05,
) -> Figure:
    """Paired differences to a reference, with intervals, one line a head.

    Parameters
    ----------
    table : DataFrame
        From :func:`qllm_helpers.results.statistics.paired_differences`; a column ``family``, if
        there, fixes the colours.
    reference : str
        Its name, for the axis.
    margin : float or None
        Half-width (fraction) of a shaded band: differences that count as none.
    alpha : float
        Heads whose corrected p-value is below it have a filled marker, others a hollow one.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(0.3 * len(table) + 1.1)
    for place, row, style in _lines(table):
        face = style.color if row["p_corrected"] < alpha else "none"
        error = [[row["difference"] - row["low"]], [row["high"] - row["difference"]]]
        look = {"marker": style.marker, "color": style.color, "markerfacecolor": face}
        axes.errorbar(row["difference"], place, xerr=error, capsize=2.5, **look)
    axes.axvline(0, color=INK, lw=1)
    if margin is not None:
        axes.axvspan(-margin, margin, color=INK, alpha=0.15, lw=0)
    axes.set_yticks(range(len(table)), table["head"])
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(f"difference to {reference}\nin test accuracy (fraction)")
    axes.grid(axis="y", visible=False)
    return figure


@styled
def seed_strip(rows: pd.DataFrame, *, value: str = "test_accuracy", lines: bool = False) -> Figure:
    """Every seed of every head as a dot, with the mean and its interval.

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
    wide = paired_values(rows, value=value)
    table = summarise(rows, value=value)
    figure, axes = new_figure(0.42 * len(table) + 0.9)
    places = np.arange(len(table))
    if lines:
        axes.plot(wide.to_numpy().T, places + 0.16, color=INK, alpha=0.25, lw=0.7)
    for place, row, style in _lines(table):
        values = wide[row["head"]].dropna()
        axes.plot(
            values, np.full(len(values), place + 0.16), "o", ms=4, color=style.color, alpha=0.45
        )
        error = np.nan_to_num([[row["mean"] - row["low"]], [row["high"] - row["mean"]]])
        look = {"marker": style.marker, "ms": 8, "color": style.color}
        axes.errorbar(row["mean"], place - 0.16, xerr=error, capsize=3, **look)
    axes.set_yticks(places, table["head"])
    axes.set_ylim(len(table) - 0.6, -0.6)
    axes.set_xlabel(AXIS.get(value, value))
    axes.grid(axis="y", visible=False)
    return figure


@styled
def headline(table: pd.DataFrame) -> Figure:
    """Reported accuracies next to ours with intervals, one line a published row.

    Parameters
    ----------
    table : DataFrame
        Columns ``label``, ``reported`` (fraction, NaN if none), ``mean``, ``low``, ``high``
        (NaN where nothing was run), and ``family``; ``tuned_mean``, ``tuned_low`` and
        ``tuned_high``, if there, are drawn as well.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(0.36 * len(table) + 1.2)
    half = {"fillstyle": "left", "markerfacecoloralt": "none"}
    looks = {"": {}} | ({"tuned_": half} if "tuned_mean" in table else {})
    for place, row, style in _lines(table):
        look = {"marker": style.marker, "color": style.color, "ls": "none"}
        axes.plot(row["reported"], place - 0.14, mfc="none", mew=1.6, **look)
        for prefix, more in looks.items():
            mean, low, high = (row[prefix + name] for name in ("mean", "low", "high"))
            error = np.nan_to_num([[mean - low], [high - mean]])
            axes.errorbar(mean, place + 0.14, xerr=error, capsize=3, **look | more)
    hollow = {"marker": "o", "color": INK, "ls": "none"}
    axes.plot([], [], mfc="none", mew=1.6, label="reported", **hollow)
    axes.plot([], [], label="here: mean and 95 % interval", **hollow)
    if "tuned_" in looks:
        axes.plot([], [], label="the same on a fine-tuned body", **hollow | looks["tuned_"])
    axes.set_yticks(range(len(table)), table["label"])
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlabel(AXIS["test_accuracy"])
    axes.grid(axis="y", visible=False)
    legend_above(figure, axes, columns=2)
    return figure
