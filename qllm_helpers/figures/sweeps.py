"""Figures of sweeps over modes and photons: what was reported, and lines by kind of photons."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from qllm_helpers.figures.charts import AXIS, legend_above
from qllm_helpers.figures.style import FAMILY_STYLE, INK, new_figure
from qllm_helpers.results.sweeps import KINDS

__all__ = ["lines_by_photons", "published_beside_ours"]

_LOOKS = {
    KINDS[False, False]: ("photonic", "-", True),
    KINDS[False, True]: ("svc", "--", False),
    KINDS[True, False]: ("twin", ":", True),
    KINDS[True, True]: ("mlp", "-.", False),
}
_COLORS = {"frozen body": FAMILY_STYLE["svc"], "tuned body": FAMILY_STYLE["photonic"]}


def published_beside_ours(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Reported accuracy of every circuit, our mean with its interval, and the range of our seeds.

    Parameters
    ----------
    tables : dict of str to DataFrame
        From :func:`qllm_helpers.results.sweeps.beside_published`, keyed "frozen body" or "tuned
        body".

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a key is unknown.
    """
    if unknown := set(tables) - set(_COLORS):
        raise ValueError(f"unknown state {sorted(unknown)[0]!r}; known: {list(_COLORS)}")
    first = next(iter(tables.values()))
    figure, axes = new_figure(0.42 * len(first) + 1.5)
    places = np.arange(len(first))
    for offset, (name, table) in zip((0.0, 0.3), tables.items(), strict=False):
        look, at = _COLORS[name], places + offset
        axes.hlines(at, table["least"], table["most"], color=look.color, alpha=0.3, lw=5)
        errors = [table["mean"] - table["low"], table["high"] - table["mean"]]
        style = {"marker": look.marker, "color": look.color, "ls": "none", "capsize": 2.5}
        axes.errorbar(table["mean"], at, xerr=np.nan_to_num(errors), label=name, **style)
    axes.plot(first["reported"], places - 0.28, "o", mfc="none", mec=INK, mew=1.6)
    names = [f"{m}, {n}" for m, n in zip(first["n_modes"], first["n_photons"], strict=True)]
    axes.set_yticks(places, names)
    axes.set_ylim(len(first) - 0.4, -0.6)
    axes.set(xlabel=AXIS["test_accuracy"], ylabel="modes, photons")
    axes.grid(axis="y", visible=False)
    ring = {"marker": "o", "mfc": "none", "mec": INK, "mew": 1.6, "ls": "none"}
    reported = Line2D([], [], label="reported", **ring)
    legend_above(figure, axes, columns=3, extra=[reported], spacing=1.0)
    return figure


def lines_by_photons(
    table: pd.DataFrame,
    label: str,
    *,
    value: str = "mean",
    reference: tuple[str, pd.DataFrame] | None = None,
    log: bool = False,
) -> Figure:
    """A quantity against the number of photons, one line a kind of photons, one panel a width.

    Parameters
    ----------
    table : DataFrame
        Columns n_modes, n_photons, kind (values of :data:`qllm_helpers.results.sweeps.KINDS`),
        `value`,
        and, if there are intervals, low and high.
    label : str
        What the vertical axis shows, with its unit.
    value : str
        Column to draw.
    reference : tuple of str and DataFrame, optional
        Name, and one row with mean, low and high: drawn as a line with a band.
    log : bool
        Logarithmic vertical axis.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a kind is unknown.
    """
    if unknown := set(table["kind"]) - set(_LOOKS):
        raise ValueError(f"unknown kind {sorted(unknown)[0]!r}; known: {list(_LOOKS)}")
    widths = sorted(table["n_modes"].unique())
    figure, panels = new_figure(2.5 * len(widths) + 0.9, rows=len(widths), sharex=True,
                                sharey=not log, squeeze=False)  # fmt: skip
    kinds = [kind for kind in _LOOKS if kind in set(table["kind"])]
    for axes, width in zip(panels[:, 0], widths, strict=True):
        for place, kind in enumerate(kinds):
            part = table[(table["n_modes"] == width) & (table["kind"] == kind)]
            shift = 0.08 * (place - (len(kinds) - 1) / 2)
            _line(axes, part.sort_values("n_photons"), kind, value, shift)
        if reference is not None:
            _band(axes, *reference)
        axes.set_title(f"{width} modes", loc="left", fontsize=11)
        axes.set_ylabel(label)
        if log:
            _log_axis(axes)
        axes.set_xticks(sorted(table["n_photons"].unique()))
        axes.grid(axis="x", visible=False)
    panels[-1, 0].set_xlabel("photons")
    legend_above(figure, panels[0, 0], columns=2)
    return figure


def _log_axis(axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _line(axes, part: pd.DataFrame, kind: str, value: str, shift: float) -> None:
    family, dashes, filled = _LOOKS[kind]
    style = FAMILY_STYLE[family]
    look = {"marker": style.marker, "color": style.color, "ls": dashes, "label": kind}
    look["markerfacecolor"] = style.color if filled else "none"
    spread = None
    if {"low", "high"} <= set(part.columns):
        spread = np.nan_to_num([part[value] - part["low"], part["high"] - part[value]])
    axes.errorbar(part["n_photons"] + shift, part[value], yerr=spread, capsize=2.5, **look)


def _band(axes, name: str, summary: pd.DataFrame) -> None:
    row = summary.iloc[0]
    axes.axhline(row["mean"], color=INK, label=name, zorder=1)
    if np.isfinite(row["low"]):
        axes.axhspan(row["low"], row["high"], color=INK, alpha=0.2, lw=0, zorder=0)
