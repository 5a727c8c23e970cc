"""Classical twin of the simulated quantum encoder: quadratic forms x^T A x / x^T x of low rank.

Exact expectations of Z behind amplitude encoding are such forms, with A = U^T Z U, whose only
freedom is the angles of U. Here the vectors are free, and what is fixed (random directions) is
chosen so that the number of parameters is the same. The construction is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from qllm_helpers.heads.base import Head, ReplicaLinear, require_integer


class QuadraticForms(nn.Module):
    """K forms (v_k . P x)^2 / |P x|^2 with trainable v_k and fixed random directions P.

    Parameters
    ----------
    n_features : int
    n_forms : int
        K.
    n_inputs : int or None
        Number p of orthonormal directions, drawn per replica; None for the embedding itself.
    n_replicas : int

    Attributes
    ----------
    vectors : Parameter, shape (R, p, K)
    """

    replica_buffers = ("directions",)

    def __init__(self, n_features: int, n_forms: int, n_inputs: int | None, n_replicas: int):
        super().__init__()
        self.n_replicas, self.reduced = n_replicas, n_inputs is not None
        width = require_integer("n_inputs", n_inputs) if self.reduced else n_features
        if width > n_features:
            raise ValueError(f"n_inputs must be at most {n_features}, the width of the embedding.")
        size = (n_replicas, n_features if self.reduced else 0, width)
        self.register_buffer("directions", torch.zeros(size))
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

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Map (R, B, d) to the values of the forms, (R, B, K); zeros for a vector of zeros."""
        if self.reduced:
            X = torch.bmm(X, self.directions)
        norm = X.square().sum(-1, keepdim=True).clamp_min(torch.finfo(X.dtype).tiny)
        return torch.bmm(X, self.vectors).square() / norm


class QuadraticFormHead(Head):
    """Quadratic forms of rank one and a linear map: logits x^T A_c x / x^T x + b_c of rank K.

    Parameters
    ----------
    n_features, n_classes : int
    n_forms : int
        K.
    n_inputs : int, optional
        Fixed random directions that the forms see; default: the whole embedding.
    n_replicas : int

    Raises
    ------
    ValueError
        For numbers out of range.
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
        n_forms = require_integer("n_forms", n_forms)
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
