"""Accuracy translated into sentences, with a learning curve as the ruler.

The few-shot promise is that a head needs fewer sentences. So a head is measured here in the number
of sentences of each label that logistic regression needs for the same accuracy (our choice).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.isotonic import isotonic_regression

from qllm_helpers.results.intervals import paired_values

#: Column with the number of sentences of each label, training and validation together.
SIZE = "samples_per_class"
RESAMPLES = 2000


def sentences_for(
    accuracies: Sequence[float], sizes: Sequence[float], curve: Sequence[float]
) -> np.ndarray:
    """Sizes at which a learning curve reaches accuracies, interpolated in the size's logarithm.

    Where the `curve` falls, the closest one that does not is used; 0 below it, infinity above it.
    """
    accuracies, sizes, curve = (np.asarray(v, dtype=float) for v in (accuracies, sizes, curve))
    if sizes.size < 2 or sizes.shape != curve.shape or not (np.diff(sizes) > 0).all():
        raise ValueError("need one accuracy for each of two or more sizes, and ascending sizes")
    if not all(np.isfinite(v).all() for v in (accuracies, sizes, curve)):
        raise ValueError("accuracies and sizes must be finite")
    rising = isotonic_regression(curve)
    found = np.exp(np.interp(accuracies, rising, np.log(sizes)))
    return np.where(accuracies < rising[0], 0.0, np.where(accuracies > rising[-1], np.inf, found))


def _resampled(rows: pd.DataFrame, reference: str) -> tuple[np.ndarray, dict]:
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
    chosen = np.random.default_rng(0).integers(len(wide), size=(RESAMPLES, len(wide)))
    means = np.vstack([wide.mean(), wide.to_numpy()[chosen].mean(axis=1)])
    curves = {name: means[:, wide.columns.get_loc(name)] for name in (reference, *others)}
    ruler = curves.pop(reference)
    return sizes, {
        head: np.array([sentences_for(a, sizes, r) for a, r in zip(curve, ruler, strict=True)])
        for head, curve in curves.items()
    }


def _with_interval(name: str, samples: np.ndarray) -> dict:
    """The first sample, and the 95 % percentile interval of the others, of values that are there.

    So it holds no mean of a number and infinity.
    """
    low, high = np.quantile(samples[1:], (0.025, 0.975), axis=0, method="nearest")
    return {name: samples[0], "low": low, "high": high}


def equivalent_sentences(rows: pd.DataFrame, reference: str = "LogisticRegression") -> pd.DataFrame:
    """``sentences`` of each label with which the reference is as accurate as a head, by size.

    ``low`` and ``high`` are 95 % over draws of the seeds; 0 and infinity: beyond the sizes.
    """
    sizes, found = _resampled(rows, reference)
    size = {SIZE: sizes.astype(int)}
    rows = [{"head": h} | size | _with_interval("sentences", one) for h, one in found.items()]
    return pd.concat(map(pd.DataFrame, rows), ignore_index=True)


def sentence_factor(rows: pd.DataFrame, reference: str = "LogisticRegression") -> pd.DataFrame:
    """How many times a head's sentences the reference needs; above 1, the head saves sentences.

    The median over sizes: one at which the reference's curve does not reach has no ratio.
    """
    sizes, found = _resampled(rows, reference)
    rows = []
    for head, samples in found.items():
        middle = np.quantile(samples / sizes, 0.5, axis=1, method="lower")
        rows.append({"head": head} | _with_interval("factor", middle))
    return pd.DataFrame(rows)
