"""Heads for a reader's own sentences: trained on a corpus of this book in seconds, or loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from qllm_helpers.classifiers.estimators import PhotonicClassifier
from qllm_helpers.text.embeddings import load_embeddings
from qllm_helpers.text.encoders import DEFAULT_ENCODER, encode
from qllm_helpers.text.protocols import paper_split

#: Sentences of each label to train and validate with; TREC's rarest class has 95 in all.
SAMPLES_PER_CLASS = {"sst2": 256, "sst5": 256, "trec": 64}


@dataclass(frozen=True)
class TrainedHead:
    """A fitted head with ``label_names_`` and ``encoder_``, and its accuracies (fractions).

    The reference is logistic regression, fitted on the same sentences and scored on the test part.
    """

    head: PhotonicClassifier
    validation_accuracy: float
    test_accuracy: float
    reference_accuracy: float
    n_train: int
    n_test: int


def train_head(
    dataset: str = "sst2",
    *,
    n_modes: int = 8,
    n_photons: int = 2,
    seed: int = 0,
    epochs: int = 60,
) -> TrainedHead:
    """Train a photonic head on the shipped embeddings of sst2, sst5 or trec, as the studies do.

    The seed draws the sentences (`paper_split`), the weights and the mini-batches. Raises
    UnknownNameError for an unknown corpus, ValueError if no such circuit or seed exists.
    """
    from sklearn.linear_model import LogisticRegression

    data = load_embeddings(dataset)
    part = paper_split(data.y, seed, samples_per_class=SAMPLES_PER_CLASS[dataset])
    train = data.X[part.train], data.y[part.train]
    head = PhotonicClassifier(n_modes, n_photons, epochs=epochs, random_state=seed)
    head.fit(*train, data.X[part.validation], data.y[part.validation])
    head.label_names_, head.encoder_ = data.label_names, DEFAULT_ENCODER
    # C = 10 is what validation chose most often in the study "paper"
    reference = LogisticRegression(C=10.0, max_iter=5000).fit(*train)
    test = data.X[part.test], data.y[part.test]
    return TrainedHead(
        head=head,
        validation_accuracy=head.validation_accuracy_,
        test_accuracy=float(head.score(*test)),
        reference_accuracy=float(reference.score(*test)),
        n_train=len(part.train),
        n_test=len(part.test),
    )


def label_sentences(head, sentences: list[str]) -> pd.DataFrame:
    """Label and class probabilities (fractions, one column a class) of a reader's sentences.

    `head` is from `train_head` or `load_head`; nothing is fetched. Raises ValueError if a sentence
    is empty, or the head was fitted on other vectors than those of its encoder, and DataError if
    the encoder cannot be loaded.
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
    names = list(getattr(head, "label_names_", head.classes_))
    table = pd.DataFrame(chances, columns=names)
    table.insert(0, "label", np.array(names)[chances.argmax(1)])
    table.insert(0, "sentence", list(sentences))
    return table
