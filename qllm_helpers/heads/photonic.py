"""Heads around the photonic layer: embedding -> phases -> Fock probabilities -> logits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qllm_helpers import checks
from qllm_helpers.heads.base import Head, ReplicaLinear
from qllm_helpers.heads.twins import TWINS, CosineTwin, LinearTwin
from qllm_helpers.photons.layer import PhotonicLayer

ENCODINGS = ("dense", "subset")
READOUTS = ("probabilities", "occupation")


class SubsetEncoder(nn.Module):
    """The earlier reproduction's encoding: a wide linear map of which few outputs are used.

    Linear(d -> h), sigmoid, and phase j = pi * (sum of the features in subset j), where subset j
    has feature i if bit i of the integer j + 1 is set: {0}, {1}, {0, 1}, {2}, ... The last mode
    gets no phase. With 8 modes only features 0, 1 and 2 of the 100 are ever read: MerLin 0.1's
    SERIES encoder does this, and it is kept to reproduce the published parameter counts. The rows
    of the linear map that no phase reads are parameters, but their products would be multiplied by
    zero and are not computed. The width h must be at least ceil(log2(m)).
    """

    def __init__(self, n_replicas: int, n_features: int, n_modes: int, hidden_dim: int = 100):
        super().__init__()
        needed = (n_modes - 1).bit_length()
        hidden_dim = checks.integer(f"hidden_dim for {n_modes} modes", hidden_dim, needed)
        self.read = ReplicaLinear(n_replicas, n_features, needed)
        if hidden_dim > needed:
            self.unread = ReplicaLinear(n_replicas, n_features, hidden_dim - needed)
        member = torch.zeros(needed, n_modes)
        subset = torch.arange(1, n_modes)
        member[:, : n_modes - 1] = subset[None, :] >> torch.arange(needed)[:, None] & 1
        self.register_buffer("_member", math.pi * member, persistent=False)

    def forward(self, X: Tensor) -> Tensor:
        """Map embeddings (R, B, d) to phases (R, B, m) in radians."""
        return torch.sigmoid(self.read(X)) @ self._member


class Occupation(nn.Module):
    """Mean photon number of every mode: (R, B, N) probabilities -> (R, B, m)."""

    def __init__(self, basis: Sequence[Sequence[int]]) -> None:
        super().__init__()
        states = torch.tensor(basis, dtype=torch.float32)
        self.register_buffer("_occupations", states, persistent=False)

    def forward(self, probabilities: Tensor) -> Tensor:
        return probabilities @ self._occupations


class TwoStage(nn.Module):
    """E photonic layers side by side, whose mean photon numbers are the phases of one more.

    The photonic counterpart of the paper's two modules (Sec. "multi sQE"): E encoders of m modes
    give a latent vector of E m mean photon numbers; times pi / n they are the phases of a layer
    with E m modes. Both the latent vector and the second layer's mean photon numbers are read, as
    the paper's output layer reads its latent vector and the measured qubit. How E outputs are
    merged is not stated there; concatenation is our choice.
    """

    def __init__(self, layer_options: dict, n_encoders: int) -> None:
        super().__init__()
        n_modes = layer_options["n_modes"]
        # the wide layer first: it is the one that may be too large
        wide = {**layer_options, "n_modes": n_encoders * n_modes, "input_state": None}
        second = PhotonicLayer(**wide)
        self.first = nn.ModuleList(PhotonicLayer(**layer_options) for _ in range(n_encoders))
        self.occupation = Occupation(self.first[0].basis)
        self.n_modes, self.n_photons = n_modes, second.n_photons
        self.second = second
        self.second_occupation = Occupation(second.basis)
        self.n_outputs = 2 * n_encoders * n_modes

    def forward(self, phases: Tensor) -> Tensor:
        """Map phases (R, B, E m) in radians to mean photon numbers (R, B, 2 E m)."""
        parts = phases.split(self.n_modes, dim=2)
        latent = torch.cat(
            [self.occupation(layer(part)) for layer, part in zip(self.first, parts, strict=True)],
            dim=2,
        )
        second = self.second_occupation(self.second(latent * (math.pi / self.n_photons)))
        return torch.cat([latent, second], dim=2)


class PhotonicHead(Head):
    """Linear map to phases, photonic layer (or its classical twin), linear map to logits.

    The options are described in `PhotonicClassifier`; ValueError for an unknown or impossible one,
    or for options that contradict each other.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        n_modes: int = 8,
        n_photons: int = 2,
        *,
        encoding: str = "dense",
        hidden_dim: int | None = None,
        space: str = "fock",
        readout: str = "probabilities",
        twin: str | None = None,
        n_encoders: int | None = None,
        input_state: Sequence[int] | None = None,
        n_replicas: int = 1,
    ) -> None:
        super().__init__(n_features, n_classes, n_replicas)
        n_modes = checks.integer("n_modes", n_modes, 2)
        _check_options(encoding, hidden_dim, readout, twin, n_encoders)
        circuit = {"n_modes": n_modes, "n_photons": n_photons, "space": space}
        circuit |= {"input_state": input_state, "n_replicas": self.n_replicas}
        # The encoder first: circuits take longer to find out that they are too large.
        if encoding == "subset":
            width = 100 if hidden_dim is None else hidden_dim
            encoder = SubsetEncoder(self.n_replicas, self.n_features, n_modes, width)
        else:
            width = n_modes * (n_encoders or 1)
            encoder = ReplicaLinear(self.n_replicas, self.n_features, width)
        self.quantum, n_outputs = _quantum_part(circuit, twin, readout, n_encoders)
        self.encoder = encoder
        self.readout = ReplicaLinear(self.n_replicas, n_outputs, self.n_classes)
        self.reset_parameters(range(self.n_replicas))


def _quantum_part(
    layer_options: dict, twin: str | None, readout: str, n_encoders: int | None
) -> tuple[nn.Module | None, int]:
    """The photonic layer or what stands for it (None for "identity"), and its number of outputs."""
    if n_encoders is not None:
        stages = TwoStage(layer_options, n_encoders)
        return stages, stages.n_outputs
    layer = PhotonicLayer(**layer_options, distinguishable=twin == "distinguishable")
    if twin == "identity":
        return None, layer.n_modes
    layer.requires_grad_(twin != "frozen")
    replaced = {"cosine": CosineTwin, "linear": LinearTwin}.get(twin)
    part = layer if replaced is None else replaced(layer)
    if readout == "occupation":
        return nn.Sequential(part, Occupation(layer.basis)), layer.n_modes
    return part, layer.n_outputs


def _check_options(encoding, hidden_dim, readout, twin, n_encoders) -> None:
    checks.choice("encoding", encoding, ENCODINGS)
    checks.choice("readout", readout, READOUTS)
    checks.choice("twin", twin, TWINS)
    if hidden_dim is not None and encoding == "dense":
        raise ValueError("hidden_dim belongs to encoding='subset'; leave it None for 'dense'.")
    if n_encoders is None:
        return
    checks.integer("n_encoders", n_encoders)
    if encoding != "dense" or twin is not None or readout != "probabilities":
        raise ValueError("n_encoders needs encoding='dense' and the default readout and twin.")
