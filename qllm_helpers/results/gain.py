"""Where a reported gain comes from: rules of reporting, noise, screening, and power.

The question is the same throughout. If the photonic and the classical heads were equally good,
how large a difference would a report show that was made in this way? The rules of the earlier
reproduction are those of its documentation (MerLin, 2025): one seed, and the best configuration by
test accuracy. The noise models are our choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from qllm_helpers.results.intervals import paired_values
from qllm_helpers.results.published import published_photons, published_table
from qllm_helpers.results.screen import screen_curve, standard_error
from qllm_helpers.results.selection import reported_gain, seeds_needed, select_best
from qllm_helpers.results.statistics import paired_differences

__all__ = [
    "GAIN",
    "centred_gain",
    "mode_optimism",
    "reach",
    "reporting_rules",
    "residual_spread",
    "rows_of_the_report",
    "screen_curve",
    "seeds_table",
    "sides",
    "standard_error",
]

#: Name of a gain as a column and on an axis.
GAIN = "best photonic minus best classical (fraction)"
_CLASSICAL = ("linear", "svc", "mlp")


def sides(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the photonic heads (without twins) and of the classical ones.

    Parameters
    ----------
    rows : DataFrame
        One row per fit, with ``family``.

    Returns
    -------
    tuple of DataFrame

    Raises
    ------
    ValueError
        If a side is empty.
    """
    photonic = rows[rows["family"] == "photonic"]
    classical = rows[rows["family"].isin(_CLASSICAL)]
    if photonic.empty or classical.empty:
        raise ValueError("the table needs rows of photonic and of classical heads")
    return photonic, classical


def rows_of_the_report(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the heads whose few-shot accuracies the earlier reproduction printed.

    Parameters
    ----------
    rows : DataFrame
        Rows of the study ``few_shot``.

    Returns
    -------
    DataFrame
        Rows of the three classical heads and of the nine circuits.
    """
    lines = published_table().query("source == 'reproduction'")
    classical = rows["head"].isin(lines.loc[lines["n_modes"].isna(), "label"])
    size = ["n_modes", "n_photons"]
    circuits = published_photons().dropna(subset="reported")[size].itertuples(index=False)
    sizes = pd.MultiIndex.from_frame(rows[size].fillna(0).astype(int))
    return rows[classical | sizes.isin([tuple(circuit) for circuit in circuits])]


def reporting_rules(
    rows: pd.DataFrame, *, fixed: tuple[str, str] = ("8 modes, 2 photons", "SVC")
) -> pd.DataFrame:
    """The gain that every seed would report under each rule.

    Parameters
    ----------
    rows : DataFrame
        One row per fit of one protocol and one body.
    fixed : tuple of str
        The pair of heads that the earlier reproduction's table ends with, for the rule without
        a choice.

    Returns
    -------
    DataFrame
        ``head`` (the rule), ``seed``, ``family`` (for the colour) and :data:`GAIN`.

    Raises
    ------
    ValueError
        If a head of `fixed`, or a side, has no rows.
    """
    photonic, classical = sides(rows)
    pair = [rows[rows["head"] == name] for name in fixed]
    if min(map(len, pair)) == 0:
        raise ValueError(f"no rows of one of the heads {fixed}")
    gains = {
        "chosen on test": reported_gain(photonic, classical),
        "chosen on validation": reported_gain(photonic, classical, on="validation_accuracy"),
        "no choice: 8m2p, SVC": reported_gain(*pair),
    }
    return pd.concat(
        [
            values.rename(GAIN).reset_index().assign(head=rule, family="photonic")
            for rule, values in gains.items()
        ],
        ignore_index=True,
    )


def mode_optimism(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean test accuracy per number of modes, by where the number of photons was chosen.

    Parameters
    ----------
    rows : DataFrame
        One row per fit of one protocol and one body; the photonic ones are used.

    Returns
    -------
    DataFrame
        ``n_modes``, ``candidates`` (numbers of photons), ``validation`` and ``test`` (mean over
        seeds of the test accuracy, chosen on either) and ``optimism``, their difference.
    """
    photonic, _ = sides(rows)
    groups = photonic.groupby("n_modes")
    chosen = {rule: select_best(photonic, on=f"{rule}_accuracy") for rule in ("validation", "test")}
    means = {
        rule: winners.groupby("n_modes")["test_accuracy"].mean() for rule, winners in chosen.items()
    }
    table = pd.DataFrame({"candidates": groups["head"].nunique(), **means})
    return table.assign(optimism=table["test"] - table["validation"]).reset_index()


def _residuals(rows: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """Seeds by heads: what is left of the accuracies without head means and seed means.

    Scaled so that a residual has the variance of the noise, not the smaller one that is left
    after means were subtracted.
    """
    wide = paired_values(rows, value=value).dropna().astype(float)
    n_seeds, n_heads = wide.shape
    if min(n_seeds, n_heads) < 2:
        raise ValueError("need at least two heads with at least two common seeds")
    by_seed = wide.mean(axis="columns") - wide.to_numpy().mean()
    left = wide.sub(wide.mean(axis="index"), axis="columns").sub(by_seed, axis="index")
    return left * math.sqrt(n_seeds * n_heads / ((n_seeds - 1) * (n_heads - 1)))


def residual_spread(rows: pd.DataFrame) -> float:
    """Noise of one fit that heads of the same seed do not share.

    Parameters
    ----------
    rows : DataFrame
        One row per fit of one protocol and one body.

    Returns
    -------
    float
        Standard deviation (fraction) of the test accuracy around head mean plus seed effect:
        the `training_std` of :func:`qllm_helpers.results.statistics.selection_effect`.

    Raises
    ------
    ValueError
        If there are fewer than two heads or two seeds.
    """
    return float(np.sqrt((_residuals(rows) ** 2).to_numpy().mean()))


def centred_gain(rows: pd.DataFrame, *, n_draws: int = 100_000, random_state: int = 0):
    """Best photonic minus best classical head if only the noise of our own rows were left.

    The mean of every head and what the heads of a seed have in common are taken out of the
    rows, so that all heads are equally good. A draw then gives each head the rest of one of
    its own seeds, independently, and reports the difference of the two maxima.

    Parameters
    ----------
    rows : DataFrame
        One row per fit of one protocol and one body.
    n_draws, random_state : int
        Number of reports, and their seed.

    Returns
    -------
    ndarray, shape (n_draws,)
        Gains, fractions; sorted.

    Raises
    ------
    ValueError
        If a side is empty or there are fewer than two seeds.
    """
    photonic, classical = sides(rows)
    draw = np.random.default_rng(random_state)
    left = _residuals(pd.concat([photonic, classical]))

    def best(side: pd.DataFrame) -> np.ndarray:
        table = left[side["head"].unique()].to_numpy()
        chosen = draw.integers(len(table), size=(n_draws, table.shape[1]))
        return table[chosen, np.arange(table.shape[1])].max(axis=1)

    return np.sort(best(photonic) - best(classical))


def reach(models: dict[str, np.ndarray], gains: dict[str, float]) -> pd.DataFrame:
    """How often noise alone reaches reported gains.

    Parameters
    ----------
    models : dict of str to ndarray
        Draws of "best minus best" (fractions) under several models of noise.
    gains : dict of str to float
        Reported gains (fractions) by their name.

    Returns
    -------
    DataFrame
        One line a model: ``mean`` and ``95 % below`` (a quantile) of the draws,
        and for each gain the share of draws that reach it.
    """
    lines = {
        name: {"mean": draws.mean(), "95 % below": np.quantile(draws, 0.95)}
        | {title: float((draws >= gain).mean()) for title, gain in gains.items()}
        for name, draws in models.items()
    }
    return pd.DataFrame(lines).T


def seeds_table(
    rows: pd.DataFrame,
    *,
    differences: Sequence[float] = (0.005, 0.01, 0.02),
    reference: str = "LogisticRegression",
) -> pd.DataFrame:
    """Seeds that a paired t-test needs to see a true difference to the reference.

    Parameters
    ----------
    rows : DataFrame
        One row per fit of one protocol and one body.
    differences : sequence of float
        True differences, fractions.
    reference : str
        Head to compare with.

    Returns
    -------
    DataFrame
        ``head``, ``n_seeds`` (of the rows), ``std`` of the paired differences (fraction), and one
        column for each difference: seeds for a power of 80 % at the level of 5 %.
    """
    table = paired_differences(rows, reference)[["head", "n_seeds", "std"]]
    for size in differences:
        table[f"{100 * size:g} points"] = [seeds_needed(size, std) for std in table["std"]]
    return table
