"""Heads around the photonic layer: embedding -> phases -> Fock probabilities -> logits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from qllm_helpers.heads.base import Head, ReplicaLinear
from qllm_helpers.heads.twins import quantum_part
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
    zero and are not computed.

    Parameters
    ----------
    n_replicas, n_features, n_modes : int
    hidden_dim : int
        Width h of the linear map, at least as many as the subsets need (ceil(log2(m))).

    Raises
    ------
    ValueError
        If `hidden_dim` is too small for the subsets of `n_modes` modes.
    """

    def __init__(self, n_replicas: int, n_features: int, n_modes: int, hidden_dim: int = 100):
        super().__init__()
        needed = (n_modes - 1).bit_length()
        if hidden_dim < needed:
            raise ValueError(
                f"The subset encoding of {n_modes} modes reads {needed} features: hidden_dim must "
                f"be at least {needed}, not {hidden_dim}."
            )
        self.read = ReplicaLinear(n_replicas, n_features, needed)
        if hidden_dim > needed:
            self.unread = ReplicaLinear(n_replicas, n_features, hidden_dim - needed)
        member = torch.zeros(needed, n_modes)
        subset = torch.arange(1, n_modes)
        member[:, : n_modes - 1] = subset[None, :] >> torch.arange(needed)[:, None] & 1
        self.register_buffer("_member", math.pi * member, persistent=False)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Map embeddings (R, B, d) to phases (R, B, m) in radians."""
        return torch.sigmoid(self.read(X)) @ self._member


class Occupation(nn.Module):
    """Mean photon number of every mode: (R, B, N) probabilities -> (R, B, m)."""

    def __init__(self, basis: Sequence[Sequence[int]]) -> None:
        super().__init__()
        states = torch.tensor(basis, dtype=torch.float32)
        self.register_buffer("_occupations", states, persistent=False)

    def forward(self, probabilities: torch.Tensor) -> torch.Tensor:
        return probabilities @ self._occupations


class TwoStage(nn.Module):
    """E photonic layers side by side, whose mean photon numbers are the phases of one more.

    The photonic counterpart of the paper's two modules (Sec. "multi sQE"): E encoders of m modes
    give a latent vector of E m mean photon numbers; times pi / n they are the phases of a layer
    with E m modes. Both the latent vector and the second layer's mean photon numbers are read, as
    the paper's output layer reads its latent vector and the measured qubit. How E outputs are
    merged is not stated there; concatenation is our choice.

    Parameters
    ----------
    layer_options : dict
        Arguments of `PhotonicLayer` for one first-stage layer.
    n_encoders : int
        E, at least 1.
    """

    def __init__(self, layer_options: dict, n_encoders: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(PhotonicLayer(**layer_options) for _ in range(n_encoders))
        self.occupation = Occupation(self.first[0].basis)
        self.n_modes, self.n_photons = self.first[0].n_modes, self.first[0].n_photons
        wide = {**layer_options, "n_modes": n_encoders * self.n_modes, "input_state": None}
        self.second = PhotonicLayer(**wide)
        self.second_occupation = Occupation(self.second.basis)
        self.n_outputs = 2 * n_encoders * self.n_modes

    def forward(self, phases: torch.Tensor) -> torch.Tensor:
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

    Parameters
    ----------
    n_features, n_classes : int
    n_modes, n_photons : int
    encoding : {"dense", "subset"}
        "dense": one trainable linear map d -> m whose outputs are phases in radians (our choice).
        "subset": the earlier reproduction's (`SubsetEncoder`).
    hidden_dim : int, optional
        Width of the subset encoding's linear map (default 100).
    space : {"fock", "unbunched"}
    readout : {"probabilities", "occupation"}
        What the last linear map reads: N probabilities or m mean photon numbers.
    twin : str, optional
        Classical stand-in for the photonic layer, see `twins`.
    n_encoders : int, optional
        If given, a two-stage head with that many parallel first-stage layers (`TwoStage`).
    input_state : sequence of int, optional
    n_replicas : int

    Raises
    ------
    ValueError
        For an unknown or impossible option, or options that contradict each other.
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
        _check_options(encoding, hidden_dim, readout, twin, n_encoders)
        options = {
            "n_modes": n_modes,
            "n_photons": n_photons,
            "space": space,
            "input_state": input_state,
            "n_replicas": self.n_replicas,
        }
        if n_encoders is not None:
            self.quantum = TwoStage(options, n_encoders)
            width = self.quantum.n_outputs
        else:
            part, width = quantum_part(options, twin)
            if part is not None and readout == "occupation":
                part = nn.Sequential(part, Occupation(PhotonicLayer(**options).basis))
                width = n_modes
            self.quantum = part
        if encoding == "subset":
            self.encoder = SubsetEncoder(self.n_replicas, n_features, n_modes, hidden_dim or 100)
        else:
            self.encoder = ReplicaLinear(self.n_replicas, n_features, n_modes * (n_encoders or 1))
        self.readout = ReplicaLinear(self.n_replicas, width, n_classes)
        self.reset_parameters(range(self.n_replicas))


def _check_options(encoding, hidden_dim, readout, twin, n_encoders) -> None:
    if encoding not in ENCODINGS:
        raise ValueError(f"encoding must be one of {ENCODINGS}, not {encoding!r}.")
    if readout not in READOUTS:
        raise ValueError(f"readout must be one of {READOUTS}, not {readout!r}.")
    if hidden_dim is not None and encoding == "dense":
        raise ValueError("hidden_dim belongs to encoding='subset'; leave it None for 'dense'.")
    if n_encoders is None:
        return
    if isinstance(n_encoders, bool) or not isinstance(n_encoders, int) or n_encoders < 1:
        raise ValueError(f"n_encoders must be an integer of at least 1, not {n_encoders!r}.")
    if encoding != "dense" or twin is not None or readout != "probabilities":
        raise ValueError("n_encoders needs encoding='dense' and the default readout and twin.")
