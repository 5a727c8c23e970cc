"""The two protocols: which sentences train, validate and test."""

import math
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from qllm_helpers import checks
from qllm_helpers.text.corpora import duplicate_groups

FEW_SHOT_VALIDATION = 250
VALIDATION_FRACTION = 0.15
#: Most sentences of a development pool that judge a setting.
POOL_JUDGES = 437


@dataclass(frozen=True)
class Split:
    """Disjoint positions (int64 vectors) of a training, a validation and a test part."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def paper_split(y, seed: int, *, samples_per_class: int = 256) -> Split:
    """Split of the paper: 85 % of few sentences of each label train and 15 % validate, stratified.

    Everything else is the test part (SST-2: 435, 77 and 9,101 sentences).

    Parameters
    ----------
    y : array_like of shape (n,)
        Labels of the whole corpus, in its order.
    seed : int
        The same seed gives the same split.
    samples_per_class : int
        Sentences of each label for training and validation together.

    Returns
    -------
    Split
        Training and validation positions in random order, test positions ascending.

    Raises
    ------
    ValueError
        If an argument cannot be used.

    Notes
    -----
    Sizes: arXiv 2504.08732, section on data. A text that occurs more than once in a corpus of this
    package, recognised by its labels, is never drawn (our choice): no test sentence trains.
    """
    y = _checked_labels(y)
    rng = np.random.default_rng(checks.integer("seed", seed, 0))
    sample = _draw(y, np.ones(len(y), dtype=bool), samples_per_class, rng)
    train, validation = train_test_split(
        sample,
        test_size=VALIDATION_FRACTION,
        stratify=y[sample],
        random_state=int(rng.integers(2**31)),
    )
    return Split(train, validation, np.setdiff1d(np.arange(len(y)), sample))


def few_shot_split(y, split, seed: int, samples_per_class: int = 8) -> Split:
    """Split of the earlier reproduction: a handful of training sentences of each label.

    They are drawn from the official training part; the first 250 sentences of the official
    validation part validate, the others test (SST-2: 16, 250 and 622).

    Parameters
    ----------
    y : array_like of shape (n,)
        Labels of the whole corpus, in its order.
    split : array_like of str, shape (n,)
        Official part of each sentence: ``"train"``, ``"validation"`` or ``"test"``.
    seed : int
        Draws the training sentences; the two other parts are the same for every seed.
    samples_per_class : int
        Training sentences of each label.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        If the arguments cannot be used, or the corpus has too small a validation part (TREC).

    Notes
    -----
    Sizes: MerLin documentation, reproduction "QLLM fine tuning" (there from GLUE's copy of SST-2).
    A text that occurs more than once in the corpus is never drawn for training (our choice).
    """
    y = _checked_labels(y)
    split = np.asarray(split)
    if split.shape != y.shape:
        raise ValueError(f"y and split must have one length, got {y.shape} and {split.shape}")
    held_out = np.flatnonzero(split == "validation")
    if len(held_out) <= FEW_SHOT_VALIDATION:
        need = f"more than {FEW_SHOT_VALIDATION} sentences with split 'validation'"
        raise ValueError(f"{need} are needed, got {len(held_out)}; use paper_split instead")
    rng = np.random.default_rng(checks.integer("seed", seed, 0))
    train = _draw(y, split == "train", samples_per_class, rng)
    return Split(train, held_out[:FEW_SHOT_VALIDATION], held_out[FEW_SHOT_VALIDATION:])


def development_pool(split, protocol: str) -> np.ndarray:
    """Which sentences settings may be chosen on, boolean (n,): they decide no verdict.

    ``split`` are the official parts. The paper's protocol: the official validation part (TREC has
    none: its test part); the few-shot protocol, which tests on that one: the training part.
    """
    split = np.asarray(split)
    if protocol == "few_shot":
        return split == "train"
    return split == ("validation" if "validation" in split else "test")


def pool_split(y, split, protocol: str, redraw: int, samples_per_class: int) -> Split:
    """A redraw of the development pool: as many sentences train as in the protocol, others judge.

    Half of a small pool trains (SST-2, paper's protocol: 435 and 437 sentences); ``test`` is empty.
    """
    y, pool = _checked_labels(y), np.flatnonzero(development_pool(split, protocol))
    n_train = samples_per_class * len(np.unique(y))
    if protocol == "paper":
        n_train -= math.ceil(VALIDATION_FRACTION * n_train)
    n_train = min(n_train, len(pool) // 2)
    sizes = {"train_size": n_train, "test_size": min(POOL_JUDGES, len(pool) - n_train)}
    parts = train_test_split(pool, **sizes, stratify=y[pool], random_state=redraw)
    return Split(*parts, np.array([], dtype=np.int64))


def _checked_labels(y) -> np.ndarray:
    y = np.asarray(y)
    if y.ndim != 1 or len(y) == 0:
        raise ValueError(f"y must be a non-empty vector of labels, got shape {y.shape}")
    if len(np.unique(y)) < 2:
        raise ValueError("y must have at least two different labels")
    return y


def _draw(y, pool, samples_per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Positions drawn from where `pool` is true and the text occurs once, in random order."""
    samples_per_class = checks.integer("samples_per_class", samples_per_class)
    for group in duplicate_groups(y):
        pool[group] = False
    drawn = []
    for label in np.unique(y):
        candidates = np.flatnonzero(pool & (y == label))
        if len(candidates) < samples_per_class:
            few = f"fewer than samples_per_class={samples_per_class}"
            raise ValueError(f"label {label} has {len(candidates)} sentences to draw from, {few}")
        drawn.append(rng.choice(candidates, samples_per_class, replace=False))
    return rng.permutation(np.concatenate(drawn))
