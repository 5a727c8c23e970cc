"""`PhotonicHead` with a `merlin.QuantumLayer` in the middle, for the one training loop."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from qllm_helpers import checks
from qllm_helpers.heads.base import Head, ReplicaLinear, select_replica
from qllm_helpers.heads.photonic import PhotonicHead
from qllm_helpers.photons.layer import PhotonicLayer
from qllm_helpers.photons.merlin import processor_probabilities, to_merlin


@torch.no_grad()
def _copy_weights(source: Head, target: Head) -> None:
    # by name; MerLin's phases have no replica dimension
    theirs = dict(source.named_parameters())
    for name, ours in target.named_parameters():
        ours.copy_(theirs[name].view_as(ours))


class MerlinHead(Head):
    """Linear map to phases, one `merlin.QuantumLayer`, linear map of its probabilities to logits.

    With `noise`, a `perceval.NoiseModel`, `post_select` divides probabilities by their sum.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        n_modes: int = 4,
        n_photons: int = 2,
        *,
        space: str = "fock",
        input_state: Sequence[int] | None = None,
        noise=None,
        post_select: bool = True,
        dtype: torch.dtype = torch.float32,
        n_replicas: int = 1,
    ) -> None:
        super().__init__(n_features, n_classes, n_replicas)
        if self.n_replicas != 1:
            raise ValueError(
                f"MerlinHead holds one circuit, not n_replicas={n_replicas}: use PhotonicHead, "
                "which computes the same function."
            )
        options = {"space": space, "input_state": input_state}
        self._options = {"n_modes": n_modes, "n_photons": n_photons, **options}
        fast = PhotonicHead(n_features, n_classes, **self._options).to(dtype)
        # The encoder comes first: the loop reads the number of replicas off the first parameter.
        self.encoder, self.quantum = fast.encoder, to_merlin(fast.quantum, noise=noise)
        # A noisy layer has outputs with photons missing or too many, which the readout never saw.
        keys = [tuple(key) for key in self.quantum.output_keys]
        basis = fast.quantum.basis
        self._places = None if keys == basis else [keys.index(state) for state in basis]
        self._post_select = post_select
        self.readout = fast.readout
        self.reset_parameters([0])

    @classmethod
    def from_photonic(
        cls, head: PhotonicHead, replica: int = 0, *, noise=None, post_select: bool = True
    ) -> Self:
        """Replica `replica` of `head` with MerLin's layer in the middle."""
        dense = isinstance(getattr(head, "encoder", None), ReplicaLinear)
        layer = getattr(head, "quantum", None)
        if not dense or not isinstance(layer, PhotonicLayer) or layer.distinguishable:
            raise ValueError(
                "Only a PhotonicHead with encoding='dense', readout='probabilities' and no twin "
                "has a MerLin counterpart; convert its quantum part alone with to_merlin()."
            )
        replica = checks.integer("replica", replica, 0, head.n_replicas - 1)
        names = ("n_modes", "n_photons", "space", "input_state")
        circuit = {name: getattr(layer, name) for name in names}
        options = {"noise": noise, "post_select": post_select, "dtype": layer.left.dtype}
        converted = cls(head.n_features, head.n_classes, **circuit, **options)
        _copy_weights(select_replica(head, replica), converted)
        return converted

    def to_photonic(self) -> PhotonicHead:
        """The same weights with the fast engine (R = 1); noise is left behind."""
        head = PhotonicHead(self.n_features, self.n_classes, **self._options)
        head = head.to(self.encoder.weight.dtype)
        _copy_weights(self, head)
        return head

    def reset_parameters(self, seeds: Sequence[int]) -> None:
        """Draw all weights anew: those that a `PhotonicHead` draws from the same seed."""
        fresh = self.to_photonic()
        fresh.reset_parameters(seeds)
        _copy_weights(fresh, self)

    def forward(self, X: Tensor) -> Tensor:
        """Map embeddings (1, B, d) to logits (1, B, C)."""
        probabilities = self.quantum(self.encoder(X)[0])
        if self._places is not None:
            probabilities = probabilities[:, self._places]
            if self._post_select:
                total = probabilities.sum(-1, keepdim=True)
                probabilities = probabilities / total.clamp_min(torch.finfo(total.dtype).tiny)
        return self.readout(probabilities.unsqueeze(0))

    @torch.no_grad()
    def logits_on(self, processor, X: Tensor, n_shots: int) -> Tensor:
        """Logits (B, C) of embeddings (B, d): of each one, `n_shots` on a `MerlinProcessor`."""
        phases = self.encoder(X.unsqueeze(0))[0]
        seen = processor_probabilities(self.quantum.eval(), phases, processor, n_shots)
        return self.readout(seen.to(phases.dtype).unsqueeze(0))[0]

    def take_replicas(self, indices: Sequence[int]) -> None:
        """Refused: MerLin's phases have no replica dimension."""
        raise ValueError("A MerlinHead holds one circuit: call to_photonic() on it first.")
