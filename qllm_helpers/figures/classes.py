"""Figures of the studies with more than two classes."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qllm_helpers.figures.charts import legend_above
from qllm_helpers.figures.style import FAMILY_STYLE, INK, SEQUENCE, new_figure, styled
from qllm_helpers.results.statistics import MARGIN

__all__ = ["confusion_panels", "difference_by_modes"]

_LOOK = {"linear map": "linear", "photonic, 1 photon": "photonic", "photonic, 2 photons": "qubit"}


@styled
def confusion_panels(table: pd.DataFrame, heads: Mapping[str, str]) -> Figure:
    """Confusion matrices of some heads on one corpus, one under the other.

    Parameters
    ----------
    table : DataFrame
        Rows of one corpus of :func:`qllm_helpers.studies.confusion.confusion_table`.
    heads : mapping of str to str
        Head, and its family, which gives the colour.

    Returns
    -------
    Figure
        The darker a field, the larger the share of its line; shares in per cent.
    """
    figure, axes = new_figure(3.3 * len(heads), rows=len(heads), squeeze=False)
    for (head, family), ax in zip(heads.items(), axes[:, 0], strict=True):
        part = table[table["head"] == head]
        names = part["true"].drop_duplicates().tolist()
        wide = part.pivot(index="true", columns="predicted", values="share").loc[names, names]
        color = FAMILY_STYLE[family].color
        for y, line in enumerate(wide.to_numpy()):
            for x, share in enumerate(line):
                # so pale that the number reads on a light and on a dark page
                field = {"color": color, "alpha": 0.45 * share, "lw": 0}
                ax.fill_between([x - 0.5, x + 0.5], y - 0.5, y + 0.5, **field)
                weight = "bold" if x == y else "normal"
                ax.text(x, y, f"{100 * share:.0f}", ha="center", va="center", weight=weight)
        ax.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), title=head)
        ax.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
        ax.set_yticks(range(len(names)), names)
        ax.grid(visible=False)
        ax.set(xlabel="predicted class (per cent of the line)", ylabel="true class")
    return figure


@styled
def difference_by_modes(table: pd.DataFrame) -> Figure:
    """Difference to logistic regression against the number of modes, one panel a corpus.

    Parameters
    ----------
    table : DataFrame
        From :func:`qllm_helpers.results.classes.size_table`.

    Returns
    -------
    Figure
        With 95 % intervals, and a band of one point on both sides of zero.
    """
    sizes = sorted(table["n_classes"].unique())
    figure, axes = new_figure(2.3 * len(sizes) + 0.6, rows=len(sizes), sharex=True, squeeze=False)
    for ax, n_classes in zip(axes[:, 0], sizes, strict=True):
        ax.axhline(0, color=INK, lw=1)
        ax.axhspan(-MARGIN, MARGIN, color=INK, alpha=0.15, lw=0)
        for place, (kind, family) in enumerate(_LOOK.items()):
            part = table[(table["n_classes"] == n_classes) & (table["kind"] == kind)]
            marker, dashes = SEQUENCE[place]
            spread = [part["difference"] - part["low"], part["high"] - part["difference"]]
            look = {"color": FAMILY_STYLE[family].color, "marker": marker, "ls": dashes}
            at = part["n_modes"].astype(float) + 0.12 * (place - 1)
            ax.errorbar(at, part["difference"], yerr=spread, capsize=2.5, label=kind, **look)
        ax.set_ylabel(f"{n_classes} classes")
    axes[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[-1, 0].set_xlabel("modes, or rank of the linear map")
    label = "difference to logistic regression in test accuracy (fraction)"
    figure.supylabel(label, fontsize="medium")
    legend_above(figure, axes[0, 0], columns=3)
    return figure
