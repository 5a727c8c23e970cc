"""Options of the head with the paper's circuits, and what follows from them.

Source: Kim et al., arXiv 2504.08732. What it leaves open is a named option here (see also
`qubits.trainable` and `qubits.circuits`); the defaults are our choice:

* `merge`: how E encoders give one latent vector of Qc values. "concatenate": every encoder is
  measured on Qc / E qubits. "mean": every encoder is measured on Qc qubits, and the E values of a
  qubit are averaged.
* `n_latent`: the Qc of the paper, the qubits of module 2; by default as many as an encoder has.
* `reduction`: what to do with more values than amplitudes. There is no silent rule: without one the
  head is refused. "truncate" drops the last values, "linear" is a trainable map to 2^Q values.

The 886 parameters of the paper's best head
-------------------------------------------
With Qc = 14, two classes and a bias the output layer has (14 + 1) * 2 + 2 = 32 parameters, which
leaves 854 = 14 * 61 angles: a multiple of 14, as a ring of 14 qubits has it (one block for each
qubit and distance). With connectivity C, M layers in each of two encoders, N re-uploading blocks
and R layers of the main circuit there are 14 C (2 M + N + R) angles if the encoders have 14 qubits
too; 61 is prime, so C = 1 and 2 M + N + R = 61. If the encoders have 10 qubits, which is what 768
values need, the count is 20 C M + 14 C (N + R); C = 7, M = 4, N + R = 3 is exact. Both are in
`PAPER_READINGS`. The number of parameters does not fix the circuit.
"""

from __future__ import annotations

from dataclasses import dataclass

from qllm_helpers import checks

MERGES = ("concatenate", "mean")
REDUCTIONS = (None, "truncate", "linear")
#: What stands for module 1 and for module 2: the circuit, or what an ablation puts in its place.
MODULES_1 = ("circuit", "linear", "none")
MODULES_2 = ("circuit", "none")
#: Parameters of the paper's best head, "14 qubits, multi sQE".
PAPER_PARAMETERS = 886
#: Two sets of options with exactly that many for two classes (derived above).
PAPER_READINGS = {
    "encoders of 14 qubits": {
        "n_qubits": 14, "n_encoders": 2, "connectivity": 1, "n_layers": 29, "n_reuploads": 2,
    },
    "encoders of 10 qubits": {
        "n_qubits": 10, "n_encoders": 2, "n_latent": 14, "connectivity": 7, "n_layers": 4,
        "n_reuploads": 2,
    },
}  # fmt: skip


@dataclass(frozen=True)
class QubitOptions:
    """Options of `QubitHead`, checked when created.

    They are described in `QubitClassifier`; ValueError for an unknown or impossible option, or
    options that contradict each other.
    """

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
        checks.choice("module1", self.module1, MODULES_1)
        checks.choice("module2", self.module2, MODULES_2)
        checks.choice("reduction", self.reduction, REDUCTIONS)
        checks.choice("merge", self.merge, MERGES)
        checks.integer("n_qubits", self.n_qubits)
        checks.integer("n_encoders", self.n_encoders)
        if self.n_latent is not None:
            checks.integer("n_latent", self.n_latent)
        if self.module1 == "circuit":
            self._check_latent()
        elif self.module2 == "none":
            raise ValueError("without both modules no circuit is left: keep module1 or module2.")
        elif self.reduction is not None:
            raise ValueError("reduction belongs to module1='circuit'; leave it None.")

    def _check_latent(self) -> None:
        if self.merge == "concatenate" and self.latent_size % self.n_encoders:
            raise ValueError(
                f"{self.latent_size} latent values cannot be shared equally by {self.n_encoders} "
                "encoders: change n_latent or n_encoders, or use merge='mean'."
            )
        if self.measured > self.n_qubits:
            raise ValueError(
                f"n_latent={self.latent_size} needs {self.measured} measured qubits in each "
                f"encoder, which has {self.n_qubits}: lower n_latent."
            )

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

    def check_features(self, n_features: int) -> None:
        """Raise ValueError if embeddings of `n_features` values do not fit."""
        if self.module1 == "none" and n_features < self.width:
            raise ValueError(
                f"without module 1 the latent vector is the first {self.width} values of the "
                f"embedding, which has {n_features}: lower n_latent."
            )
        if self.module1 == "circuit" and self.reduction is None and n_features > self.width:
            constant = self.padding == "constant"
            raise ValueError(
                f"{n_features} values{' and the constant' * constant} do not fit into the "
                f"{2**self.n_qubits} amplitudes of {self.n_qubits} qubits: use at least "
                f"{(n_features + constant - 1).bit_length()} qubits, or "
                "say with reduction='truncate' or reduction='linear' how to reduce them."
            )
