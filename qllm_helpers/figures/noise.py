"""Figures of the study of noise: accuracy along a setting of the machine, one line a head."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from qllm_helpers.figures.charts import AXIS, legend_above
from qllm_helpers.figures.style import FAMILY_STYLE, INK, SEQUENCE, new_figure, styled

__all__ = ["lines_by_setting"]

_COLORS = [FAMILY_STYLE[name].color for name in ("photonic", "svc", "mlp", "qubit", "twin")]


@styled
def lines_by_setting(
    tables: Mapping[str, pd.DataFrame],
    setting: str,
    label: str,
    *,
    references: Mapping[str, pd.DataFrame] | None = None,
    marks: Mapping[str, float] | None = None,
    log: bool = False,
    height: float = 3.6,
) -> Figure:
    """Test accuracy against a setting, with 95 % intervals over seeds.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Name of a line, and its points: columns `setting`, mean, low, high. Infinite settings are
        left out.
    setting : str
    label : str
        Of the horizontal axis, with its unit.
    references : dict of str to DataFrame, optional
        Name, and one row with mean, low and high: a line with a band across the figure.
    marks : dict of str to float, optional
        Name, and a value of the setting: an upright line.
    log : bool
        Logarithmic horizontal axis; the lines are then set apart by a few per cent.
    height : float
        Inches.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(height)
    for place, (name, table) in enumerate(tables.items()):
        part = table[np.isfinite(table[setting].astype(float))].sort_values(setting)
        marker, dashes = SEQUENCE[place % len(SEQUENCE)]
        spread = np.nan_to_num([part["mean"] - part["low"], part["high"] - part["mean"]])
        look = {"marker": marker, "ls": dashes, "color": _COLORS[place % len(_COLORS)]}
        # side by side where lines would hide each other
        shift = 1.06 ** (place - (len(tables) - 1) / 2) if log else 1.0
        at = part[setting] * shift
        axes.errorbar(at, part["mean"], yerr=spread, capsize=2.5, label=name, **look)
    for place, (name, table) in enumerate((references or {}).items()):
        row = table.iloc[0]
        axes.axhline(row["mean"], color=INK, ls=("-", ":")[place % 2], label=name, zorder=1)
        axes.axhspan(row["low"], row["high"], color=INK, alpha=0.18, lw=0, zorder=0)
    for name, value in (marks or {}).items():
        axes.axvline(value, color=INK, ls="-.", label=name, zorder=1)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axes.set(xlabel=label, ylabel=AXIS["test_accuracy"])
    legend_above(figure, axes, columns=2)
    return figure
