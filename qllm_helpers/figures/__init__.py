"""Every figure of the book: one style, drawn from tables, returned as a Figure.

A notebook calls :func:`use_style` once and then one function a figure. The colour and the
marker of a head family (:data:`FAMILY_STYLE`) are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qllm_helpers.figures.charts import (
    accuracy_by_mode,
    accuracy_by_parameters,
    difference_forest,
    headline,
    legend_above,
    seed_strip,
)
from qllm_helpers.figures.style import (
    FAMILY_STYLE,
    INK,
    SEQUENCE,
    WIDTH,
    FamilyStyle,
    families,
    new_figure,
    save,
    styled,
    use_style,
)

__all__ = [
    "FAMILY_STYLE",
    "INK",
    "SEQUENCE",
    "WIDTH",
    "FamilyStyle",
    "accuracy_by_mode",
    "accuracy_by_parameters",
    "difference_forest",
    "embedding_map",
    "families",
    "headline",
    "new_figure",
    "save",
    "seed_strip",
    "selection_effect_histogram",
    "styled",
    "training_curves",
    "use_style",
]


@styled
def training_curves(histories: pd.DataFrame | dict[str, pd.DataFrame]) -> Figure:
    """Loss and validation accuracy over the epochs: mean of the replicas, and their range.

    Parameters
    ----------
    histories : DataFrame or dict of str to DataFrame
        ``history_`` of a fitted estimator (columns ``epoch``, ``train_loss`` and, if there
        was a validation set, ``validation_loss`` and ``validation_accuracy``; one line per
        replica and epoch), or several by name.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a column is missing.
    """
    if isinstance(histories, pd.DataFrame):
        histories = {"": histories}
    figure, panels = new_figure(4.8, rows=2, sharex=True)
    columns = (("train_loss", 0, "-"), ("validation_loss", 0, "--"), ("validation_accuracy", 1, ""))
    colors = [FAMILY_STYLE[name].color for name in ("photonic", "svc", "mlp", "qubit", "twin")]
    for place, (name, history) in enumerate(histories.items()):
        if not {"epoch", "train_loss"} <= set(history.columns):
            raise ValueError("a history needs the columns epoch and train_loss")
        for column, panel, style in columns:
            if column not in history.columns or history[column].isna().all():
                continue
            spread = history.groupby("epoch")[column].agg(["mean", "min", "max"])
            kind = {"train_loss": "training", "validation_loss": "validation"}.get(column, "")
            label = " ".join(part for part in (name, kind) if part)
            color = colors[place % len(colors)]
            axes = panels[panel]
            axes.plot(spread.index, spread["mean"], style or "-", color=color, label=label)
            axes.fill_between(
                spread.index, spread["min"], spread["max"], color=color, alpha=0.18, lw=0
            )
    panels[0].set_ylabel("cross-entropy (nats)")
    panels[1].set(xlabel="epoch", ylabel="validation accuracy\n(fraction)")
    legend_above(figure, panels[0], columns=2)
    return figure


@styled
def embedding_map(
    points: np.ndarray,
    labels: np.ndarray,
    label_names: list[str] | None = None,
    *,
    axis_names: tuple[str, str] = ("first component", "second component"),
    height: float = 4.2,
) -> Figure:
    """Sentences as dots in a plane, one colour a class.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        For example a principal-component projection.
    labels : ndarray of int, shape (n,)
        Class of every point.
    label_names : list of str or None
        Name of every class.
    axis_names : tuple of str
        What the two coordinates are (no unit: embeddings have none).
    height : float
        Inches.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If `points` is not (n, 2) or `labels` not (n,).
    """
    points, labels = np.asarray(points), np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
        raise ValueError(
            f"need points (n, 2) and labels (n,), not {points.shape} and {labels.shape}"
        )
    figure, axes = new_figure(height)
    looks = [FAMILY_STYLE[name] for name in ("svc", "photonic", "mlp", "qubit", "twin", "linear")]
    for place, label in enumerate(np.unique(labels)):
        look = looks[place % len(looks)]
        part = points[labels == label]
        name = label_names[label] if label_names is not None else str(label)
        axes.scatter(*part.T, s=14, marker=look.marker, c=look.color, alpha=0.7, lw=0, label=name)
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    legend_above(figure, axes, columns=3)
    return figure


@styled
def selection_effect_histogram(
    differences: Sequence[float], *, observed: dict[str, float] | None = None, bins: int = 60
) -> Figure:
    """Distribution of "best minus best" under pure noise, with reported differences.

    Parameters
    ----------
    differences : array-like
        From :func:`qllm_helpers.results.statistics.selection_effect`, or one value per seed.
    observed : dict of str to float
        Reported differences (fractions) by their name; drawn as vertical lines.
    bins : int
        Number of bins.

    Returns
    -------
    Figure
    """
    differences = np.asarray(differences, dtype=float)
    figure, axes = new_figure(3.2)
    weights = np.full(differences.size, 1 / differences.size)
    axes.hist(differences, bins, weights=weights, color=INK, alpha=0.45, label="pure noise")
    axes.axvline(0, color=INK, lw=1)
    styles = [FAMILY_STYLE[name] for name in ("photonic", "qubit", "svc", "mlp")]
    for place, (name, value) in enumerate((observed or {}).items()):
        share = (differences >= value).mean()
        label = f"{name} ({share:.0%} of draws reach it)"
        line = SEQUENCE[place % len(SEQUENCE)][1]
        axes.axvline(value, color=styles[place % 4].color, ls=line, lw=2, label=label)
    axes.set(xlabel="best head minus best reference (fraction)", ylabel="share of draws")
    legend_above(figure, axes, columns=1)
    return figure
