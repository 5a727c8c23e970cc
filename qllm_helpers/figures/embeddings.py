"""Figures about what a linear map can read from an embedding."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from qllm_helpers.figures.charts import legend_above
from qllm_helpers.figures.style import INK, SEQUENCE, new_figure


def learning_curve(
    table: pd.DataFrame,
    *,
    size: str = "per label",
    curve: str = "scored on",
    axis_name: str = "training sentences per label",
    chance: float | None = 0.5,
) -> Figure:
    """Accuracy of one head against the number of training sentences, one line a kind of score.

    Parameters
    ----------
    table : DataFrame
        From :func:`qllm_helpers.results.statistics.summarise` by `curve` and `size`: these two
        columns,
        ``mean``, ``low`` and ``high`` (fractions).
    size, curve : str
        Columns with the number of sentences and the name of the line.
    axis_name : str
        What `size` counts.
    chance : float or None
        Accuracy of guessing, drawn as a dotted line.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a column is missing.
    """
    missing = [name for name in (size, curve, "mean", "low", "high") if name not in table.columns]
    if missing:
        raise ValueError(f"the table has no column {missing[0]!r}; it has {list(table.columns)}")
    figure, axes = new_figure(3.4)
    for place, (name, part) in enumerate(table.groupby(curve, sort=False)):
        marker, line = SEQUENCE[place % len(SEQUENCE)]
        spread = [part["mean"] - part["low"], part["high"] - part["mean"]]
        axes.errorbar(
            part[size],
            part["mean"],
            spread,
            marker=marker,
            ls=line,
            color=INK,
            label=name,
            capsize=3,
        )
    if chance is not None:
        axes.axhline(chance, color=INK, lw=1, ls=":", label="guessing")
    sizes = sorted(table[size].unique())
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{int(n):,}" for n in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=axis_name, ylabel="accuracy (fraction)")
    legend_above(figure, axes, columns=2)
    return figure
