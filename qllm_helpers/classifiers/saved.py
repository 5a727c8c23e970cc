"""Heads to keep and use: trained on a corpus of this book, as files, for a reader's own sentences.

Files are safetensors with one JSON entry, never anything that can run code. A SHA-256 covers
weights and description, since safetensors checks sizes, not contents.
"""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

from qllm_helpers.classifiers import estimators
from qllm_helpers.classifiers.replicated import ReplicatedClassifier
from qllm_helpers.files import DataError, sha256, write_atomic
from qllm_helpers.text.corpora import load_embeddings
from qllm_helpers.text.encoders import DEFAULT_ENCODER, encode, short_name
from qllm_helpers.text.protocols import paper_split
from qllm_helpers.training.loop import TrainingResult

#: Sentences of each label to train and validate with; TREC's rarest class has 95 in all.
SAMPLES_PER_CLASS = {"sst2": 256, "sst5": 256, "trec": 64}
#: A fitted head and its accuracies (fractions), with that of logistic regression.
TrainedHead = namedtuple(
    "TrainedHead", "head validation_accuracy test_accuracy reference_accuracy n_train n_test"
)
FORMAT, VERSION = "qllm-helpers head", 1
#: Estimators that a file may name: nothing else is ever built from one.
SAVED = (
    *("MLPClassifier", "PhotonicClassifier", "NoisyPhotonicClassifier"),
    *("QubitClassifier", "QuadraticFormClassifier"),
)
_SCORES = ("best_epoch_", "validation_accuracy_", "validation_loss_")
_KEYS = {
    *("format", "version", "estimator", "parameters", "n_features", "classes", "scores"),
    *("history", "label_names", "encoder"),
}


def save_head(
    estimator: ReplicatedClassifier,
    path: str | Path,
    *,
    label_names: list[str] | None = None,
    encoder: str = DEFAULT_ENCODER,
) -> Path:
    """Write a fitted head to a file.

    Parameters
    ----------
    estimator : fitted estimator
        Photonic (noisy too), qubit, MLP or of quadratic forms.
    path : str or Path
        Target, by convention ending in ``.safetensors``; an existing file is replaced at once.
    label_names : list of str or None
        Name of each class, in the order of ``classes_``; None for the classes themselves.
    encoder : str
        Sentence encoder whose vectors the head was fitted on.

    Returns
    -------
    Path
        The file. The same head gives the same bytes.

    Raises
    ------
    ValueError, NotFittedError
        If the estimator is of another kind, not fitted or not finite, or the names do not fit.
    """
    kind, known = type(estimator).__name__, ", ".join(SAVED)
    if kind not in SAVED or not isinstance(estimator, ReplicatedClassifier):
        raise ValueError(f"a {kind} cannot be saved; these can: {known} (also as a linear head)")
    check_is_fitted(estimator, "module_")
    names = [str(name) for name in (estimator.classes_ if label_names is None else label_names)]
    if len(names) != len(estimator.classes_):
        raise ValueError(f"need {len(estimator.classes_)} label names, got {len(names)}")
    state = sorted(estimator.module_.state_dict().items())
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ValueError("the head holds NaN or infinity: it is not worth keeping")
    write_atomic(Path(path), _content(tensors, _description(estimator, names, short_name(encoder))))
    return Path(path)


def load_head(path: str | Path) -> ReplicatedClassifier:
    """Read a head from a file of :func:`save_head`.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    fitted estimator
        With the attributes that it was saved with, and ``label_names_`` and ``encoder_``.

    Raises
    ------
    DataError
        If there is no such file, or it is damaged, foreign, or of a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}. Write one with save_head()")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            entry = json.loads((file.metadata() or {})[FORMAT])
        text, digest = entry["head"], entry["sha256"]
    except (KeyError, TypeError) as error:
        raise _refused(path, "it holds no head of this package") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise _refused(path, "it is no safetensors file, or a damaged one") from error
    if _digest(tensors, text) != digest:
        raise _refused(path, "its content does not fit its SHA-256: it is damaged, or was changed")
    described = json.loads(text)
    if described.get("version") != VERSION:
        raise _refused(path, "another version of this package wrote it; install that version")
    if set(described) != _KEYS or described["estimator"] not in SAVED:
        raise _refused(path, "it names no estimator of this package")
    try:
        return _rebuilt(described, tensors)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _refused(path, f"weights and description do not fit together ({error})") from error


def _refused(path: Path, why: str) -> DataError:
    return DataError(f"{path} cannot be loaded: {why}. Save the head again with save_head()")


def _description(estimator, label_names: list[str], encoder: str) -> str:
    described = {
        "format": FORMAT,
        "version": VERSION,
        "estimator": type(estimator).__name__,
        # the seed for a generator, which has no value that could be kept
        "parameters": estimator.get_params() | {"random_state": estimator.seed_},
        "n_features": estimator.n_features_in_,
        "classes": estimator.classes_.tolist(),
        "scores": {name: getattr(estimator, name) for name in _SCORES},
        # pairs, because sorted keys would put the columns into another order
        "history": list(estimator.history_.to_dict("list").items()),
        "label_names": label_names,
        "encoder": encoder,
    }
    return json.dumps(described, sort_keys=True, default=_plain)


def _plain(value):
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise ValueError(f"a parameter of type {type(value).__name__} cannot be saved: {value!r}")


def _digest(tensors: dict[str, torch.Tensor], text: str) -> str:
    parts = [text.encode()]
    for name in sorted(tensors):
        array = tensors[name].numpy()
        parts += [f"\n{name} {array.dtype.str} {array.shape}\n".encode(), array.tobytes()]
    return sha256(b"".join(parts))


def _content(tensors: dict[str, torch.Tensor], text: str) -> bytes:
    # One entry: safetensors writes several in random order, and the bytes would differ.
    entry = json.dumps({"head": text, "sha256": _digest(tensors, text)}, sort_keys=True)
    return save(tensors, metadata={FORMAT: entry})


def _rebuilt(described: dict, tensors: dict[str, torch.Tensor]) -> ReplicatedClassifier:
    # JSON has no tuples, and scikit-learn's clone compares by identity and value
    lists = {k: tuple(v) for k, v in described["parameters"].items() if isinstance(v, list)}
    estimator = getattr(estimators, described["estimator"])(**described["parameters"] | lists)
    classes = np.array(described["classes"])
    head = estimator._build_head(described["n_features"], len(classes), 1)
    estimator.seed_ = described["parameters"]["random_state"]
    if estimator.seed_ is not None:
        head.reset_parameters([estimator.seed_])  # the errors of a noisy chip come from it
    head.load_state_dict(tensors)
    history = pd.DataFrame(dict(described["history"])).assign(replica=0)
    scores = [[described["scores"][name]] for name in _SCORES]
    estimator._set_fitted(head.eval(), classes, TrainingResult(history, *scores))
    estimator.n_features_in_ = described["n_features"]
    estimator.label_names_ = tuple(described["label_names"])
    estimator.encoder_ = described["encoder"]
    return estimator


def train_head(
    dataset="sst2", *, n_modes: int = 8, n_photons: int = 2, seed: int = 0, epochs: int = 30
) -> TrainedHead:
    """Train a photonic head on the shipped embeddings of sst2, sst5 or trec, as the studies do.

    The seed draws sentences, weights and mini-batches. Raises ValueError for impossible arguments.
    """
    data = load_embeddings(dataset)
    part = paper_split(data.y, seed, samples_per_class=SAMPLES_PER_CLASS[dataset])
    train = data.X[part.train], data.y[part.train]
    head = estimators.PhotonicClassifier(n_modes, n_photons, epochs=epochs, random_state=seed)
    head.fit(*train)
    validation = float(head.score(data.X[part.validation], data.y[part.validation]))
    head.label_names_, head.encoder_ = data.label_names, DEFAULT_ENCODER
    reference = LogisticRegression(max_iter=5000).fit(*train)
    test = data.X[part.test], data.y[part.test]
    scores = validation, float(head.score(*test)), float(reference.score(*test))
    return TrainedHead(head, *scores, len(part.train), len(part.test))


def label_sentences(head, sentences: list[str]) -> pd.DataFrame:
    """Label and class probabilities (one column a class) by a head of `train_head` or `load_head`.

    Raises ValueError for empty sentences or other vectors, DataError without the encoder.
    """
    empty = [number for number, text in enumerate(sentences, 1) if not str(text).strip()]
    if empty:
        raise ValueError(f"sentence number {empty[0]} is empty")
    encoder = getattr(head, "encoder_", DEFAULT_ENCODER)
    X = encode(sentences, encoder)
    if X.shape[1] != head.n_features_in_:
        raise ValueError(
            f"the head reads {head.n_features_in_} features, but {encoder} gives {X.shape[1]}: it "
            "was not fitted on sentences, or on those of another encoder"
        )
    chances = head.predict_proba(X)
    names = np.array(getattr(head, "label_names_", head.classes_))
    labels = pd.DataFrame({"sentence": list(sentences), "label": names[chances.argmax(1)]})
    return labels.join(pd.DataFrame(chances, columns=names))
