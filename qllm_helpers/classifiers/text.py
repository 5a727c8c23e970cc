"""Training the language model together with the head behind it: gradients through the photons."""

from __future__ import annotations

from dataclasses import KW_ONLY

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from qllm_helpers import checks
from qllm_helpers.classifiers.replicated import TrainedClassifier, number_labels
from qllm_helpers.heads.parameters import ParameterCount, count_parameters
from qllm_helpers.heads.text import BODIES, Body, TextHead, make_head
from qllm_helpers.text.encoders import DEFAULT_ENCODER, load_encoder
from qllm_helpers.text.tuning import isolated_randomness
from qllm_helpers.training.loop import TrainingOptions, compute_logits, train


class EndToEndClassifier(TrainedClassifier):
    """A language model `encoder` and a head, trained together on sentences.

    First the head is trained (`head_epochs`, `lr`) on the embeddings of the body as it is, then
    both together (`epochs`, `lr_together`, `lr_body`): a random head would pull the body about
    (Kumar et al. 2022, arXiv 2202.10054; the numbers are ours). The head is photonic or its
    `twin`; without modes and photons it is a linear map. The `body` is trained as a ``"whole"``,
    by ``"low_rank"`` adapters of rank `rank`, or stays ``"frozen"``. ``module_`` is a TextHead.
    """

    family = "photonic"
    reads_texts = True

    _: KW_ONLY
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
        """As `ReplicatedClassifier.fit`, on sentences; DataError if there is no language model."""
        texts = _sentences("X", X, y)
        classes, labels, index = number_labels(y, X_val, y_val)
        if X_val is not None:
            texts += _sentences("X_val", X_val, y_val)
        alone, together = self._options()
        seeds = [checks.integer("random_state", self.random_state, least=0)]
        with isolated_randomness(seeds[0]):
            model = load_encoder(self.encoder)
            sizes = self._parameters(("n_modes", "n_photons", "twin"))
            head = make_head(model.get_embedding_dimension(), len(classes), **sizes)
            body = Body(model, self.body, self.rank)
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

    def _options(self) -> tuple[TrainingOptions, TrainingOptions]:
        """Checked options of the two stages."""
        checks.choice("body", self.body, BODIES)
        checks.real("lr_body", self.lr_body, open_below=True)
        shared = self._parameters(("batch_size", "progress"))
        alone = TrainingOptions(epochs=self.head_epochs, lr=self.lr, **shared)
        return alone, TrainingOptions(epochs=self.epochs, lr=self.lr_together, **shared)

    def predict_proba(self, X) -> np.ndarray:
        """Class probabilities, float32 (n, C), of n sentences."""
        check_is_fitted(self, "module_")
        positions = self.module_.body.read(_sentences("X", X))
        return compute_logits(self.module_, positions)[0].softmax(-1).numpy()

    def predict(self, X) -> np.ndarray:
        """Predicted labels (n,) of n sentences."""
        return self.classes_[self.predict_proba(X).argmax(1)]

    def count_parameters(self, X=None) -> ParameterCount:
        """Trainable numbers of body (counted with the encoder) and head; X is not used.

        Live and effective ones would need every logit's derivative by every weight of the body.
        """
        return count_parameters(self.module_)


class EndToEndLinear(EndToEndClassifier):
    """The same with a linear map from the embedding to the logits instead of a photonic head."""

    family = "linear"

    _: KW_ONLY
    n_modes: int | None = None
    n_photons: int | None = None


def _sentences(name: str, texts, y=None) -> list[str]:
    """Sentences as a list, refused unless they are some and have one label each."""
    if isinstance(texts, str):
        raise ValueError(f"{name} must be a sequence of sentences; put a single one in a list.")
    texts = list(texts)
    if not texts:
        raise ValueError(f"{name} is empty: give at least one sentence.")
    for position, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{name} must hold sentences; number {position} is {text!r}.")
    if y is not None and np.shape(y) != (len(texts),):
        labels = name.replace("X", "y")
        raise ValueError(f"{labels} must hold {len(texts)} labels, one each, got {np.shape(y)}.")
    return texts
