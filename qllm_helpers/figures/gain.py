"""Figures of where a gain comes from: what a screen gains by chance."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from qllm_helpers.figures.charts import legend_above
from qllm_helpers.figures.style import FAMILY_STYLE, INK, new_figure, styled

_CURVES = (
    ("validation", "best validation accuracy", "mlp", "--"),
    ("chosen_on_test", "test accuracy, chosen on test", "photonic", "-"),
    ("chosen_on_validation", "test accuracy, chosen on validation", "svc", ":"),
)


@styled
def screen_gain(table: pd.DataFrame, *, reported: float | None = None) -> Figure:
    """Expected excess of the best of a screen against the number of configurations.

    Parameters
    ----------
    table : DataFrame
        From :func:`qllm_helpers.results.gain.screen_curve`.
    reported : float or None
        A reported gain (fraction), drawn as a horizontal line.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(3.6)
    for column, label, family, line in _CURVES:
        color = FAMILY_STYLE[family].color
        axes.plot(table["n_configurations"], table[column], line, color=color, lw=2, label=label)
    if reported is not None:
        axes.axhline(reported, color=INK, lw=1.2, label=f"reported gain: {reported:.4f}")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="equally good configurations", ylabel="expected excess (fraction)")
    legend_above(figure, axes, columns=1)
    return figure
