"""A head whose first part is the language model itself, so that gradients reach its weights.

A sample is one number, the position of a sentence among those that the body has read.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from qllm_helpers import checks
from qllm_helpers.heads.base import Head, MLPHead

#: How much of the language model is trained: everything, low-rank adapters, or nothing.
BODIES = ("whole", "low_rank", "frozen")
_CHUNK = 64  # sentences in one pass without gradients, of about the same length


class Body(nn.Module):
    """A sentence transformer as the first part of a head: positions (1, B, 1) to (1, B, d).

    The `model` is changed: its weights are trained, or it gets adapters (Hu et al. 2021).
    """

    def __init__(self, model, trained: str = "whole", rank: int = 8) -> None:
        super().__init__()
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
        if torch.is_grad_enabled() and self.training:
            return self._encode(index)[None]
        # of one length together: little padding, and less memory
        order = sorted(range(len(index)), key=lambda i: -len(self.sentences[index[i]]["input_ids"]))
        parts = [order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK)]
        vectors = torch.cat([self._encode([index[i] for i in part]) for part in parts])
        return vectors[torch.tensor(order).argsort()][None]

    def _encode(self, index: list[int]) -> Tensor:
        rows = [self.sentences[i] for i in index]
        pad = partial(nn.utils.rnn.pad_sequence, batch_first=True)
        # the token that fills up is behind the mask: any number will do
        padded = {name: pad([row[name] for row in rows]) for name in rows[0]}
        return self.model(padded | self.rest)["sentence_embedding"]


class TextHead(Head):
    """A body, with its learning rate in units of the head's, and the parts of a head (R = 1)."""

    def __init__(self, body: Body, head: Head, lr_ratio: float) -> None:
        super().__init__(1, head.n_classes)
        self.lr_ratio = lr_ratio
        first = getattr(head, "encoder", None)
        self.encoder = nn.Sequential(body, *([] if first is None else [first]))
        for part in ("quantum", "readout"):
            if getattr(head, part, None) is not None:
                setattr(self, part, getattr(head, part))

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


def make_head(
    n_features: int, n_classes: int, *, n_modes: int | None, n_photons: int | None, twin: str | None
) -> Head:
    """The part behind the body: a photonic head or its twin; without modes, a linear map."""
    if n_modes is None:
        if n_photons is not None or twin is not None:
            raise ValueError("without modes there are no photons and no twin: set them to None.")
        return MLPHead(n_features, n_classes, ())
    from qllm_helpers.heads.photonic import PhotonicHead

    return PhotonicHead(n_features, n_classes, n_modes, n_photons, twin=twin)
