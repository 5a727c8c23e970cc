"""Heads for a reader's own sentences: trained on a corpus of this book in seconds, or loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from qllm_helpers.classifiers.estimators import PhotonicClassifier
from qllm_helpers.text.embeddings import load_embeddings
from qllm_helpers.text.encoders import DEFAULT_ENCODER, encode
from qllm_helpers.text.protocols import paper_split

__all__ = ["SAMPLES_PER_CLASS", "TrainedHead", "label_sentences", "train_head"]

#: Sentences of each label to train and validate with; TREC's rarest class has 95 in all.
SAMPLES_PER_CLASS = {"sst2": 256, "sst5": 256, "trec": 64}


@dataclass(frozen=True)
class TrainedHead:
    """A head and how well it did.

    Attributes
    ----------
    head : PhotonicClassifier
        Fitted, with ``label_names_`` and ``encoder_``.
    validation_accuracy, test_accuracy : float
        Fractions.
    reference_accuracy : float
        Test accuracy (fraction) of logistic regression, fitted on the same sentences.
    n_train, n_test : int
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
    """Train a photonic head on shipped embeddings, as the studies do.

    Parameters
    ----------
    dataset : str
        ``"sst2"``, ``"sst5"`` or ``"trec"``.
    n_modes, n_photons : int
        Size of the circuit.
    seed : int
        Draws the sentences (``paper_split``), the weights and the mini-batches.
    epochs : int

    Returns
    -------
    TrainedHead

    Raises
    ------
    UnknownNameError
        For an unknown corpus.
    ValueError
        If no such circuit or seed exists.
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
    """Label and class probabilities of a reader's sentences; needs no network.

    Parameters
    ----------
    head : fitted estimator
        From :func:`train_head` or :func:`qllm_helpers.classifiers.saved.load_head`.
    sentences : list of n str

    Returns
    -------
    DataFrame
        ``sentence``, ``label``, and one column a class with its probability (fraction).

    Raises
    ------
    ValueError
        If there is no sentence, one of them is empty, or the head was fitted on other vectors
        than those of its encoder.
    DataError
        If the encoder cannot be loaded.
    """
    empty = [number for number, text in enumerate(sentences) if not str(text).strip()]
    if empty:
        raise ValueError(f"sentence number {empty[0] + 1} is empty")
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
