"""Classical stand-ins for quantum parts: same inputs, same outputs, as many parameters.

A quantum head has to beat these before its advantage can be called quantum (the "ablation twins" of
Bowles et al., *Better than classical?*, arXiv 2403.07059; the maps themselves are our choice).

========================  =======================================================================
`twin`                    what takes the place of the photonic layer
========================  =======================================================================
``None``                  nothing: the photonic layer itself
``"distinguishable"``     the same interferometers, photons that do not interfere with each other
``"frozen"``              the same interferometers at their random start, never trained
``"cosine"``              cosines and sines of linear combinations of the phases
``"linear"``              a linear map (two square factors) of the phases
``"identity"``            the phases themselves: the head is a linear map of rank m
========================  =======================================================================

The twin of the simulated quantum encoder are quadratic forms x^T A x / x^T x of low rank. Exact
expectations of Z behind amplitude encoding are such forms, with A = U^T Z U, whose only freedom is
the angles of U. Here the vectors are free, and what is fixed (random directions) is chosen so that
the number of parameters is the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qllm_helpers import checks
from qllm_helpers.heads.base import Head, ReplicaLinear, check_weights

TWINS = (None, "distinguishable", "frozen", "cosine", "linear", "identity")


class ClassicalTwin(nn.Module):
    """Two trainable matrices (R, m, m), 2 m^2 numbers a replica like a photonic layer's meshes.

    Replicas, modes m, outputs N and basis are those of the photonic `layer`.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.n_replicas, self.n_modes = layer.n_replicas, layer.n_modes
        self.n_outputs = layer.n_outputs
        shape = (self.n_replicas, self.n_modes, self.n_modes)
        self.first, self.second = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(shape))
        states = torch.tensor(layer.basis, dtype=torch.float32)
        self.register_buffer("_occupations", states, persistent=False)

    @torch.no_grad()
    def reset_parameters(self, generators: Sequence[torch.Generator]) -> None:
        """Draw normal entries of variance 1 / m, so that a phase keeps its scale."""
        for matrix in (self.first, self.second):
            for replica, generator in enumerate(generators):
                draw = torch.randn(matrix.shape[1:], generator=generator, dtype=torch.float64)
                matrix[replica] = draw / math.sqrt(self.n_modes)


class CosineTwin(ClassicalTwin):
    """out_t = (1 + (cos(t . A phi) + sin(t . B phi)) / 2) / N for every output state t.

    Like the probabilities of n photons these are trigonometric polynomials in the phases, whose
    frequencies follow the occupations t, with mean 1 / N.
    """

    def forward(self, phases: Tensor) -> Tensor:
        """Map phases (R, B, m) in radians to features (R, B, N)."""
        waves = torch.cos(torch.bmm(phases, self.first) @ self._occupations.mT)
        waves = waves + torch.sin(torch.bmm(phases, self.second) @ self._occupations.mT)
        return (1 + waves / 2) / self.n_outputs


class LinearTwin(ClassicalTwin):
    """out_t = (1 + t . B A phi) / N for every output state t: linear up to a constant."""

    def forward(self, phases: Tensor) -> Tensor:
        """Map phases (R, B, m) in radians to features (R, B, N)."""
        mixed = torch.bmm(torch.bmm(phases, self.first), self.second)
        return (1 + mixed @ self._occupations.mT) / self.n_outputs


class QuadraticForms(nn.Module):
    """K forms (v_k . P x)^2 / |P x|^2: trainable vectors (R, p, K), fixed random directions P.

    P has p = `n_inputs` orthonormal directions, drawn per replica; None for the embedding itself.
    """

    replica_buffers = ("directions",)

    def __init__(self, n_features: int, n_forms: int, n_inputs: int | None, n_replicas: int):
        super().__init__()
        self.n_replicas, self.reduced = n_replicas, n_inputs is not None
        width = checks.integer("n_inputs", n_inputs) if self.reduced else n_features
        if width > n_features:
            raise ValueError(f"n_inputs must be at most {n_features}, the width of the embedding.")
        size = (n_features if self.reduced else 0, width)
        check_weights(n_replicas, math.prod(size), width * n_forms)
        self.register_buffer("directions", torch.zeros(n_replicas, *size))
        self.vectors = nn.Parameter(torch.empty(n_replicas, width, n_forms))

    @torch.no_grad()
    def reset_parameters(self, generators: Sequence[torch.Generator]) -> None:
        """Draw directions and vectors, replica r's from `generators[r]`."""
        for replica, generator in enumerate(generators):
            options = {"generator": generator, "dtype": torch.float64}
            if self.reduced:
                drawn = torch.randn(self.directions.shape[1:], **options)
                self.directions[replica] = torch.linalg.qr(drawn).Q
            self.vectors[replica] = torch.randn(self.vectors.shape[1:], **options)

    def forward(self, X: Tensor) -> Tensor:
        """Map (R, B, d) to the values of the forms, (R, B, K); zeros for a vector of zeros."""
        if self.reduced:
            X = torch.bmm(X, self.directions)
        norm = X.square().sum(-1, keepdim=True).clamp_min(torch.finfo(X.dtype).tiny)
        return torch.bmm(X, self.vectors).square() / norm


class QuadraticFormHead(Head):
    """Quadratic forms and a linear map: logits x^T A_c x / x^T x + b_c of rank `n_forms`.

    The forms see `n_inputs` fixed random directions; None for the whole embedding.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        n_forms: int,
        n_inputs: int | None = None,
        n_replicas: int = 1,
    ) -> None:
        super().__init__(n_features, n_classes, n_replicas)
        n_forms = checks.integer("n_forms", n_forms)
        self.quantum = QuadraticForms(self.n_features, n_forms, n_inputs, self.n_replicas)
        self.readout = ReplicaLinear(self.n_replicas, n_forms, self.n_classes)
        self.reset_parameters(range(self.n_replicas))

    @classmethod
    def like(cls, head: Head, n_replicas: int = 1) -> QuadraticFormHead:
        """The twin with as many forms as a `QubitHead` has latent values, and as many parameters.

        The number of random directions is the largest with which the twin has no more parameters
        than the head; the difference is less than one parameter a form.
        """
        total = sum(p.numel() for p in head.parameters()) // head.n_replicas
        forms = head.options.latent_size
        left = total - (forms + 1) * head.n_classes
        width = min(max(1, left // forms), head.n_features)
        inputs = None if width == head.n_features else width
        return cls(head.n_features, head.n_classes, forms, inputs, n_replicas)
