"""The one style of every figure: colours and markers per head family, fonts, SVG output."""

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

#: Width of a figure, inches: a phone of 390 px then still shows 11 pt text at about 8 pt.
WIDTH = 5.2
#: Text and axes: this grey has a contrast of 4.2 on white and on the book's dark page alike.
INK = "#7b7b7b"


@dataclass(frozen=True)
class FamilyStyle:
    """Colour (contrast of at least 3.5 on white and on the book's dark page) and marker.

    The colours differ for the common colour-vision deficiencies; the markers say it once more.
    """

    label: str
    color: str
    marker: str

    @property
    def look(self) -> dict:
        """Colour and marker, as matplotlib takes them."""
        return {"color": self.color, "marker": self.marker}


#: Style of every head family, by the value of a row's column ``family``.
FAMILY_STYLE = {
    "linear": FamilyStyle("linear", INK, "o"),
    "svc": FamilyStyle("SVC", "#2a85c8", "s"),
    "mlp": FamilyStyle("MLP", "#0a9468", "^"),
    "photonic": FamilyStyle("photonic", "#dd6010", "D"),
    "qubit": FamilyStyle("qubit", "#b560a8", "P"),
    "twin": FamilyStyle("classical twin", "#a8800a", "X"),
    "own": FamilyStyle("your own", "#d64a6a", "*"),
}

#: What a column of rows is called on an axis.
AXIS = {
    "test_accuracy": "test accuracy (fraction)",
    "outside_accuracy": "test accuracy outside the pool (fraction)",
    "validation_accuracy": "validation accuracy (fraction)",
    "macro_f1": "macro F1 (fraction)",
    "n_parameters": "parameters, as printed (nominal)",
    "n_live_parameters": "parameters with a gradient (live)",
    "n_effective_parameters": "independent directions (effective)",
    "fit_seconds": "time to fit (s)",
}
#: Colours of lines that are no families, in order.
COLORS = tuple(FAMILY_STYLE[name].color for name in ("photonic", "svc", "mlp", "qubit", "twin"))
#: Marker and line style for 1, 2, 3, ... photons (and for other ordered choices).
SEQUENCE = (("o", "-"), ("s", "--"), ("^", ":"), ("D", "-."), ("P", "-"), ("X", "--"))

_SHEET = mpl.rc_params_from_file(Path(__file__).with_name("book.mplstyle"), False, False)
_INKED = ("text.", "axes.edge", "axes.label", "xtick.", "ytick.", "grid.")
_SETTINGS = dict(_SHEET) | {f"{part}color": INK for part in _INKED}
_SETTINGS |= {"axes.prop_cycle": mpl.cycler(color=COLORS)}
#: Decorator: draw in the book's style whether or not :func:`use_style` was called.
styled = mpl.rc_context(_SETTINGS)


def use_style() -> None:
    """Make the book's style the default; notebooks then show figures as repeatable SVG."""
    mpl.rcParams.update(_SETTINGS)
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})


@styled
def new_figure(height: float = 3.4, *, rows: int = 1, **options):
    """Empty figure of the book's width, `height` inches high, and its axes (one, or a column).

    It does not pass through pyplot: a notebook shows it once, and nothing is left open.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, **options)


@styled
def save(figure: Figure, path) -> None:
    """Write a figure as .svg, .png or .pdf; the same figure gives the same bytes."""
    suffix = str(path).rsplit(".", 1)[-1]
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(path, format=suffix, dpi=150, metadata=dates.get(suffix))


def looks(table: pd.DataFrame) -> list[FamilyStyle]:
    """Colour and marker of every row, by its column ``family`` (grey if there is none)."""
    known = table["family"] if "family" in table.columns else ["linear"] * len(table)
    unknown = sorted(set(known) - set(FAMILY_STYLE), key=str)
    if unknown:
        raise ValueError(f"unknown head family {unknown[0]!r}; known: {list(FAMILY_STYLE)}")
    return [FAMILY_STYLE[family] for family in known]


def errors(table: pd.DataFrame, middle: str = "mean") -> np.ndarray:
    """Lengths of the bars of an interval, shape (2, n); one seed has none."""
    ends = [table[middle] - table["low"], table["high"] - table[middle]]
    return np.nan_to_num(np.array(ends, dtype=float))


def legend_above(figure: Figure, axes, columns: int) -> None:
    """Legend of one panel, above the figure: it hides nothing."""
    figure.legend(
        handles=axes.get_legend_handles_labels()[0],
        loc="outside upper center",
        ncols=columns,
        columnspacing=1.2,
        labelcolor=INK,
        frameon=False,
    )
