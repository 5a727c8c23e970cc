"""What a screen of configurations gains by chance, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd


def standard_error(accuracy: float, n_sentences: int) -> float:
    """Standard error of an accuracy that comes from the finite number of sentences alone.

    Parameters
    ----------
    accuracy : float
        True accuracy, a fraction.
    n_sentences : int

    Returns
    -------
    float
        ``sqrt(p (1 - p) / n)``, a fraction.
    """
    return math.sqrt(accuracy * (1 - accuracy) / n_sentences)


def screen_curve(
    n_configurations: Sequence[int],
    *,
    accuracy: float,
    training_std: float,
    n_validation: int = 77,
    n_test: int = 9101,
    reported: float = 0.0314,
) -> pd.DataFrame:
    """What a screen of equally good configurations gains by chance, against its size.

    Every configuration has the same expected accuracy. One fit of it differs by a Gaussian
    error of training, which both parts see, and each part adds the error of its finite number
    of sentences, taken as independent between configurations (an upper limit for the test
    part, which is the same for all).

    Parameters
    ----------
    n_configurations : sequence of int
        Sizes of the screen.
    accuracy : float
        Expected accuracy of all, a fraction.
    training_std : float
        Standard deviation of the error of training (fraction); see :func:`residual_spread`.
    n_validation, n_test : int
        Sentences of the two parts (the defaults are the paper's protocol).
    reported : float
        Gain (fraction) for the last column.

    Returns
    -------
    DataFrame
        ``n_configurations``; expected excess over one configuration (fractions) of
        ``validation``: the best validation accuracy itself, ``chosen_on_validation`` and
        ``chosen_on_test``: the test accuracy of the configuration that wins on either;
        ``share``: probability that the latter is `reported` above one more such fit.
    """
    on_validation = math.hypot(training_std, standard_error(accuracy, n_validation))
    on_test = math.hypot(training_std, standard_error(accuracy, n_test))
    # The winner on validation keeps of its advantage the part that is due to training.
    kept = training_std**2 / on_validation
    largest = np.array([_mean_largest(count) for count in n_configurations])
    share = [_share_above(count, reported / on_test) for count in n_configurations]
    return pd.DataFrame(
        {
            "n_configurations": list(n_configurations),
            "validation": largest * on_validation,
            "chosen_on_validation": largest * kept,
            "chosen_on_test": largest * on_test,
            "share": share,
        }
    )


def _mean_largest(count: int, points: int = 20_000) -> float:
    """Mean of the largest of `count` standard normal values."""
    from scipy import special

    middles = (np.arange(points) + 0.5) / points
    return float(special.ndtri_exp(np.log(middles) / count).mean())


def _share_above(count: int, gap: float) -> float:
    """Probability that the largest of `count` normal values is `gap` above one more of them."""
    from scipy import special

    middles = special.ndtri((np.arange(20_000) + 0.5) / 20_000)
    return float(-np.expm1(count * special.log_ndtr(middles + gap)).mean())
