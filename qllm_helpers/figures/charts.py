"""Figures of other shapes: curves of a training, clouds, a Pareto front, histograms, matrices."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qllm_helpers.figures.style import (
    AXIS,
    COLORS,
    FAMILY_STYLE,
    INK,
    SEQUENCE,
    errors,
    legend_above,
    new_figure,
    styled,
)
from qllm_helpers.results.intervals import summarise
from qllm_helpers.results.selection import pareto_front


@styled
def training_curves(histories: pd.DataFrame | dict[str, pd.DataFrame]) -> Figure:
    """Loss and validation accuracy over the epochs: mean of the replicas, and their range.

    `histories` is the ``history_`` of a fitted estimator, or several by name.
    """
    histories = {"": histories} if isinstance(histories, pd.DataFrame) else histories
    figure, panels = new_figure(4.8, rows=2, sharex=True)
    columns = {
        "train_loss": (panels[0], "-", "training"),
        "validation_loss": (panels[0], "--", "validation"),
        "validation_accuracy": (panels[1], "-", ""),
    }
    for color, (name, history) in zip(COLORS * len(histories), histories.items(), strict=False):
        if not {"epoch", "train_loss"} <= set(history.columns):
            raise ValueError("a history needs the columns epoch and train_loss")
        for column, (axes, dashes, kind) in columns.items():
            if column not in history.columns or history[column].isna().all():
                continue
            spread = history.groupby("epoch")[column].agg(["mean", "min", "max"])
            label = " ".join(part for part in (name, kind) if part)
            axes.plot(spread.index, spread["mean"], dashes, color=color, label=label)
            ends = spread["min"], spread["max"]
            axes.fill_between(spread.index, *ends, color=color, alpha=0.18, lw=0)
    panels[0].set_ylabel("cross-entropy (nats)")
    panels[1].set(xlabel="epoch", ylabel="validation accuracy\n(fraction)")
    legend_above(figure, panels[0], columns=2)
    return figure


@styled
def accuracy_by_parameters(
    rows: pd.DataFrame,
    *,
    counts: Sequence[str] = ("n_parameters", "n_live_parameters", "n_effective_parameters"),
) -> Figure:
    """Accuracy against the number of parameters, with intervals and the Pareto front.

    One panel for every column in `counts`; a head without a count is left out of its panel.
    """
    table = summarise(rows)
    figure, panels = new_figure(
        2.9 * len(counts) + 0.4, rows=len(counts), sharex=True, sharey=True, squeeze=False
    )
    for axes, count in zip(panels[:, 0], counts, strict=True):
        known = table[table[count].notna()]
        for family in [name for name in FAMILY_STYLE if name in set(known["family"])]:
            style = FAMILY_STYLE[family]
            part = known[known["family"] == family]
            look = style.look | {"ls": "none", "capsize": 2.5}
            axes.errorbar(part[count], part["mean"], yerr=errors(part), label=style.label, **look)
        front = known[pareto_front(known, cost=count)].sort_values(count)
        if len(front):
            x, y = [*front[count], known[count].max()], [*front["mean"], front["mean"].max()]
            axes.step(x, y, where="post", color=INK, lw=1, ls="--", zorder=0, label="Pareto front")
        axes.set_xscale("log")
        axes.tick_params(labelbottom=True)
        axes.set(xlabel=AXIS.get(count, count), ylabel=AXIS["test_accuracy"])
    legend_above(figure, panels[0, 0], columns=4)
    return figure


@styled
def selection_effect_histogram(
    differences: Sequence[float], *, observed: dict[str, float]
) -> Figure:
    """Distribution of "best minus best" under pure noise, with reported differences (fractions).

    `differences` come from :func:`qllm_helpers.results.selection.selection_effect`.
    """
    differences = np.asarray(differences, dtype=float)
    figure, axes = new_figure(3.2)
    weights = np.full(differences.size, 1 / differences.size)
    axes.hist(differences, 60, weights=weights, color=INK, alpha=0.45, label="pure noise")
    axes.axvline(0, color=INK, lw=1)
    styles = [FAMILY_STYLE[name] for name in ("photonic", "qubit", "svc", "mlp")]
    for place, (name, value) in enumerate(observed.items()):
        share = (differences >= value).mean()
        label = f"{name} ({share:.0%} of draws reach it)"
        line = SEQUENCE[place % len(SEQUENCE)][1]
        axes.axvline(value, color=styles[place % 4].color, ls=line, lw=2, label=label)
    axes.set(xlabel="best head minus best reference (fraction)", ylabel="share of draws")
    legend_above(figure, axes, columns=1)
    return figure


@styled
def confusion_panels(table: pd.DataFrame, heads: Mapping[str, str]) -> Figure:
    """Confusion matrices of heads, in the colours of their families: shares of a line, per cent.

    `table` is one corpus of :func:`qllm_helpers.studies.confusion.confusion_table`.
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


def phase_response(phases: Sequence[float], responses: Mapping[str, np.ndarray]) -> Figure:
    """Probabilities (n, N) against `phases` (n,) over one turn, and how strong each frequency is.

    Above: the output that varies most; below: the largest Fourier coefficient of all outputs.
    """
    phases = np.asarray(phases, dtype=float)
    if not np.allclose(phases, phases[0] + 2 * np.pi * np.arange(len(phases)) / len(phases)):
        raise ValueError("phases must be equally spaced over one turn, without its end.")
    figure, (above, below) = new_figure(5.2, rows=2)
    colors = COLORS[:4]
    for place, (name, values) in enumerate(responses.items()):
        marker, style = SEQUENCE[place % len(SEQUENCE)]
        look = {"color": colors[place % 4], "label": name}
        most = values[:, np.ptp(values, axis=0).argmax()]
        above.plot([*phases, phases[0] + 2 * np.pi], [*most, most[0]], style, **look)
        strength = np.abs(np.fft.rfft(values, axis=0)).max(axis=1) / len(phases)
        # Rounded: what vanishes is drawn as 0 on every machine.
        drawn = strength[1:8].round(9)
        below.plot(np.arange(1, 1 + len(drawn)), drawn, marker, ls=":", lw=1, **look)
    above.set_xticks([0, np.pi, 2 * np.pi], ["0", "π", "2π"])
    above.set(xlabel="phase (radians)", ylabel="probability")
    below.set(xlabel="frequency (periods per turn)", ylabel="largest coefficient")
    legend_above(figure, above, columns=3)
    return figure
