"""A head whose quantum part is a `merlin.QuantumLayer`, for the one training loop.

It is `PhotonicHead` with MerLin in the middle: the same weights from the same seed and the same
function, at MerLin's speed and with MerLin's options (noise, shots, processors). The book starts
from it and then swaps the fast engine in. MerLin itself is imported when a head is built.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qllm_helpers.heads.base import Head, ReplicaLinear
from qllm_helpers.heads.photonic import PhotonicHead
from qllm_helpers.photons.layer import PhotonicLayer

__all__ = ["MerlinHead"]


class MerlinHead(Head):
    """Linear map to phases, `merlin.QuantumLayer`, linear map of the probabilities to logits.

    The circuit is the sandwich of `PhotonicLayer`: mesh, one phase per mode, mesh.

    Parameters
    ----------
    n_features, n_classes : int
    n_modes, n_photons : int
    space : {"fock", "unbunched"}
    input_state : sequence of int, optional
        Photons per input mode; default as in `PhotonicLayer`.
    noise : perceval.NoiseModel, optional
        For `merlin.QuantumLayer`; None for ideal photons.
    post_select : bool
        With lost or additional photons: divide the probabilities of the head's outputs by their
        sum. Otherwise the readout sees them as they are, with a sum below 1.
    dtype : torch.dtype, optional
        torch.float32 (default) or torch.float64. MerLin fixes it when the layer is built, so
        ``.double()`` on a finished head is not enough.
    n_replicas : int
        Only 1: a MerLin layer is one circuit.

    Attributes
    ----------
    encoder : ReplicaLinear
        Embedding (1, B, d) to phases (1, B, m) in radians.
    quantum : merlin.QuantumLayer
        Phases (B, m) to probabilities (B, N).
    readout : ReplicaLinear
        Probabilities (1, B, N) to logits (1, B, C).

    Raises
    ------
    ValueError
        For an impossible circuit, or more than one replica.

    Notes
    -----
    The MerLin layer's phases are vectors (m * m,) without a replica dimension. `select_replica`
    and everything built on it therefore needs ``head.to_photonic()``.
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
        dtype: torch.dtype | None = None,
        n_replicas: int = 1,
    ) -> None:
        super().__init__(n_features, n_classes, n_replicas)
        if self.n_replicas != 1:
            raise ValueError(
                f"MerlinHead holds one circuit, not n_replicas={n_replicas}: train the seeds one "
                "after the other, or use PhotonicHead, which computes the same function."
            )
        layer = PhotonicLayer(n_modes, n_photons, space=space, input_state=input_state)
        layer = layer.to(dtype or torch.float32)
        self._layer_options = {
            "n_modes": layer.n_modes,
            "n_photons": layer.n_photons,
            "space": layer.space,
            "input_state": layer.input_state,
        }
        from qllm_helpers.photons.merlin import to_merlin

        # The encoder comes first: the loop reads the number of replicas off the first parameter.
        self.encoder = ReplicaLinear(1, self.n_features, layer.n_modes).to(layer.left.dtype)
        self.quantum = to_merlin(layer, noise=noise)
        # A noisy layer has outputs with photons missing or too many, which the readout never saw.
        keys = [tuple(key) for key in self.quantum.output_keys]
        same = keys == layer.basis
        self._places = None if same else [keys.index(state) for state in layer.basis]
        self._post_select = post_select
        self.readout = ReplicaLinear(1, layer.n_outputs, self.n_classes).to(layer.left.dtype)
        self.reset_parameters([0])

    @classmethod
    def from_photonic(
        cls, head: PhotonicHead, replica: int = 0, *, noise=None, post_select: bool = True
    ) -> MerlinHead:
        """The same head with MerLin's layer in the middle.

        Parameters
        ----------
        head : PhotonicHead
            With the dense encoding and the probability readout.
        replica : int
            Which of its replicas.
        noise : perceval.NoiseModel, optional
        post_select : bool
            See the class.

        Raises
        ------
        ValueError
            For any other head, or an unknown replica.
        """
        dense = isinstance(getattr(head, "encoder", None), ReplicaLinear)
        layer = getattr(head, "quantum", None)
        if not dense or not isinstance(layer, PhotonicLayer) or layer.distinguishable:
            raise ValueError(
                "Only a PhotonicHead with encoding='dense', readout='probabilities' and no twin "
                "has a MerLin counterpart; convert its quantum part alone with to_merlin()."
            )
        if not 0 <= replica < head.n_replicas:
            raise ValueError(f"replica must be in 0 ... {head.n_replicas - 1}, not {replica}.")
        converted = cls(
            head.n_features,
            head.n_classes,
            layer.n_modes,
            layer.n_photons,
            space=layer.space,
            input_state=layer.input_state,
            noise=noise,
            post_select=post_select,
            dtype=layer.left.dtype,
        )
        converted._copy_weights(head, replica)
        return converted

    def to_photonic(self) -> PhotonicHead:
        """The same head with the fast engine in the middle: same weights, same function.

        Returns
        -------
        PhotonicHead
            One replica, of this head's precision; noise is left behind.
        """
        head = PhotonicHead(self.n_features, self.n_classes, **self._layer_options)
        head = head.to(self.encoder.weight.dtype)
        with torch.no_grad():
            for ours, theirs in self._pairs(head, 0):
                theirs.copy_(ours)
        return head

    def reset_parameters(self, seeds: Sequence[int]) -> None:
        """Draw all weights anew: those that a `PhotonicHead` draws from the same seed.

        Parameters
        ----------
        seeds : sequence of one non-negative integer

        Raises
        ------
        ValueError
            If there is not exactly one seed.
        """
        fresh = self.to_photonic()
        fresh.reset_parameters(seeds)
        self._copy_weights(fresh, 0)

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
        """Logits with the circuit on a processor and the linear maps here.

        Parameters
        ----------
        processor : merlin.MerlinProcessor
            From `merlin_bridge_processor.open_processor`.
        X : tensor, shape (B, d)
            Embeddings; each is one circuit.
        n_shots : int
            Kept shots for each circuit.

        Returns
        -------
        tensor, shape (B, C)
        """
        from qllm_helpers.photons.processor import processor_probabilities

        phases = self.encoder(X.unsqueeze(0))[0]
        seen = processor_probabilities(self.quantum.eval(), phases, processor, n_shots)
        return self.readout(seen.to(phases.dtype).unsqueeze(0))[0]

    def take_replicas(self, indices: Sequence[int]) -> None:
        """Refuse to copy replicas: see the class notes."""
        raise ValueError("A MerlinHead holds one circuit: call to_photonic() on it first.")

    def _pairs(self, head: PhotonicHead, replica: int) -> list[tuple[Tensor, Tensor]]:
        """Each tensor of weights here, and its counterpart in `head`."""
        pairs = [
            (getattr(self.quantum, name), getattr(head.quantum, name)[replica])
            for name in ("left", "right")
        ]
        for part in ("encoder", "readout"):
            ours, theirs = getattr(self, part), getattr(head, part)
            pairs += [
                (ours.weight[0], theirs.weight[replica]),
                (ours.bias[0], theirs.bias[replica]),
            ]
        return pairs

    @torch.no_grad()
    def _copy_weights(self, head: PhotonicHead, replica: int) -> None:
        for ours, theirs in self._pairs(head, replica):
            ours.copy_(theirs)
