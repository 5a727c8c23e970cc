"""A language model trained together with the head behind it: gradients through the photons.

A sample is one number, the position of a sentence among those that the body has read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, replace
from functools import partial

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from qllm_helpers import checks
from qllm_helpers.classifiers.estimators import (
    MLPClassifier,
    PhotonicClassifier,
    QubitClassifier,
)
from qllm_helpers.classifiers.replicated import (
    ReplicatedClassifier,
    TrainedClassifier,
    number_labels,
)
from qllm_helpers.heads.base import Head
from qllm_helpers.heads.parameters import ParameterCount, count_parameters
from qllm_helpers.text.encoders import (
    DEFAULT_ENCODER,
    autocast,
    load_encoder,
    resolve_precision,
)
from qllm_helpers.text.tuning import isolated_randomness
from qllm_helpers.training.loop import TrainingOptions, compute_logits, train

#: How much of the language model is trained: everything, low-rank adapters, or nothing.
BODIES = ("whole", "low_rank", "frozen")
#: What the head is made of.
CIRCUITS = ("photonic", "qubit", "linear")
#: Learning rates of the body that the development pool chose for photons, the default circuit.
_RATES = {"whole": 3e-5, "low_rank": 1e-3, "frozen": 3e-5}
#: Sentences of about the same length in one pass, without gradients and in a training step.
_CHUNK, _STEP_CHUNK = 64, 16


class Body(nn.Module):
    """A sentence transformer as the first part of a head: positions (1, B, 1) to (1, B, d).

    The `model` is changed: its weights are trained, or it gets adapters (Hu et al. 2021). Its
    matrix products have the `precision`, weights and embeddings are float32.
    """

    def __init__(
        self, model, trained: str = "whole", rank: int = 8, precision: str = "float32"
    ) -> None:
        super().__init__()
        self.precision = precision
        checks.choice("body", trained, BODIES)
        if trained == "low_rank":
            rank = checks.integer("rank", rank)
            from peft import LoraConfig

            # with this scale the product of factors is added as it is (our choice)
            options = {"lora_alpha": rank, "lora_dropout": 0.0}
            # MPNet has short names for the maps of queries and values
            short = any(name.endswith(".attn.q") for name, _ in model.named_modules())
            maps = ["q", "v"] if short else ["query", "value"]
            model.add_adapter(LoraConfig(r=rank, target_modules=maps, **options))
        else:
            for name, parameter in model.named_parameters():
                # the pooler behind the last layer is left over from pre-training: nothing reads it
                parameter.requires_grad_(trained == "whole" and ".pooler." not in name)
        self.model = model
        self.sentences: list[dict[str, list[int]]] = []

    def read(self, texts: Sequence[str]) -> Tensor:
        """Tokenise n sentences; return their positions (n, 1), which from now on mean these."""
        tokens = self.model.preprocess(list(texts))
        # by the mask, since some tokenisers fill up on the left
        masks = tokens["attention_mask"].bool()
        fields = {name: rows for name, rows in tokens.items() if isinstance(rows, Tensor)}
        self.rest = {name: value for name, value in tokens.items() if name not in fields}
        self.sentences = [
            {name: rows[i, mask] for name, rows in fields.items()} for i, mask in enumerate(masks)
        ]
        return torch.arange(len(masks), dtype=torch.float32)[:, None]

    def forward(self, positions: Tensor) -> Tensor:
        """Embeddings (1, B, d) of the sentences at positions (1, B, 1)."""
        index = positions.flatten().long().tolist()
        size = _STEP_CHUNK if torch.is_grad_enabled() and self.training else _CHUNK
        # of one length together: little padding, and less memory
        order = sorted(range(len(index)), key=lambda i: -len(self.sentences[index[i]]["input_ids"]))
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        with autocast(self.precision):  # around all of them: each weight is rounded once
            vectors = torch.cat([self._encode([index[i] for i in part]) for part in parts])
        return vectors[torch.tensor(order).argsort()][None]

    def _encode(self, index: list[int]) -> Tensor:
        rows = [self.sentences[i] for i in index]
        pad = partial(nn.utils.rnn.pad_sequence, batch_first=True)
        # the token that fills up is behind the mask: any number will do
        padded = {name: pad([row[name] for row in rows]) for name in rows[0]}
        vectors = self.model(padded | self.rest)["sentence_embedding"]
        return vectors.to(next(self.model.parameters()).dtype)


class TextHead(Head):
    """A body, with its learning rate in units of the head's, and the parts of a head (R = 1)."""

    def __init__(self, body: Body, head: Head, lr_ratio: float) -> None:
        super().__init__(1, head.n_classes)
        self.lr_ratio = lr_ratio
        self.encoder = nn.Sequential(body, getattr(head, "encoder", nn.Identity()))
        self.scales = head.scales
        if hasattr(head, "quantum"):
            self.quantum = head.quantum
        self.readout = head.readout

    @property
    def body(self) -> Body:
        """The language model."""
        return self.encoder[0]

    def reset_parameters(self, seeds: Sequence[int]) -> None:
        """Refused: fresh random weights would destroy the language model."""
        raise TypeError("a TextHead starts from the weights that it was made of.")

    def take_replicas(self, indices: Sequence[int]) -> None:
        """Refused: weights of the language model have no replica dimension."""
        raise ValueError("a TextHead is one head and not a stack: copy it with copy.deepcopy.")

    def parameter_groups(self, parameters: list[Tensor], lr: float) -> list[dict]:
        """The body's parameters with a learning rate of their own."""
        inside = {id(parameter) for parameter in self.body.parameters()}
        own = [parameter for parameter in parameters if id(parameter) not in inside]
        rest = [parameter for parameter in parameters if id(parameter) in inside]
        groups = [{"params": own, "lr": lr}, {"params": rest, "lr": lr * self.lr_ratio}]
        return [group for group in groups if group["params"]]


class EndToEndClassifier(TrainedClassifier):
    """A language model `encoder` and a head, trained together on sentences.

    The `circuit` is "photonic" (`n_modes`, `n_photons`) or "qubit", or its `twin`, with the
    defaults of the classifier of that name; "linear" is one linear layer on the embedding, as
    language models usually have it. First this head is trained (for `head_epochs`, or the
    classifier's) on the embeddings of the body as it is, then both together (`epochs`,
    `lr_together`, `lr_body`): a random head would pull the body about (Kumar et al. 2022, arXiv
    2202.10054). The `body` is trained as a ``"whole"``, by ``"low_rank"`` adapters of rank `rank`,
    or stays ``"frozen"``; its `precision` is that of `encode`, and `lr_body` None the rate that the
    development pool chose for it.
    ``module_`` is a TextHead.
    """

    family = "photonic"
    reads_texts = True

    _: KW_ONLY
    circuit: str = "photonic"
    n_modes: int = 8
    n_photons: int = 2
    twin: str | None = None
    body: str = "whole"
    rank: int = 8
    head_epochs: int | None = None
    epochs: int = 2
    lr_together: float = 1e-3
    lr_body: float | None = None
    batch_size: int = 32
    encoder: str = DEFAULT_ENCODER
    precision: str = "auto"
    progress: bool = False
    random_state: int = 0

    def fit(self, X, y, X_val=None, y_val=None):
        """As `ReplicatedClassifier.fit`, on sentences; DataError if there is no language model."""
        texts = _sentences("X", X, y)
        classes, labels, index = number_labels(y, X_val, y_val)
        if X_val is not None:
            texts += _sentences("X_val", X_val, y_val)
        first = self._head_classifier()
        alone, together, lr_body = self._options(first)
        precision = resolve_precision(self.precision, self.encoder)
        seeds = [checks.integer("random_state", self.random_state, least=0)]
        with isolated_randomness(seeds[0]):
            model = load_encoder(self.encoder)
            head = first._build_head(model.get_embedding_dimension(), len(classes), 1)
            body = Body(model, self.body, self.rank, precision)
            positions = body.read(texts)
            body.eval()
            with torch.no_grad():
                vectors = body(positions[None])[0]
            head.reset_parameters(seeds)
            result = train(head, vectors, labels, *index, seeds=seeds, options=alone)
            whole = TextHead(body, head, lr_body / self.lr_together)
            if self.body != "frozen":
                result = train(whole, positions, labels, *index, seeds=seeds, options=together)
        self._set_fitted(whole.eval(), classes, result)
        return self

    def _head_classifier(self) -> ReplicatedClassifier:
        """What would be fitted on embeddings: it knows how to build and to train a head."""
        checks.choice("circuit", self.circuit, CIRCUITS)
        shared = self._parameters(("batch_size", "progress", "twin"))
        if self.circuit == "linear":
            checks.choice("twin of a linear layer", shared.pop("twin"), (None,))
            # what the pool chose for it on the frozen body
            return MLPClassifier((), lr=1e-3, epochs=60, **shared)
        if self.circuit == "qubit":
            return QubitClassifier(**shared)
        return PhotonicClassifier(self.n_modes, self.n_photons, **shared)

    def _options(self, first) -> tuple[TrainingOptions, TrainingOptions, float]:
        """Checked options of the two stages, and the body's rate."""
        checks.choice("body", self.body, BODIES)
        lr_body = _RATES[self.body] if self.lr_body is None else self.lr_body
        checks.real("lr_body", lr_body, open_below=True)
        alone = first._options()
        if self.head_epochs is not None:
            alone = replace(alone, epochs=self.head_epochs)
        shared = self._parameters(("batch_size", "progress"))
        return alone, TrainingOptions(epochs=self.epochs, lr=self.lr_together, **shared), lr_body

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
