"""Training the language model together with the head behind it: gradients through the photons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from qllm_helpers.heads.base import Head
from qllm_helpers.heads.parameters import ParameterCount, count_parameters
from qllm_helpers.heads.text import BODIES, Body, TextHead, make_head
from qllm_helpers.text.contrastive import isolated_randomness
from qllm_helpers.text.encoders import DEFAULT_ENCODER, load_encoder
from qllm_helpers.training.loop import TrainingOptions, TrainingResult, compute_logits, train

__all__ = ["EndToEndClassifier", "EndToEndLinear", "count_trained"]


@dataclass(eq=False, repr=False, kw_only=True)
class EndToEndClassifier(ClassifierMixin, BaseEstimator):
    """A language model and a head, trained together on sentences.

    First the head is trained on the embeddings of the body as it is; then both go on together from
    there. A head that starts at random would spend the few epochs that a body can afford on itself,
    and pull the body about meanwhile (Kumar et al. 2022, arXiv 2202.10054; the numbers are ours).

    Parameters
    ----------
    n_modes, n_photons : int or None
        Size of a photonic head; both None for a linear map from the embedding to the logits.
    twin : str or None
        Classical stand-in for the photonic layer, see `qllm_helpers.heads.photonic.TWINS`;
        ``"linear"`` has exactly as many parameters.
    body : {"whole", "low_rank", "frozen"}
        What of the language model is trained: all of it, adapters, or nothing.
    rank : int
        Rank of the adapters of ``body="low_rank"``.
    head_epochs : int
        Epochs of the head alone.
    epochs : int
        Epochs of both together; unused with a frozen body.
    lr, lr_body : float
        Learning rates of Adam, of the head and of the body.
    lr_together : float
        Learning rate of the head while the body moves.
    batch_size : int
        Sentences per mini-batch.
    encoder : str
        Language model to start from.
    progress : bool
        Whether to show a progress bar over epochs.
    random_state : int
        Seed of weights, adapters, mini-batches and dropout.

    Attributes
    ----------
    classes_ : array (C,)
    module_ : TextHead
        In evaluation mode.
    history_ : DataFrame
        One row per epoch of the second stage: epoch, train_loss, validation_loss,
        validation_accuracy (fraction); of the first stage with a frozen body.
    best_epoch_ : int
        Epoch of the weights in ``module_``.
    validation_accuracy_, validation_loss_ : float
        At that epoch; NaN without validation data.
    """

    n_modes: int | None = 8
    n_photons: int | None = 2
    twin: str | None = None
    body: str = "whole"
    rank: int = 8
    head_epochs: int = 60
    epochs: int = 3
    lr: float = 5e-3
    lr_together: float = 1e-3
    lr_body: float = 5e-5
    batch_size: int = 32
    encoder: str = DEFAULT_ENCODER
    progress: bool = False
    random_state: int = 0

    def fit(self, X, y, X_val=None, y_val=None):
        """Train on sentences, keeping the weights of the best epoch on validation sentences.

        Parameters
        ----------
        X : sequence of n str
        y : array (n,)
            Labels of at least two classes.
        X_val, y_val : sequence of str and array, optional
            Validation data. Without them the weights of the last epoch are kept.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If sentences, labels or a parameter are invalid; before any training.
        DataError
            If the language model cannot be loaded.
        """
        texts, labels, classes, index = _checked(X, y, X_val, y_val)
        alone, together = self._options()
        seeds = [self._seed()]
        with isolated_randomness(seeds[0]):
            body, head = self._parts(len(classes))
            positions = body.read(texts)
            body.eval()
            with torch.no_grad():
                vectors = body(positions[None])[0]
            head.reset_parameters(seeds)
            result = train(head, vectors, labels, *index, seeds=seeds, options=alone)
            whole = TextHead(body, head, self.lr_body / self.lr_together)
            if self.body != "frozen":
                result = train(whole, positions, labels, *index, seeds=seeds, options=together)
        self._set_fitted(whole.eval(), classes, result)
        return self

    def _seed(self) -> int:
        """The seed; raises ValueError if it is none."""
        seed = self.random_state
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"random_state must be a whole number from 0 on, not {seed!r}.")
        return int(seed)

    def _parts(self, n_classes: int) -> tuple[Body, Head]:
        """The language model and the head behind it."""
        model = load_encoder(self.encoder)
        sizes = {"n_modes": self.n_modes, "n_photons": self.n_photons, "twin": self.twin}
        head = make_head(model.get_embedding_dimension(), n_classes, **sizes)
        return Body(model, self.body, self.rank), head

    def _set_fitted(self, module: TextHead, classes: np.ndarray, result: TrainingResult) -> None:
        self.classes_, self.module_ = classes, module
        self.history_ = result.history.drop(columns="replica")
        self.best_epoch_ = int(result.best_epoch[0])
        self.validation_accuracy_ = float(result.best_validation_accuracy[0])
        self.validation_loss_ = float(result.best_validation_loss[0])

    def _options(self) -> tuple[TrainingOptions, TrainingOptions]:
        """Options of the two stages; raises ValueError if a parameter is invalid."""
        if self.body not in BODIES:
            raise ValueError(f"body must be one of {BODIES}, not {self.body!r}.")
        if not (np.isfinite(self.lr_body) and self.lr_body > 0):
            raise ValueError(f"lr_body must be a positive number, got {self.lr_body!r}.")
        shared = {"batch_size": self.batch_size, "progress": self.progress}
        alone = TrainingOptions(epochs=self.head_epochs, lr=self.lr, **shared)
        return alone, TrainingOptions(epochs=self.epochs, lr=self.lr_together, **shared)

    def predict_proba(self, X) -> np.ndarray:
        """Class probabilities, float32 (n, C), of n sentences, in the order of ``classes_``."""
        check_is_fitted(self, "module_")
        positions = self.module_.body.read(_checked_texts(X, "X"))
        return compute_logits(self.module_, positions)[0].softmax(-1).numpy()

    def predict(self, X) -> np.ndarray:
        """Predicted labels (n,) of n sentences."""
        return self.classes_[self.predict_proba(X).argmax(1)]


@dataclass(eq=False, repr=False, kw_only=True)
class EndToEndLinear(EndToEndClassifier):
    """The same with a linear map from the embedding to the logits instead of a photonic head."""

    n_modes: int | None = None
    n_photons: int | None = None


def count_trained(fit: EndToEndClassifier, X=None) -> ParameterCount:
    """Trainable numbers of body (counted with the encoder) and head; those of a registered fit.

    Live and effective counts are left out: they would need the derivative of every logit with
    respect to every weight of the language model.

    Parameters
    ----------
    fit : EndToEndClassifier
        Fitted.
    X : ignored

    Returns
    -------
    ParameterCount
    """
    return count_parameters(fit.module_)


def _checked_texts(texts, name: str) -> list[str]:
    """Sentences as a list; ValueError if they are none."""
    if isinstance(texts, str):
        raise ValueError(f"{name} must be a sequence of sentences; put a single one in a list.")
    texts = list(texts)
    if not texts:
        raise ValueError(f"{name} is empty: give at least one sentence.")
    for position, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{name} must hold sentences; number {position} is {text!r}.")
    return texts


def _checked(X, y, X_val, y_val) -> tuple:
    """Return all sentences, their class numbers, the classes, and the two index arrays."""
    texts, y = _checked_texts(X, "X"), np.asarray(y)
    if y.shape != (len(texts),):
        raise ValueError(f"y must hold {len(texts)} labels, one a sentence, got {y.shape}.")
    check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"a classifier needs at least 2 classes; y holds 1 class: {classes}.")
    if (X_val is None) != (y_val is None):
        raise ValueError("pass both X_val and y_val, or neither.")
    train_index = np.arange(len(texts))[None]
    if X_val is None:
        return texts, labels, classes, (train_index, None)
    more, y_val = _checked_texts(X_val, "X_val"), np.asarray(y_val)
    if y_val.shape != (len(more),) or np.setdiff1d(y_val, classes).size:
        raise ValueError("y_val must hold one label a sentence of X_val, out of those in y.")
    labels = np.concatenate([labels, np.searchsorted(classes, y_val)])
    validation_index = len(texts) + np.arange(len(more))[None]
    return texts + more, labels, classes, (train_index, validation_index)
