"""Accuracy translated into sentences, with a learning curve as the ruler.

The few-shot promise is that a head needs fewer sentences. So a head is measured here in the number
of sentences of each label that logistic regression needs for the same accuracy (our choice).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qllm_helpers.results.intervals import paired_values

#: Column with the number of sentences of each label, training and validation together.
SIZE = "samples_per_class"


def sentences_for(
    accuracies: Sequence[float], sizes: Sequence[float], curve: Sequence[float]
) -> np.ndarray:
    """Size at which a learning curve reaches each accuracy, by interpolation in its logarithm.

    `curve` holds the accuracy (fraction) at each of the ascending `sizes`; where it falls, the
    closest curve that does not fall is used instead. 0 below the curve and infinity above it,
    where it does not say. Raises ValueError if there are fewer than two sizes, they do not ascend,
    or a value is not finite.
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


def _resampled(rows: pd.DataFrame, reference: str, n_resamples: int) -> tuple[np.ndarray, dict]:
    """Sizes, and of every other head its equivalent sentences: the mean first, then resamples."""
    wide = paired_values(rows, by=["head", SIZE]).astype(float).sort_index(axis=1)
    if reference not in wide:
        raise ValueError(f"no rows of the reference {reference!r}")
    others = [name for name in rows["head"].unique() if name != reference]
    if not others:
        raise ValueError("the table holds only the reference; add the heads to compare")
    sizes = wide.columns.unique(1).to_numpy(dtype=float)
    if wide.isna().any(axis=None) or wide.shape[1] != len(sizes) * (1 + len(others)):
        raise ValueError("some fits are missing: keep sizes and seeds that all heads have")
    # a seed is drawn with all its sizes and heads, so that what they share stays shared
    chosen = np.random.default_rng(0).integers(len(wide), size=(n_resamples, len(wide)))
    means = np.vstack([wide.mean(), wide.to_numpy()[chosen].mean(axis=1)])
    ruler, *curves = (means[:, wide.columns.get_loc(name)] for name in (reference, *others))
    found = [
        np.array([sentences_for(a, sizes, r) for a, r in zip(curve, ruler, strict=True)])
        for curve in curves
    ]
    return sizes, dict(zip(others, found, strict=True))


def _interval(samples: np.ndarray) -> dict:
    """95 % percentile interval of values that are there: no mean of a number and infinity."""
    ends = np.quantile(samples, (0.025, 0.975), axis=0, method="nearest")
    return dict(zip(("low", "high"), ends, strict=True))


def equivalent_sentences(
    rows: pd.DataFrame, reference: str = "LogisticRegression", *, n_resamples: int = 2000
) -> pd.DataFrame:
    """Sentences of each label with which the reference is as accurate as another head.

    One row per head and size: ``head``, ``samples_per_class``, ``sentences``, ``low`` and ``high``
    (95 % percentile interval over `n_resamples` draws of the seeds); 0 means fewer than the
    smallest size, infinity more than the largest. Raises ValueError if the reference has no rows,
    nothing is there to compare, or a fit is missing.
    """
    sizes, found = _resampled(rows, reference, n_resamples)
    tables = []
    for head, samples in found.items():
        table = {"head": head, SIZE: sizes.astype(int), "sentences": samples[0]}
        tables.append(pd.DataFrame(table | _interval(samples[1:])))
    return pd.concat(tables, ignore_index=True)


def sentence_factor(
    rows: pd.DataFrame, reference: str = "LogisticRegression", *, n_resamples: int = 2000
) -> pd.DataFrame:
    """How many times a head's sentences the reference needs; above 1, the head saves sentences.

    The median over the sizes, because a size at which the reference's curve does not reach the
    head's accuracy has no ratio that could enter a mean. One row per head: ``head``, ``factor``,
    ``low``, ``high``; otherwise as :func:`equivalent_sentences`.
    """
    sizes, found = _resampled(rows, reference, n_resamples)
    table = []
    for head, samples in found.items():
        factors = np.quantile(samples / sizes, 0.5, axis=1, method="lower")
        table.append({"head": head, "factor": factors[0]} | _interval(factors[1:]))
    return pd.DataFrame(table)
