"""Heads around the circuits of Kim et al. (arXiv 2504.08732): embedding, latent vector, logits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from qllm_helpers import checks
from qllm_helpers.heads.base import Head, ReplicaLinear, check_weights, fill

#: Parameters of the paper's best head, "14 qubits, multi sQE".
PAPER_PARAMETERS = 886
#: Two sets of options with exactly that many for two classes. The output layer of 14 latent values
#: has (14 + 1) * 2 + 2 = 32, which leaves 854 angles; encoders of Q qubits in a ring have them as
#: 2 Q C M + 14 C (N + R), with connectivity C and M, N and R layers, re-uploads and main layers.
PAPER_READINGS = {
    "encoders of 14 qubits": {
        "n_qubits": 14, "n_encoders": 2, "connectivity": 1, "n_layers": 29, "n_reuploads": 2,
    },
    "encoders of 10 qubits": {
        "n_qubits": 10, "n_encoders": 2, "n_latent": 14, "connectivity": 7, "n_layers": 4,
        "n_reuploads": 2,
    },
}  # fmt: skip
#: What a classifier can put in the place of the head, see `QubitClassifier`.
TWINS = (None, "frozen", "quadratic")
_CHOICES = {
    "module1": ("circuit", "linear", "none"),
    "module2": ("circuit", "none"),
    "reduction": (None, "truncate", "linear"),
    "merge": ("concatenate", "mean"),
}
# Of an empty torch module, at least.
_MODULE_BYTES = 2000


@dataclass(frozen=True)
class QubitOptions:
    """Options of `QubitHead`, described in `QubitClassifier`; ValueError if they are impossible."""

    n_qubits: int = 10
    n_encoders: int = 1
    connectivity: int = 1
    n_layers: int = 1
    n_reuploads: int = 2
    n_main_layers: int = 1
    n_latent: int | None = None
    module1: str = "circuit"
    module2: str = "circuit"
    reduction: str | None = None
    merge: str = "concatenate"
    boundary: str = "ring"
    padding: str = "zeros"
    reuploads: str = "own"
    angle_scale: float = 1.0
    start: str = "uniform"
    constant: float = 1.0

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            checks.choice(name, getattr(self, name), known)
        checks.integer("n_qubits", self.n_qubits)
        checks.integer("n_encoders", self.n_encoders)
        checks.integer("n_latent", self.latent_size)
        if self.module1 != "circuit" and self.module2 == "none":
            raise ValueError("without both modules no circuit is left: keep module1 or module2.")
        if self.module1 != "circuit" and self.reduction is not None:
            raise ValueError("reduction belongs to module1='circuit'; leave it None.")
        if self.module1 != "circuit":
            return
        if self.merge == "concatenate" and self.latent_size % self.n_encoders:
            shared = f"shared equally by {self.n_encoders} encoders: use merge='mean'."
            raise ValueError(f"{self.latent_size} latent values cannot be {shared}")
        if self.measured > self.n_qubits:
            needed = f"{self.measured} measured qubits in each encoder, which has {self.n_qubits}"
            raise ValueError(f"n_latent={self.latent_size} needs {needed}: lower n_latent.")

    @property
    def latent_size(self) -> int:
        """Number Qc of latent values."""
        return self.n_qubits if self.n_latent is None else self.n_latent

    @property
    def measured(self) -> int:
        """Qubits of each encoder that are measured."""
        return self.latent_size // (self.n_encoders if self.merge == "concatenate" else 1)

    @property
    def width(self) -> int:
        """Values that enter the circuits: amplitudes, or the latent vector without module 1."""
        if self.module1 != "circuit":
            return self.latent_size
        # The constant takes an amplitude.
        return 2**self.n_qubits - (self.padding == "constant")


class TwoModules(nn.Module):
    """Modules 1 (E encoders or none) and 2 (or None) of the paper: (R, B, d) to (R, B, Qc + 1)."""

    def __init__(self, options: QubitOptions, n_replicas: int) -> None:
        super().__init__()
        # Here, because numba takes a second to import and the classical heads need none of it.
        from qllm_helpers.qubits.states import ReuploadingCircuit, SimulatedEncoder

        def chosen(*names: str) -> dict:
            return {name: getattr(options, name) for name in names}

        self.options = options
        n_encoders = options.n_encoders if options.module1 == "circuit" else 0
        shared = chosen("connectivity", "boundary", "start") | {"n_replicas": n_replicas}
        own = chosen("n_qubits", "n_layers", "padding", "constant")
        checks.memory(f"n_encoders={n_encoders:,} circuits", _MODULE_BYTES * n_encoders)
        self.first = nn.ModuleList(SimulatedEncoder(**own, **shared) for _ in range(n_encoders))
        self.second = None
        if options.module2 == "circuit":
            own = chosen("n_reuploads", "reuploads", "angle_scale")
            own |= {"n_qubits": options.latent_size, "n_layers": options.n_main_layers}
            self.second = ReuploadingCircuit(**own, **shared)
        self.n_outputs = options.latent_size + (self.second is not None)

    def merged(self, expectations: Sequence[Tensor]) -> Tensor:
        """Latent vector (R, B, Qc) from the E encoders' expectations of Z (R, B, Q)."""
        parts = [one[..., : self.options.measured] for one in expectations]
        return torch.stack(parts).mean(0) if self.options.merge == "mean" else torch.cat(parts, -1)

    def latent(self, X: Tensor) -> Tensor:
        """Latent vector (R, B, Qc) of embeddings (R, B, d), of which the first values count."""
        X = X[..., : self.options.width]
        return self.merged([encoder(X) for encoder in self.first]) if len(self.first) else X

    def forward(self, X: Tensor) -> Tensor:
        latent = self.latent(X)
        return latent if self.second is None else torch.cat([latent, self.second(latent)], dim=-1)


class QubitHead(Head):
    """The paper's head, with `QubitOptions`; `frozen` angles stay at their random start."""

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
        self.options = options = QubitOptions(n_qubits, **options)
        # the circuits first: they know how many qubits are too many for 2^Q numbers
        quantum = TwoModules(options, self.n_replicas)
        if options.module1 == "none" and self.n_features < options.width:
            first = f"the first {options.width} values of the embedding, which has {n_features}"
            raise ValueError(f"without module 1 {first}, are the latent vector: lower n_latent.")
        if options.module1 == "circuit" and options.reduction is None:
            quantum.first[0].require_fit(self.n_features)
        if "linear" in (options.module1, options.reduction):
            self.encoder = ReplicaLinear(self.n_replicas, self.n_features, options.width)
        self.quantum = quantum.requires_grad_(not frozen)
        self.readout = ReplicaLinear(self.n_replicas, quantum.n_outputs, self.n_classes)
        self.reset_parameters(range(self.n_replicas))


class QuadraticForms(nn.Module):
    """K forms ``(v_k . P x)^2 / |P x|^2``, (R, B, d) to (R, B, K): trainable vectors (R, p, K).

    The p = `n_inputs` orthonormal directions P are random and fixed; None for the embedding itself.
    """

    # Exact <Z> behind amplitude encoding are such forms, x^T A x / x^T x with A = U^T Z U, whose
    # only freedom is the angles of U. Here the vectors are free.
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

    def reset_parameters(self, generators: Sequence[torch.Generator]) -> None:
        """Draw directions and vectors, replica r's from `generators[r]`."""
        if self.reduced:
            fill(self.directions, generators, lambda drawn: torch.linalg.qr(drawn).Q)
        fill(self.vectors, generators)

    def forward(self, X: Tensor) -> Tensor:
        if self.reduced:
            X = torch.bmm(X, self.directions)
        # zeros for a vector of zeros
        norm = X.square().sum(-1, keepdim=True).clamp_min(torch.finfo(X.dtype).tiny)
        return torch.bmm(X, self.vectors).square() / norm


class QuadraticFormHead(Head):
    """`QuadraticForms` and a linear map: logits x^T A_c x / x^T x + b_c of rank `n_forms`."""

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
    def like(cls, head: QubitHead, n_replicas: int = 1) -> Self:
        """The twin with a form for each latent value of `head`, and at most as many parameters."""
        # with the most random directions that allow it: less than one parameter a form is missing
        total = sum(p.numel() for p in head.parameters()) // head.n_replicas
        forms = head.options.latent_size
        left = total - (forms + 1) * head.n_classes
        width = min(max(1, left // forms), head.n_features)
        inputs = None if width == head.n_features else width
        return cls(head.n_features, head.n_classes, forms, inputs, n_replicas)
