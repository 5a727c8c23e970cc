"""What a unit is fitted and tested on: embeddings or sentences, labels, and a split a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qllm_helpers.studies.grid import Unit, reads_texts
from qllm_helpers.text import protocols
from qllm_helpers.text.corpora import load_embeddings, load_texts
from qllm_helpers.text.protocols import Split

PARTS = ("train", "validation", "test")
_PART = ("dataset", "encoder", "protocol", "samples_per_class")


#: Loaded once a process; nobody changes the arrays.
_loaded = lru_cache(maxsize=2)(load_embeddings)


@lru_cache(maxsize=4)
def data_digest(dataset: str, encoder: str) -> str:
    """First 16 hexadecimal digits of the SHA-256 of embeddings, labels and official splits."""
    data = _loaded(dataset, encoder)
    digest = hashlib.sha256()
    for array in (data.X.astype("<f4"), data.y.astype("<i8"), data.split.astype("S10")):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=256)
def study_split(
    dataset: str, encoder: str, protocol: str, samples_per_class: int, seed: int, pool: bool = False
) -> Split:
    """The split of a row, the same for every head; or redraw number `seed` of the `pool`."""
    data = _loaded(dataset, encoder)
    if pool:
        return protocols.pool_split(data.y, data.split, protocol, seed, samples_per_class)
    if protocol == "paper":
        return protocols.paper_split(data.y, seed, samples_per_class=samples_per_class)
    return protocols.few_shot_split(data.y, data.split, seed, samples_per_class)


def split_of(row) -> Split:
    """Split of a result row: positions in the corpus, test part in the order of predictions."""
    return study_split(*(row[name] for name in (*_PART, "seed")))


def corpus_part(unit: Unit) -> tuple:
    """Corpus, body, protocol and sentences of each label of a unit."""
    return tuple(getattr(unit, name) for name in _PART)


def outside_pool(dataset: str, encoder: str, protocol: str) -> np.ndarray:
    """Which sentences of a corpus decide verdicts, boolean (n,): those outside the pool."""
    return ~protocols.development_pool(_loaded(dataset, encoder).split, protocol)


@dataclass(frozen=True)
class UnitData:
    """Labels y (n,), R splits, and X: float32 (n, d), (R, n, d) if fine-tuned; or texts (n,)."""

    X: np.ndarray
    y: np.ndarray
    splits: list[Split]

    def features(self, replica: int, index: np.ndarray) -> np.ndarray:
        """Some sentences as the replica sees them."""
        return (self.X[replica] if self.X.ndim == 3 else self.X)[index]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for all numerical libraries: bits then do not depend on the number of jobs."""
    import numba
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def unit_data(unit: Unit, *, pool: bool = False) -> UnitData:
    """Embeddings (or sentences), labels and one split per seed, or per redraw of the `pool`."""
    data = _loaded(unit.dataset, unit.encoder)
    splits = [study_split(*corpus_part(unit), seed, pool) for seed in unit.seeds]
    if reads_texts(unit.estimator):
        return UnitData(np.array(load_texts(unit.dataset).texts, dtype=object), data.y, splits)
    if not unit.fine_tuned:
        return UnitData(data.X, data.y, splits)
    # only sentences that some seed uses; a row that a seed does not use stays zero
    used = np.unique(np.concatenate([getattr(s, part) for s in splits for part in PARTS]))
    X = np.zeros((len(splits), len(used), data.X.shape[1]), dtype=np.float32)
    for replica, seed in enumerate(unit.seeds):
        vectors, positions = tune_body(unit, seed, pool=pool)
        X[replica, np.searchsorted(used, positions)] = vectors
    moved = [Split(*(np.searchsorted(used, getattr(s, part)) for part in PARTS)) for s in splits]
    return UnitData(X, data.y[used], moved)


def tune_body(unit: Unit, seed: int, *, pool: bool = False):
    """`tune_split` of one seed: the body is tuned on the training part of its split; cached."""
    from qllm_helpers.text.tuning import tune_split

    with one_thread():
        split, texts = study_split(*corpus_part(unit), seed, pool), load_texts(unit.dataset)
        return tune_split(texts, split, seed, unit.protocol, encoder=unit.encoder)
