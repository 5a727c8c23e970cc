"""The one style of every figure: colours and markers per head family, fonts, SVG output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

#: Width of a figure, inches: a phone of 390 px then still shows 11 pt text at about 8 pt.
WIDTH = 5.2
#: Text and axes: this grey has a contrast of 4.2 on white and on the book's dark page alike.
INK = "#7b7b7b"


@dataclass(frozen=True)
class FamilyStyle:
    """Colour and marker of a head family.

    The colours have a contrast of at least 3.5 both on white and on the book's dark page,
    and differ for the common colour-vision deficiencies; the markers say it once more.
    """

    label: str
    color: str
    marker: str


#: Style of every head family, by the value of a row's column ``family``.
FAMILY_STYLE = {
    "linear": FamilyStyle("linear", INK, "o"),
    "svc": FamilyStyle("SVC", "#2a85c8", "s"),
    "mlp": FamilyStyle("MLP", "#0a9468", "^"),
    "photonic": FamilyStyle("photonic", "#dd6010", "D"),
    "qubit": FamilyStyle("qubit", "#b560a8", "P"),
    "twin": FamilyStyle("classical twin", "#a8800a", "X"),
}

#: Marker and line style for 1, 2, 3, ... photons (and for other ordered choices).
SEQUENCE = (("o", "-"), ("s", "--"), ("^", ":"), ("D", "-."), ("P", "-"), ("X", "--"))

_SETTINGS = {
    "figure.figsize": (WIDTH, 3.4),
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "none",
    "savefig.transparent": True,
    "savefig.format": "svg",
    # a fixed salt, and no date in the file: the same figure gives the same bytes
    "svg.hashsalt": "qllm",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "lines.markersize": 6,
    "axes.prop_cycle": mpl.cycler(
        color=[FAMILY_STYLE[name].color for name in ("photonic", "svc", "mlp", "qubit", "twin")]
    ),
} | dict.fromkeys(
    ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"),
    INK,
)


def use_style() -> None:
    """Make the book's style the default, and notebooks show figures as repeatable SVG.

    Call it once, at the top of a notebook. Figures are transparent, and their colours read
    on a light and on a dark page.
    """
    mpl.rcParams.update(_SETTINGS)
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the book's style whether or not :func:`use_style` was called."""

    @wraps(draw)
    def drawn(*arguments, **options) -> Figure:
        with mpl.rc_context(_SETTINGS):
            return draw(*arguments, **options)

    return drawn


def new_figure(height: float = 3.4, *, rows: int = 1, columns: int = 1, **options):
    """Empty figure in the book's style.

    It does not pass through pyplot: a notebook shows it once, as the value of its cell, and
    nothing is left open.

    Parameters
    ----------
    height : float
        Inches; the width is :data:`WIDTH`.
    rows, columns : int
        Grid of axes.
    **options
        For :meth:`matplotlib.figure.Figure.subplots`.

    Returns
    -------
    tuple of Figure and Axes (or array of Axes)
    """
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        return figure, figure.subplots(rows, columns, **options)


def save(figure: Figure, path) -> None:
    """Write a figure; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
        Figure of this package.
    path : path-like
        File name ending in ``.svg``, ``.png`` or ``.pdf``.
    """
    suffix = str(path).rsplit(".", 1)[-1]
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context(_SETTINGS):
        figure.savefig(path, format=suffix, dpi=150, metadata=dates.get(suffix))


def families(table: pd.DataFrame) -> pd.Series:
    """Head family of every row, which fixes its colour and marker.

    Parameters
    ----------
    table : DataFrame
        Rows, or a summary, with a column ``family``; or with ``head``, and ``twin``,
        ``n_modes``, ``n_qubits`` where they apply.

    Returns
    -------
    Series of str
        Keys of :data:`FAMILY_STYLE`, index of `table`.

    Raises
    ------
    ValueError
        If a family is not known.
    """
    if "family" in table.columns:
        unknown = sorted(set(table["family"]) - set(FAMILY_STYLE), key=str)
        if unknown:
            raise ValueError(f"unknown head family {unknown[0]!r}; known: {list(FAMILY_STYLE)}")
        return table["family"]
    return table.apply(_guess_family, axis=1)


def _guess_family(row: pd.Series) -> str:
    for column, family in (("twin", "twin"), ("n_qubits", "qubit"), ("n_modes", "photonic")):
        if pd.notna(row.get(column)):
            return family
    head = str(row.get("head", "")).lower()
    starts = {"svc": "svc", "mlp": "mlp", "nn": "mlp"}
    return next((family for start, family in starts.items() if head.startswith(start)), "linear")
