"""Accuracy against the size of the circuit: published figures, the rows to compare, a live sweep.

The comparisons themselves are in `sweeps_contrasts`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qllm_helpers.results.intervals import summarise
from qllm_helpers.results.published import published_photons

_PLAIN = r"\d+ modes?, \d+ photons?"
#: Kinds of photons and outputs that are compared, by (distinguishable, unbunched).
KINDS = {
    (False, False): "identical",
    (False, True): "identical, unbunched",
    (True, False): "distinguishable",
    (True, True): "distinguishable, unbunched",
}


def read_features(n_modes: int) -> list[tuple[int, ...]]:
    """Which features each phase of the subset encoding adds up.

    Parameters
    ----------
    n_modes : int

    Returns
    -------
    list of tuple of int
        One tuple per encoded phase, m - 1 in all: the binary digits of 1, 2, 3, ... (MerLin 0.1's
        SERIES encoding).
    """
    return [
        tuple(bit for bit in range(phase.bit_length()) if phase >> bit & 1)
        for phase in range(1, n_modes)
    ]


def plain_sweep(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of photonic heads that differ in modes and photons only, without variants and twins.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.

    Returns
    -------
    DataFrame
        With integer n_modes and n_photons.

    Raises
    ------
    ValueError
        If there is no such row.
    """
    chosen = rows[rows["head"].str.fullmatch(_PLAIN)]
    if chosen.empty:
        raise ValueError("no head is called like '4 modes, 2 photons' in this table")
    return chosen.astype({"n_modes": int, "n_photons": int})


def photon_kinds(rows: pd.DataFrame) -> pd.DataFrame:
    """Photonic rows with a column `kind`, a value of `KINDS`.

    Parameters
    ----------
    rows : DataFrame
        Result rows (columns n_modes, space, twin), or a landscape (space, distinguishable).

    Returns
    -------
    DataFrame
    """
    rows = rows[rows["n_modes"].notna()]
    different = rows["twin"].eq("distinguishable") if "twin" in rows else rows["distinguishable"]
    keys = zip(different.astype(bool), rows["space"].eq("unbunched"), strict=True)
    kinds = [KINDS[key] for key in keys]
    return rows.assign(kind=kinds).astype({"n_modes": int, "n_photons": int})


def with_a_choice(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of circuits with more than one output.

    As many photons as modes without bunching leave one output, whose probability is one whatever
    the data: such a circuit computes a constant.

    Parameters
    ----------
    rows : DataFrame
        With columns n_modes, n_photons and space.

    Returns
    -------
    DataFrame
    """
    constant = rows["space"].eq("unbunched") & rows["n_photons"].eq(rows["n_modes"])
    return rows[~constant]


def budget_losses(table: pd.DataFrame) -> pd.DataFrame:
    """Training loss after the fixed budget, with its 95 % interval (Student's t over the seeds).

    Parameters
    ----------
    table : DataFrame
        The measured table "landscape".

    Returns
    -------
    DataFrame
        n_modes, n_photons, kind, and mean, low, high in nats.
    """
    from scipy import stats

    from qllm_helpers.studies.landscape import SEEDS

    half = stats.t.ppf(0.975, len(SEEDS) - 1) * table["train_loss_sem"]
    bounds = {"low": table["train_loss"] - half, "high": table["train_loss"] + half}
    shown = photon_kinds(table.assign(mean=table["train_loss"], **bounds))
    return shown[["n_modes", "n_photons", "kind", "mean", "low", "high"]]


def beside_published(rows: pd.DataFrame) -> pd.DataFrame:
    """Reported test accuracy of every circuit beside what our seeds give.

    Parameters
    ----------
    rows : DataFrame
        Rows of one state of the body, from `plain_sweep`.

    Returns
    -------
    DataFrame
        n_modes, n_photons, reported, mean, low, high (of the mean), least and most (over
        seeds), n_seeds, and `reached`: the share of our seeds whose accuracy is at least the
        reported one (NaN where none is reported).
    """
    by = ["n_modes", "n_photons"]
    ours = summarise(rows, by=by)[[*by, "mean", "low", "high", "n_seeds"]]
    groups = rows.groupby(by)["test_accuracy"]
    spread = groups.agg(least="min", most="max", values=list).reset_index()
    table = published_photons()[[*by, "reported"]]
    table = table.merge(ours, on=by).merge(spread, on=by)
    values = zip(table["reported"], table.pop("values"), strict=True)
    reached = [np.nan if np.isnan(at) else np.mean(np.array(seeds) >= at) for at, seeds in values]
    return table.assign(reached=reached)


def live_sweep(seeds: Sequence[int]) -> pd.DataFrame:
    """Train the ten circuits of the earlier reproduction now, all seeds of a circuit at once.

    Parameters
    ----------
    seeds : sequence of int

    Returns
    -------
    DataFrame
        Columns head, n_modes, n_photons, seed, validation_accuracy and test_accuracy (fractions),
        with the settings of the frozen body in the study ``few_shot``.
    """
    from dataclasses import replace

    from qllm_helpers.classifiers.replicated import fit_many
    from qllm_helpers.studies.registry import registered
    from qllm_helpers.studies.run import load_units
    from qllm_helpers.studies.unit import one_thread, unit_data

    units = [unit for unit in load_units("few_shot", heads="* mode*") if not unit.fine_tuned]
    units = [replace(unit, seeds=tuple(seeds)) for unit in units]
    data, rows = unit_data(units[0]), []
    with one_thread():
        for unit in units:
            estimator = registered(unit.estimator).build(unit.parameters)
            fits = fit_many(estimator, data.X, data.y, data.splits, unit.seeds)
            for seed, split, fit in zip(unit.seeds, data.splits, fits, strict=True):
                scores = fit.validation_accuracy_, fit.score(data.X[split.test], data.y[split.test])
                rows.append((unit.head, fit.n_modes, fit.n_photons, seed, *scores))
    names = ("head", "n_modes", "n_photons", "seed", "validation_accuracy", "test_accuracy")
    return pd.DataFrame(rows, columns=names)
