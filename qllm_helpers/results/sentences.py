"""Accuracy translated into sentences.

The few-shot promise is that a head needs fewer sentences. So a head is measured here in the number
of sentences that logistic regression needs for the same accuracy (our choice).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qllm_helpers.results.intervals import paired_values
from qllm_helpers.results.sizes import SIZE

__all__ = ["equivalent_sentences", "sentence_factor", "sentences_for"]


def sentences_for(
    accuracies: Sequence[float], sizes: Sequence[float], curve: Sequence[float]
) -> np.ndarray:
    """Size at which a learning curve reaches an accuracy, by interpolation in its logarithm.

    Parameters
    ----------
    accuracies : array-like, shape (k,)
        Accuracies to reach (fractions).
    sizes, curve : array-like, shape (m,)
        Sentences of each label, ascending, and the reference's accuracy there. Where it falls
        from one size to the next, the closest curve that does not fall is used instead.

    Returns
    -------
    ndarray, shape (k,)
        Sentences of each label; 0 below the curve and infinity above it, where the curve does
        not say.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, they do not ascend, or a value is not finite.
    """
    from sklearn.isotonic import isotonic_regression

    accuracies, sizes, curve = (np.asarray(v, dtype=float) for v in (accuracies, sizes, curve))
    if sizes.size < 2 or sizes.shape != curve.shape or not (np.diff(sizes) > 0).all():
        raise ValueError("need one accuracy for each of two or more sizes, and ascending sizes")
    if not all(np.isfinite(v).all() for v in (accuracies, sizes, curve)):
        raise ValueError("accuracies and sizes must be finite")
    rising = isotonic_regression(curve)
    found = np.exp(np.interp(accuracies, rising, np.log(sizes)))
    return np.where(accuracies < rising[0], 0.0, np.where(accuracies > rising[-1], np.inf, found))


def _resampled(rows, reference, n_resamples, random_state) -> tuple[np.ndarray, dict]:
    """Sizes, and of every other head its equivalent sentences: the mean first, then resamples."""
    wide = paired_values(rows, by=[SIZE, "head"]).astype(float).sort_index(axis=1)
    if reference not in wide.columns.get_level_values(1):
        raise ValueError(f"no rows of the reference {reference!r}")
    others = [name for name in rows["head"].unique() if name != reference]
    if not others:
        raise ValueError("the table holds only the reference; add the heads to compare")
    sizes = wide.columns.get_level_values(0).unique().to_numpy(dtype=float)
    if wide.isna().any(axis=None) or wide.shape[1] != len(sizes) * (1 + len(others)):
        raise ValueError("some fits are missing: keep sizes and seeds that all heads have")
    draw = np.random.default_rng(random_state)
    # a seed is drawn with all its sizes and heads, so that what they share stays shared
    chosen = draw.integers(len(wide), size=(n_resamples, len(wide)))
    means = np.vstack([wide.mean(), wide.to_numpy()[chosen].mean(axis=1)])
    means = pd.DataFrame(means, columns=wide.columns)
    ruler = means.xs(reference, axis=1, level=1).to_numpy()
    curves = {head: means.xs(head, axis=1, level=1).to_numpy() for head in others}
    return sizes, {
        head: np.array([sentences_for(a, sizes, r) for a, r in zip(curve, ruler, strict=True)])
        for head, curve in curves.items()
    }


def _interval(samples: np.ndarray) -> np.ndarray:
    """95 % percentile interval of values that are there: no mean of a number and infinity."""
    return np.quantile(samples, (0.025, 0.975), axis=0, method="nearest")


def equivalent_sentences(
    rows: pd.DataFrame,
    reference: str = "LogisticRegression",
    *,
    n_resamples: int = 2000,
    random_state: int = 0,
) -> pd.DataFrame:
    """Sentences of each label with which the reference is as accurate as another head.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    reference : str
        Head whose learning curve is the ruler.
    n_resamples, random_state : int
        Resamples of the seeds, and the seed of the resampling.

    Returns
    -------
    DataFrame
        One row per head and size: ``head``, ``samples_per_class``, ``sentences``, ``low`` and
        ``high`` (95 % percentile interval over seeds), all in sentences of each label; 0 means
        fewer than the smallest size, infinity more than the largest.

    Raises
    ------
    ValueError
        If the reference has no rows, nothing is there to compare, or a fit is missing.
    """
    sizes, found = _resampled(rows, reference, n_resamples, random_state)
    tables = []
    for head, samples in found.items():
        low, high = _interval(samples[1:])
        table = {"head": head, SIZE: sizes.astype(int), "sentences": samples[0]}
        tables.append(pd.DataFrame(table | {"low": low, "high": high}))
    return pd.concat(tables, ignore_index=True)


def sentence_factor(
    rows: pd.DataFrame,
    reference: str = "LogisticRegression",
    *,
    n_resamples: int = 2000,
    random_state: int = 0,
) -> pd.DataFrame:
    """One number a head: how many times its sentences the reference needs, typical over sizes.

    The median over the sizes, because a size at which the reference's curve does not reach the
    head's accuracy has no ratio that could enter a mean.

    Parameters
    ----------
    rows, reference, n_resamples, random_state
        As in :func:`equivalent_sentences`.

    Returns
    -------
    DataFrame
        One row per head: ``head``, ``factor``, ``low``, ``high`` (95 % percentile interval over
        seeds). Above 1, the head saves sentences; 0 and infinity as there.

    Raises
    ------
    ValueError
        As there.
    """
    sizes, found = _resampled(rows, reference, n_resamples, random_state)
    table = []
    for head, samples in found.items():
        factors = np.quantile(samples / sizes, 0.5, axis=1, method="lower")
        low, high = _interval(factors[1:])
        table.append({"head": head, "factor": factors[0], "low": low, "high": high})
    return pd.DataFrame(table)
