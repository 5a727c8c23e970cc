"""Figures of learning curves: accuracy, and differences, against the sentences of each label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from qllm_helpers.figures.charts import AXIS, legend_above
from qllm_helpers.figures.style import FAMILY_STYLE, INK, families, new_figure, styled
from qllm_helpers.results.sizes import SIZE

__all__ = ["difference_panels", "learning_curves", "validation_and_test"]

_DASHES = {"linear": "-", "svc": "--", "mlp": ":", "photonic": "-", "qubit": "-.", "twin": "--"}
#: Factor by which neighbouring lines are moved apart, so that their intervals can be read.
_STEP = 1.045


def _size_axis(axes, sizes: Sequence[int], label: bool = True) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(sizes), [f"{size:g}" for size in sizes])
    axes.grid(axis="x", visible=False)
    if label:
        axes.set_xlabel("sentences of each label")


def _errors(table: pd.DataFrame, middle: str) -> np.ndarray:
    """Lengths of the bars; one seed has no interval."""
    ends = [table[middle] - table["low"], table["high"] - table[middle]]
    return np.nan_to_num(np.array(ends, dtype=float))


@styled
def learning_curves(table: pd.DataFrame, *, height: float = 4.6) -> Figure:
    """Accuracy against the sentences of each label, one line a head, with intervals.

    Parameters
    ----------
    table : DataFrame
        From :func:`qllm_helpers.results.sizes.learning_curve`, one head a family.
    height : float
        Inches.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If two heads are of the same family: they would look the same.
    """
    table = table.assign(family=families(table))
    heads = table.drop_duplicates("head")
    if heads["family"].duplicated().any():
        raise ValueError(f"one head a family, please; got {list(heads['head'])}")
    figure, axes = new_figure(height)
    for place, (name, family) in enumerate(zip(heads["head"], heads["family"], strict=True)):
        part, style = table[table["head"] == name], FAMILY_STYLE[family]
        shift = _STEP ** (place - (len(heads) - 1) / 2)
        look = {"marker": style.marker, "color": style.color, "ls": _DASHES[family], "ms": 5}
        axes.errorbar(part[SIZE] * shift, part["mean"], yerr=_errors(part, "mean"), capsize=2,
                      elinewidth=1, label=name, **look)  # fmt: skip
    _size_axis(axes, sorted(table[SIZE].unique()))
    axes.set_ylabel(AXIS["test_accuracy"])
    legend_above(figure, axes, columns=2, spacing=0.8)
    return figure


@styled
def difference_panels(table: pd.DataFrame, *, margin: float, alpha: float = 0.05) -> Figure:
    """Paired differences against the sentences of each label, one panel a pair.

    Parameters
    ----------
    table : DataFrame
        From :func:`qllm_helpers.results.sizes.paired_by_size`.
    margin : float
        Half-width (fraction) of a shaded band: differences that count as none.
    alpha : float
        Differences whose corrected p-value is below it have a filled marker, others a hollow one.

    Returns
    -------
    Figure
    """
    several = table["reference"].nunique() > 1
    pairs = list(table.groupby(["head", "reference"], sort=False))
    figure, panels = new_figure(1.15 * len(pairs) + 0.9, rows=len(pairs), sharex=True, sharey=True,
                                squeeze=False)  # fmt: skip
    for axes, ((head, reference), part) in zip(panels[:, 0], pairs, strict=True):
        style = FAMILY_STYLE[families(part).iloc[0]]
        axes.axhspan(-margin, margin, color=INK, alpha=0.15, lw=0)
        axes.axhline(0, color=INK, lw=1)
        bars = {"color": style.color, "ls": "none", "capsize": 2.5}
        errors = _errors(part, "difference")
        axes.errorbar(part[SIZE], part["difference"], yerr=errors, zorder=2, **bars)
        for real, face in ((True, style.color), (False, "none")):
            dots = part[(part["p_corrected"] < alpha) == real]
            axes.plot(dots[SIZE], dots["difference"], style.marker, color=style.color, mfc=face)
        title = f"{head}, against {reference}" if several else head
        axes.set_title(title, loc="left", fontsize=10, pad=3)
        _size_axis(axes, sorted(table[SIZE].unique()), label=False)
    panels[-1, 0].set_xlabel("sentences of each label")
    words = "difference" if several else f"difference to {table['reference'].iloc[0]}"
    figure.supylabel(f"{words} in test accuracy (fraction)", fontsize=11, color=INK)
    return figure


@styled
def validation_and_test(table: pd.DataFrame, *, height: float = 3.4) -> Figure:
    """What validation promises and what the test sentences say, against the sentences of a label.

    Parameters
    ----------
    table : DataFrame
        From :func:`qllm_helpers.results.validation.optimism`.
    height : float
        Inches.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(height)
    looks: Mapping = {"validation": ("svc", "--"), "test": ("photonic", "-")}
    for name, (family, dashes) in looks.items():
        style = FAMILY_STYLE[family]
        label = {"validation": "on validation, after choosing", "test": "on test"}[name]
        look = {"marker": style.marker, "color": style.color, "ls": dashes, "label": label}
        axes.plot(table[SIZE], table[name], **look)
    high = (table["validation"] + table["error"]).clip(upper=1)  # no accuracy is higher
    low = table["validation"] - table["error"]
    axes.fill_between(table[SIZE], low, high, color=FAMILY_STYLE["svc"].color, alpha=0.18, lw=0)
    _size_axis(axes, sorted(table[SIZE]))
    axes.set_ylabel("accuracy (fraction)")
    legend_above(figure, axes, columns=2)
    return figure
