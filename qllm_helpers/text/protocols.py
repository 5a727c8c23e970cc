"""Corpora and the two evaluation protocols.

``load_texts`` gives the sentences (see :mod:`qllm_helpers.text.corpora`); ``paper_split`` and
``few_shot_split`` say which of them train, select and test a head.
"""

import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qllm_helpers.files import read_verified, sha256
from qllm_helpers.text.corpora import CORPORA, SPLIT_NAMES, Corpus, Texts, corpus, load_texts

__all__ = [
    "CORPORA",
    "SPLIT_NAMES",
    "Corpus",
    "Split",
    "Texts",
    "corpus",
    "duplicate_groups",
    "few_shot_split",
    "find_duplicates",
    "labels_digest",
    "load_texts",
    "paper_split",
]

DUPLICATES_FILE = "duplicates.json"
FEW_SHOT_VALIDATION = 250
VALIDATION_FRACTION = 0.15


@dataclass(frozen=True)
class Split:
    """Disjoint positions of a training, a validation and a test part.

    Attributes
    ----------
    train, validation, test : ndarray of int64, one-dimensional
        Positions in the corpus.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def paper_split(y, seed: int, *, samples_per_class: int = 256) -> Split:
    """Split of the paper: few sentences of each label, everything else is the test part.

    ``samples_per_class`` sentences of each label are drawn; 85 % of them train and 15 % validate,
    stratified; the test part is all the rest (SST-2: 435, 77 and 9,101 sentences).

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
        If the labels, the seed or the number of samples cannot be used.

    Notes
    -----
    The sizes are those of arXiv 2504.08732, section on data. A text that occurs more than once in
    the corpus is never drawn (our choice), so no test sentence was seen in training. The corpora
    of this package are recognised by their labels; other labels count as free of duplicates.
    """
    from sklearn.model_selection import train_test_split

    y = _checked_labels(y)
    rng = _generator(seed)
    pool = np.ones(len(y), dtype=bool)
    pool[_repeated(y)] = False
    sample = _draw(y, pool, samples_per_class, rng)
    train, validation = train_test_split(
        sample,
        test_size=VALIDATION_FRACTION,
        stratify=y[sample],
        random_state=int(rng.integers(2**31)),
    )
    rest = np.ones(len(y), dtype=bool)
    rest[sample] = False
    return Split(train, validation, np.flatnonzero(rest))


def few_shot_split(y, split, seed: int, samples_per_class: int = 8) -> Split:
    """Split of the earlier reproduction: a handful of training sentences of each label.

    Training sentences are drawn from the official training part. The official validation part
    is cut: its first 250 sentences validate, the others test (SST-2: 16, 250 and 622).

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
        raise ValueError(
            f"few_shot_split needs more than {FEW_SHOT_VALIDATION} sentences with split "
            f"'validation', got {len(held_out)}; use paper_split for this corpus"
        )
    pool = split == "train"
    pool[_repeated(y)] = False
    train = _draw(y, pool, samples_per_class, _generator(seed))
    return Split(train, held_out[:FEW_SHOT_VALIDATION], held_out[FEW_SHOT_VALIDATION:])


def find_duplicates(texts: list[str]) -> list[list[int]]:
    """Positions of texts that occur more than once.

    Texts that differ only in case or white space count as equal: the uncased encoder cannot
    tell them apart.

    Parameters
    ----------
    texts : list of str

    Returns
    -------
    list of list of int
        One ascending list of positions per repeated text, in order of first occurrence.
    """
    positions: dict[str, list[int]] = {}
    for position, text in enumerate(texts):
        positions.setdefault(" ".join(text.lower().split()), []).append(position)
    return [group for group in positions.values() if len(group) > 1]


def duplicate_groups(y) -> list[list[int]]:
    """Positions of repeated texts in a corpus of this package, found by its labels.

    Parameters
    ----------
    y : array_like of shape (n,)
        Labels of a whole corpus.

    Returns
    -------
    list of list of int
        Groups of positions with equal text; empty for labels of any other corpus.
    """
    y = np.asarray(y)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        return []
    return _duplicate_table().get(labels_digest(y), [])


def labels_digest(y) -> str:
    """SHA-256 of a label vector, by which a corpus is recognised without its sentences.

    Parameters
    ----------
    y : array_like of int, shape (n,)

    Returns
    -------
    str
    """
    return sha256(np.asarray(y).astype("<i8").tobytes())


@lru_cache(maxsize=1)
def _duplicate_table() -> dict[str, list[list[int]]]:
    table = json.loads(read_verified(DUPLICATES_FILE))
    return {entry["labels_sha256"]: entry["groups"] for entry in table.values()}


def _repeated(y: np.ndarray) -> np.ndarray:
    groups = duplicate_groups(y)
    return np.array([position for group in groups for position in group], dtype=np.int64)


def _checked_labels(y) -> np.ndarray:
    y = np.asarray(y)
    if y.ndim != 1 or len(y) == 0:
        raise ValueError(f"y must be a non-empty vector of labels, got shape {y.shape}")
    if len(np.unique(y)) < 2:
        raise ValueError("y must have at least two different labels")
    return y


def _generator(seed: int) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a whole number from 0 on, got {seed!r}")
    return np.random.default_rng(int(seed))


def _draw(y, pool, samples_per_class: int, rng: np.random.Generator) -> np.ndarray:
    whole = isinstance(samples_per_class, int | np.integer)
    if not whole or isinstance(samples_per_class, bool) or samples_per_class < 1:
        raise ValueError(f"samples_per_class must be a positive integer, got {samples_per_class!r}")
    drawn = []
    for label in np.unique(y):
        candidates = np.flatnonzero(pool & (y == label))
        if len(candidates) < samples_per_class:
            raise ValueError(
                f"label {label} has {len(candidates)} sentences to draw from, fewer than "
                f"samples_per_class={samples_per_class}"
            )
        drawn.append(rng.choice(candidates, samples_per_class, replace=False))
    return rng.permutation(np.concatenate(drawn))
