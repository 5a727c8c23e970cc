"""Heads around the paper's circuits: embedding, amplitudes, latent vector, one more qubit, logits.

Source: Kim et al., arXiv 2504.08732; what it leaves open is listed in `options`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qllm_helpers import checks
from qllm_helpers.heads.base import Head, ReplicaLinear
from qllm_helpers.heads.options import PAPER_PARAMETERS, PAPER_READINGS, QubitOptions
from qllm_helpers.qubits.trainable import ReuploadingCircuit, SimulatedEncoder

__all__ = ["PAPER_PARAMETERS", "PAPER_READINGS", "TWINS", "QubitHead", "TwoModules"]

#: What a classifier can put in the place of the head, see `QubitClassifier`.
TWINS = (None, "frozen", "quadratic")
# Of an empty torch module, at least.
_MODULE_BYTES = 2000


class FirstValues(nn.Module):
    """The first `n_outputs` values of a vector: (R, B, d) to (R, B, n_outputs)."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.n_outputs = n_outputs

    def forward(self, X: Tensor) -> Tensor:
        return X[..., : self.n_outputs]


class TwoModules(nn.Module):
    """Module 1 and module 2 of the paper, either of which may be left out.

    ``first`` are E SimulatedEncoders, none if the latent vector comes from elsewhere; ``second`` is
    a ReuploadingCircuit or None. There are Qc + 1 outputs, or Qc without module 2.
    """

    def __init__(self, options: QubitOptions, n_replicas: int) -> None:
        super().__init__()
        self.options = options
        shared = {
            "connectivity": options.connectivity,
            "boundary": options.boundary,
            "start": options.start,
            "n_replicas": n_replicas,
        }
        own = {name: getattr(options, name) for name in ("n_layers", "padding", "constant")}
        n_encoders = options.n_encoders if options.module1 == "circuit" else 0
        checks.memory(f"n_encoders={n_encoders:,} circuits", _MODULE_BYTES * n_encoders)
        self.first = nn.ModuleList(
            SimulatedEncoder(options.n_qubits, **own, **shared) for _ in range(n_encoders)
        )
        self.second = None
        if options.module2 == "circuit":
            names = ("n_reuploads", "reuploads", "angle_scale")
            own = {name: getattr(options, name) for name in names}
            own["n_layers"] = options.n_main_layers
            self.second = ReuploadingCircuit(options.latent_size, **own, **shared)
        self.n_outputs = options.latent_size + (self.second is not None)

    def latent(self, X: Tensor) -> Tensor:
        """Latent vector (R, B, Qc) of embeddings (R, B, d)."""
        if not len(self.first):
            return X
        parts = [encoder(X)[..., : self.options.measured] for encoder in self.first]
        return torch.stack(parts).mean(0) if self.options.merge == "mean" else torch.cat(parts, -1)

    def forward(self, X: Tensor) -> Tensor:
        """Map embeddings (R, B, d) to what the output layer reads, (R, B, n_outputs)."""
        latent = self.latent(X)
        if self.second is None:
            return latent
        return torch.cat([latent, self.second(latent)], dim=-1)


class QubitHead(Head):
    """The paper's head: simulated quantum encoders, re-uploading circuit, linear output layer.

    `options` are those of `QubitOptions`; `frozen` angles, those of a twin, stay at their random
    start. ValueError for impossible options, or embeddings that do not fit.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        n_qubits: int = 10,
        *,
        n_replicas: int = 1,
        frozen: bool = False,
        **options,
    ) -> None:
        super().__init__(n_features, n_classes, n_replicas)
        self.options = QubitOptions(n_qubits, **options)
        # the circuits first: they know how many qubits are too many for 2^Q numbers
        quantum = TwoModules(self.options, self.n_replicas)
        self.options.check_features(self.n_features)
        if "linear" in (self.options.module1, self.options.reduction):
            self.encoder = ReplicaLinear(self.n_replicas, self.n_features, self.options.width)
        elif self.n_features > self.options.width:
            self.encoder = FirstValues(self.options.width)
        self.quantum = quantum.requires_grad_(not frozen)
        self.readout = ReplicaLinear(self.n_replicas, quantum.n_outputs, self.n_classes)
        self.reset_parameters(range(self.n_replicas))
