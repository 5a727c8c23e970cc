"""Figure of heads on two bodies: what tuning moves, and what stays in place."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qllm_helpers.figures.charts import AXIS, legend_above
from qllm_helpers.figures.style import FAMILY_STYLE, INK, families, new_figure, styled
from qllm_helpers.results.bodies import two_way_table

__all__ = ["bodies_by_head"]

#: Body -> place on its line (up is negative), whether filled, and the reference's line.
_LOOKS = {"frozen": (-0.15, False, ":"), "tuned": (0.15, True, "-")}


@styled
def bodies_by_head(rows: pd.DataFrame, *, reference: str | None = None) -> Figure:
    """One line a head, from its accuracy on the frozen body to that on the tuned one.

    Parameters
    ----------
    rows : DataFrame
        One row per fit; heads that were run on one body only are left out.
    reference : str or None
        Head whose two means are drawn as vertical lines; None for none.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If no head was run on both bodies, or the reference was not.
    """
    table = two_way_table(rows)
    if reference is not None and reference not in table.index:
        raise ValueError(f"no row of the reference {reference!r}; heads: {list(table.index)}")
    figure, axes = new_figure(0.3 * len(table) + 1.2)
    first = rows.drop_duplicates("head").set_index("head", drop=False).loc[table.index]
    looks = [FAMILY_STYLE[family] for family in families(first)]
    for place, (head, style) in enumerate(zip(table.index, looks, strict=True)):
        ends = [table.loc[head, (body, "mean")] for body in _LOOKS]
        heights = [place + shift for shift, _, _ in _LOOKS.values()]
        axes.plot(ends, heights, color=style.color, lw=1, alpha=0.6)
        for body, (shift, filled, _) in _LOOKS.items():
            mean, low, high = table.loc[head, body][["mean", "low", "high"]]
            error = np.nan_to_num([[mean - low], [high - mean]])
            look = {"marker": style.marker, "color": style.color, "capsize": 2.5}
            face = style.color if filled else "none"
            axes.errorbar(mean, place + shift, xerr=error, mfc=face, elinewidth=1.2, **look)
    for body, (_, filled, dashes) in _LOOKS.items():
        face = INK if filled else "none"
        axes.plot([], [], "o", color=INK, mfc=face, label=f"{body} body")
        if reference is not None:
            at = table.loc[reference, (body, "mean")]
            axes.axvline(at, color=INK, ls=dashes, lw=1, zorder=0)
    axes.set_yticks(range(len(table)), table.index)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlabel(AXIS["test_accuracy"])
    axes.grid(axis="y", visible=False)
    legend_above(figure, axes, columns=2)
    return figure
