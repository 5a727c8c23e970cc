"""One unit of a study: fit every setting on every seed, choose on validation, score once."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.metrics import f1_score, log_loss

from qllm_helpers.classifiers.replicated import ReplicatedClassifier, fit_many
from qllm_helpers.heads.parameters import (
    ParameterCount,
    PartCount,
    count_parameters,
    effective_parameters,
    has_generic_ranks,
    live_parameters,
)
from qllm_helpers.studies.grid import Unit
from qllm_helpers.studies.predictions import study_split, to_text
from qllm_helpers.studies.registry import estimator_class, reads_texts
from qllm_helpers.text.corpora import load_texts
from qllm_helpers.text.embeddings import load_embeddings
from qllm_helpers.text.protocols import Split

PARTS = ("train", "validation", "test")
#: Sentences (without their labels) on which a parameter with a gradient counts as live.
LIVE_SAMPLES = 512
#: Networks with more live parameters get no effective count: its matrix is this number squared,
#: and the sentences have no more than 19,226 logits. Other heads need no such matrix.
MAX_RANK = 6000
_UNIT = ("dataset", "encoder", "protocol", "samples_per_class", "fine_tuned", "family")
_CONFIGURATION = ("n_modes", "n_photons", "n_qubits", "encoding", "space", "readout", "twin")


@lru_cache(maxsize=4)
def data_digest(dataset: str, encoder: str) -> str:
    """First 16 hexadecimal digits of the SHA-256 of embeddings, labels and official splits."""
    data = load_embeddings(dataset, encoder)
    digest = hashlib.sha256()
    for array in (data.X.astype("<f4"), data.y.astype("<i8"), data.split.astype("S10")):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def provenance() -> dict[str, str]:
    """Versions of what computes, and the platform, of this process."""
    packages = ("numpy", "numba", "torch", "scikit-learn", "merlinquantum")
    versions = {name.replace("-", "_"): version(name) for name in packages}
    machine = f"{platform.system()}-{platform.machine()}"
    return {"python": platform.python_version(), **versions, "platform": machine}


def git_revision() -> str:
    """Commit of the checkout, with "+" if code was changed since; "" outside a checkout."""
    root = Path(__file__).resolve().parent.parent.parent
    if not (root / ".git").exists():
        return ""

    def git(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True)

    revision = git("rev-parse", "--short=12", "HEAD")
    if revision.returncode != 0:
        return ""
    changed = git("status", "--porcelain", "--", "qllm_helpers/*.py").stdout.strip()
    return revision.stdout.strip() + ("+" if changed else "")


@dataclass(frozen=True)
class UnitData:
    """Labels y (n,), R splits, and X: float32 (n, d), (R, n, d) if fine-tuned; or texts (n,)."""

    X: np.ndarray
    y: np.ndarray
    splits: list[Split]

    def features(self, replica: int, index: np.ndarray) -> np.ndarray:
        """Some sentences as the replica sees them."""
        return (self.X[replica] if self.X.ndim == 3 else self.X)[index]


@dataclass(frozen=True)
class Candidate:
    """A fit and what is known of it without the test part."""

    fit: object
    setting: dict
    validation_accuracy: float
    validation_loss: float


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


def unit_data(unit: Unit) -> UnitData:
    """Embeddings (or sentences), labels and one split per seed."""
    data = load_embeddings(unit.dataset, unit.encoder)
    part = unit.dataset, unit.encoder, unit.protocol, unit.samples_per_class
    splits = [study_split(*part, seed) for seed in unit.seeds]
    if reads_texts(unit.estimator):
        return UnitData(np.array(load_texts(unit.dataset).texts, dtype=object), data.y, splits)
    if not unit.fine_tuned:
        return UnitData(data.X, data.y, splits)
    return _fine_tuned(unit, data.y, splits)


def tune_body(unit: Unit, seed: int):
    """Embeddings of one seed's split by a body fine-tuned on its training part; cached."""
    from qllm_helpers.text.tuning import tune_few_shot, tune_paper

    tune = tune_paper if unit.protocol == "paper" else tune_few_shot
    options = {"samples_per_class": unit.samples_per_class, "encoder": unit.encoder}
    with one_thread():
        return tune(unit.dataset, seed, **options)


def _fine_tuned(unit: Unit, y: np.ndarray, splits: list[Split]) -> UnitData:
    # only sentences that some seed uses; a row that a seed does not use stays zero
    used = np.unique(np.concatenate([getattr(s, part) for s in splits for part in PARTS]))
    X = None
    for replica, seed in enumerate(unit.seeds):
        tuned = tune_body(unit, seed)
        if X is None:
            X = np.zeros((len(splits), len(used), tuned.X.shape[1]), dtype=np.float32)
        X[replica, np.searchsorted(used, tuned.positions)] = tuned.X
    moved = [Split(*(np.searchsorted(used, getattr(s, part)) for part in PARTS)) for s in splits]
    return UnitData(X, y[used], moved)


def _fit_replicas(estimator, data: UnitData, seeds, validates: bool) -> list[tuple]:
    """Fits of all seeds, validation accuracy and loss; who `validates` gets the validation part."""
    if isinstance(estimator, ReplicatedClassifier):
        fits = fit_many(estimator, data.X, data.y, data.splits, seeds)
        return [(fit, fit.validation_accuracy_, fit.validation_loss_) for fit in fits]
    fits = []
    for replica, (seed, split) in enumerate(zip(seeds, data.splits, strict=True)):
        fit = clone(estimator)
        if "random_state" in fit.get_params():
            fit.set_params(random_state=seed)
        X, y = data.features(replica, split.validation), data.y[split.validation]
        train = data.features(replica, split.train), data.y[split.train]
        # who validates keeps the weights of its best epoch
        fit.fit(*train, *((X, y) if validates else ()))
        accuracy, loss = float(np.mean(fit.predict(X) == y)), float("nan")
        if hasattr(fit, "predict_proba"):
            loss = float(log_loss(y, fit.predict_proba(X), labels=fit.classes_))
        fits.append((fit, accuracy, loss))
    return fits


def select(candidates: list[Candidate]) -> Candidate:
    """Highest validation accuracy; ties: lower validation loss if known, then the first setting."""
    loss = [np.nan_to_num(one.validation_loss, nan=np.inf) for one in candidates]
    accuracy = [one.validation_accuracy for one in candidates]
    return candidates[np.lexsort((loss, np.negative(accuracy)))[0]]


def _chosen_fits(unit: Unit, data: UnitData) -> list[Candidate]:
    """For every seed the fit with the setting that validation chose."""
    settings, kind = [], estimator_class(unit.estimator)
    texts = reads_texts(unit.estimator)
    for setting in unit.settings:
        estimator = kind(**unit.parameters | setting)
        if texts and "encoder" in estimator.get_params():
            estimator.set_params(encoder=unit.encoder)
        fits = _fit_replicas(estimator, data, unit.seeds, texts)
        settings.append([Candidate(fit, setting, *scores) for fit, *scores in fits])
    return [select(list(candidates)) for candidates in zip(*settings, strict=True)]


def run_unit(unit: Unit) -> list[dict]:
    """Rows of a unit, one per seed: the test part is used once a seed, by the chosen fit.

    They lack the names of study and head and the git revision, and have ``predictions`` too.
    """
    with one_thread():
        data, start = unit_data(unit), time.perf_counter()
        chosen = _chosen_fits(unit, data)
        seconds = (time.perf_counter() - start) / len(unit.seeds)
        counts = _counts(chosen[0].fit, data)
        return [
            _row(unit, replica, candidate, data) | counts | {"fit_seconds": seconds}
            for replica, candidate in enumerate(chosen)
        ]


def _counts(fit, data: UnitData) -> dict:
    """Parameter counts of the first seed's fit, taken as those of all seeds."""
    X = data.features(0, np.concatenate([getattr(data.splits[0], part) for part in PARTS]))
    own = hasattr(fit, "count_parameters")
    counted = fit.count_parameters(X) if own else _count_on_sentences(fit, X)
    parts = {"": counted.nominal, "live_": counted.live, "effective_": counted.effective}
    totals = {name: None if part is None else int(part.total) for name, part in parts.items()}
    return {f"n_{name}parameters": total for name, total in totals.items()}


def _count_on_sentences(fit, X: np.ndarray) -> ParameterCount:
    """Count on as many samples as the rank needs; no rank for networks with many parameters."""
    if not hasattr(fit, "module_"):
        return count_parameters(fit, X)
    live = live_parameters(fit.module_, X[:LIVE_SAMPLES])
    number = sum(int(mask.sum()) for mask in live.values())
    count = replace(count_parameters(fit), live=PartCount(number))
    if number > MAX_RANK and not has_generic_ranks(fit.module_):
        return count
    samples = X[: max(LIVE_SAMPLES, 8 + number // len(fit.classes_))]
    return replace(count, effective=effective_parameters(fit.module_, samples, live))


def _row(unit: Unit, replica: int, candidate: Candidate, data: UnitData) -> dict:
    split = data.splits[replica]
    predicted = candidate.fit.predict(data.features(replica, split.test))
    y = data.y[split.test]
    known = candidate.fit.get_params() if hasattr(candidate.fit, "get_params") else {}
    return {
        **{name: known.get(name) for name in _CONFIGURATION},
        **{name: getattr(unit, name) for name in _UNIT},
        "estimator": unit.estimator_name,
        "configuration": json.dumps(unit.parameters, sort_keys=True),
        "seed": unit.seeds[replica],
        "hyperparameters": json.dumps(candidate.setting, sort_keys=True),
        "n_train": len(split.train),
        "n_test": len(split.test),
        "validation_accuracy": candidate.validation_accuracy,
        "validation_loss": candidate.validation_loss,
        "test_accuracy": float(np.mean(predicted == y)),
        "macro_f1": float(f1_score(y, predicted, average="macro")),
        "predictions": to_text(predicted, int(data.y.max()) + 1),
        **provenance(),
        "data_digest": data_digest(unit.dataset, unit.encoder),
    }
