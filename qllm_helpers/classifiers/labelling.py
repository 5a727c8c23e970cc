"""Heads for a reader's own sentences, trained on a corpus of this book in seconds or loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from qllm_helpers.classifiers.estimators import PhotonicClassifier
from qllm_helpers.text.corpora import load_embeddings
from qllm_helpers.text.encoders import DEFAULT_ENCODER, encode
from qllm_helpers.text.protocols import paper_split

#: Sentences of each label to train and validate with; TREC's rarest class has 95 in all.
SAMPLES_PER_CLASS = {"sst2": 256, "sst5": 256, "trec": 64}


@dataclass(frozen=True)
class TrainedHead:
    """A fitted head and its accuracies (fractions), with that of logistic regression."""

    head: PhotonicClassifier
    validation_accuracy: float
    test_accuracy: float
    reference_accuracy: float
    n_train: int
    n_test: int


def train_head(
    dataset="sst2", *, n_modes: int = 8, n_photons: int = 2, seed: int = 0, epochs: int = 30
) -> TrainedHead:
    """Train a photonic head on the shipped embeddings of sst2, sst5 or trec, as the studies do.

    The seed draws sentences, weights and mini-batches. Raises ValueError for impossible arguments.
    """
    from sklearn.linear_model import LogisticRegression

    data = load_embeddings(dataset)
    part = paper_split(data.y, seed, samples_per_class=SAMPLES_PER_CLASS[dataset])
    train = data.X[part.train], data.y[part.train]
    head = PhotonicClassifier(n_modes, n_photons, epochs=epochs, random_state=seed)
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
