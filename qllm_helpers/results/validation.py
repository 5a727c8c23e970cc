"""What a handful of validation sentences can tell, and what more of them would.

The paper's sampling sets 15 % of the sentences aside. With four sentences of each label that is one
of each; here is what choices on them are worth (our question, not the paper's).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qllm_helpers.results.intervals import interval
from qllm_helpers.results.selection import select_best
from qllm_helpers.results.sizes import SIZE
from qllm_helpers.text.protocols import Split, paper_split

__all__ = ["choice_by_validation", "few_and_many", "optimism"]

#: Labels of SST-2, the corpus of the study.
N_LABELS = 2


def few_and_many(
    y, seeds: Sequence[int], samples_per_class: int, n_validation: int
) -> tuple[list[Split], list[Split]]:
    """The paper's splits, and the same ones with many more validation sentences.

    Parameters
    ----------
    y : array_like of shape (n,)
        Labels of the whole corpus, in its order.
    seeds : sequence of int
        One split each.
    samples_per_class : int
        Sentences of each label for training and the small validation part together.
    n_validation : int
        Sentences of the large validation part; drawn from those that would test.

    Returns
    -------
    tuple of two lists of Split
        With few and with many validation sentences. Training sentences are the same in both, and
        so are the test sentences, which exclude both validation parts.

    Raises
    ------
    ValueError
        As :func:`qllm_helpers.paper_split`, and if `n_validation` leaves nothing to test.
    """
    few, many = [], []
    for seed in seeds:
        split = paper_split(y, seed, samples_per_class=samples_per_class)
        if not 0 < n_validation < len(split.test):
            raise ValueError(f"n_validation must be 1 to {len(split.test) - 1}, not {n_validation}")
        shuffled = np.random.default_rng(seed).permutation(split.test)
        test = np.sort(shuffled[n_validation:])
        few.append(Split(split.train, split.validation, test))
        many.append(Split(split.train, shuffled[:n_validation], test))
    return few, many


def optimism(rows: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy as an estimate of test accuracy, size by size.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.

    Returns
    -------
    DataFrame
        One row per size: ``samples_per_class``, ``n_validation`` (sentences), ``validation`` and
        ``test`` (mean accuracies over heads and seeds), ``optimism`` (their difference) with
        ``low`` and ``high`` (95 % t interval over seeds, of the mean over heads), ``error``
        (standard deviation of the difference over seeds, averaged over heads), ``perfect``
        (share of fits with every validation sentence right) and ``correlation`` (of validation
        and test over seeds, averaged over heads; missing where a head's validation never varies).

    Raises
    ------
    ValueError
        If the table is empty or lacks a column.
    """
    needed = {SIZE, "head", "seed", "n_train", "validation_accuracy", "test_accuracy"}
    if rows.empty or needed - set(rows.columns):
        missing = ", ".join(sorted(needed - set(rows.columns)))
        raise ValueError(f"the table has no column {missing}" if missing else "no rows")
    return pd.DataFrame([_optimism_at(size, group) for size, group in rows.groupby(SIZE)])


def _optimism_at(size: int, rows: pd.DataFrame) -> dict:
    rows = rows.assign(gap=rows["validation_accuracy"] - rows["test_accuracy"])
    low, high = interval(rows.groupby("seed")["gap"].mean())
    heads = [group for _, group in rows.groupby("head")]
    varied = [g for g in heads if g["validation_accuracy"].nunique() > 1]
    links = [g["validation_accuracy"].corr(g["test_accuracy"]) for g in varied]
    return {
        SIZE: size,
        "n_validation": N_LABELS * size - int(rows["n_train"].iloc[0]),
        "validation": rows["validation_accuracy"].mean(),
        "test": rows["test_accuracy"].mean(),
        "optimism": rows["gap"].mean(),
        "low": low,
        "high": high,
        "error": np.mean([group["gap"].std() for group in heads]),
        "perfect": rows["validation_accuracy"].eq(1).mean(),
        "correlation": np.mean(links) if links else np.nan,
    }


def choice_by_validation(rows: pd.DataFrame) -> pd.DataFrame:
    """What the head with the best validation accuracy is worth on the test sentences, by size.

    Parameters
    ----------
    rows : DataFrame
        One row per fit, with ``validation_loss``: it decides ties, and a head without one (a
        support vector machine) loses them.

    Returns
    -------
    DataFrame
        One row per size: ``samples_per_class``; test accuracy of the head ``chosen`` seed by seed
        on validation, ``average`` over all heads, in ``hindsight`` (the best on the test
        sentences, seed by seed: a bound that nobody reaches), all means over seeds; ``gain``
        (chosen minus average) with ``low`` and ``high`` (95 % t interval over seeds).

    Raises
    ------
    ValueError
        If a column is missing.
    """
    ordered = rows.sort_values("validation_loss", kind="stable", na_position="last")
    table = []
    for size, group in ordered.groupby(SIZE):
        by_seed = group.groupby("seed")["test_accuracy"]
        chosen = select_best(group, within=SIZE).set_index("seed")["test_accuracy"]
        gain = chosen - by_seed.mean()
        low, high = interval(gain)
        means = {"chosen": chosen.mean(), "average": by_seed.mean().mean()}
        means["hindsight"] = by_seed.max().mean()
        table.append({SIZE: size} | means | {"gain": gain.mean(), "low": low, "high": high})
    return pd.DataFrame(table)
