"""The paper's two modules with trainable angles, on real state vectors: exact <Z>.

Amplitudes that start real stay real under CNOT and RY, so a state is 2^Q real numbers. One call
runs the circuits of R replicas on B samples each. Qubit 0 is the most significant bit of the index
of an amplitude, as in PennyLane.

Three choices that the paper (Kim et al., arXiv 2504.08732) leaves open are made here: `padding`,
what stands in the amplitudes behind the last value; `angle_scale`, the radians of RY for one unit
of the latent vector; and `start`, the distribution of the angles before training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from qllm_helpers import checks
from qllm_helpers.qubits.circuits import Circuit, encoder_circuit, reuploading_circuit
from qllm_helpers.qubits.states import require_room, run_circuit

PADDINGS = ("zeros", "repeat", "constant")
STARTS = ("uniform", "small")
#: Standard deviation (radians) of a "small" start.
SMALL_ANGLE = 0.1


class _TrainedCircuit(nn.Module):
    """A circuit with trainable `angles` (R, P) in radians.

    Before training they are uniform over the circle, or ("small") normal with `SMALL_ANGLE`.
    """

    def __init__(self, circuit: Circuit, start: str = "uniform", n_replicas: int = 1) -> None:
        super().__init__()
        self.circuit, self.start = circuit, checks.choice("start", start, STARTS)
        self.n_replicas = checks.integer("n_replicas", n_replicas)
        # Training keeps the state of at least one sample of every replica.
        size = 2**circuit.n_qubits
        checks.memory(
            f"{size * n_replicas:,} amplitudes ({size:,} of each of {n_replicas:,} replicas) and "
            f"{circuit.n_angles * n_replicas:,} angles",
            4 * n_replicas * (size + circuit.n_angles),
        )
        self.angles = nn.Parameter(torch.empty(self.n_replicas, circuit.n_angles))
        self.reset_parameters([torch.Generator().manual_seed(r) for r in range(self.n_replicas)])

    @torch.no_grad()
    def reset_parameters(self, generators: Sequence[torch.Generator]) -> None:
        """Draw all angles, replica r's from `generators[r]`: from [0, 2 pi), or near zero."""
        for replica, generator in enumerate(generators):
            size, options = self.angles.shape[1], {"generator": generator, "dtype": torch.float64}
            if self.start == "uniform":
                self.angles[replica] = 2 * math.pi * torch.rand(size, **options)
            else:
                self.angles[replica] = SMALL_ANGLE * torch.randn(size, **options)

    def _require_room(self, X: torch.Tensor, n_values: int) -> None:
        """Refuse a batch too large for memory: with a derivative all states are kept."""
        kept = torch.is_grad_enabled() and (X.requires_grad or self.angles.requires_grad)
        require_room(X.shape[:2].numel(), 2**self.circuit.n_qubits if kept else n_values, X)

    def extra_repr(self) -> str:
        return (
            f"n_qubits={self.circuit.n_qubits}, n_gates={len(self.circuit.gates)}, "
            f"n_angles={self.circuit.n_angles}, n_replicas={self.n_replicas}"
        )


class SimulatedEncoder(_TrainedCircuit):
    """Module 1: amplitudes x / |x|, layers of CNOT + RY, exact <Z> of every qubit.

    With exact expectations every output is a quadratic form x^T A x / x^T x, where A = U^T Z U has
    as many eigenvalues +1 as -1 on the whole register: it is the same for x and -x. `padding` says
    what the amplitudes behind the last value are: zeros; the values again from the first
    ("repeat"); or the number `constant`, then zeros. The last makes the forms those of
    (x, constant), with a part that is linear in x and odd. `constant` is in the units of x, before
    the common normalisation: with embeddings of norm 1, a multiple of their norm.
    `n_qubits` to `boundary` are those of `circuits.ansatz`; `training` is `start`, `n_replicas`.
    """

    def __init__(
        self,
        n_qubits: int,
        connectivity: int = 1,
        n_layers: int = 1,
        boundary: str = "ring",
        padding: str = "zeros",
        constant: float = 1.0,
        **training,
    ) -> None:
        circuit = encoder_circuit(n_qubits, connectivity, n_layers, boundary)
        super().__init__(circuit, **training)
        self.padding = checks.choice("padding", padding, PADDINGS)
        self.constant = checks.real("constant", constant, open_below=True)
        if padding != "constant" and constant != 1.0:
            raise ValueError(f"constant={constant!r} belongs to padding='constant'; leave it 1.0.")

    def amplitudes(self, X: torch.Tensor) -> torch.Tensor:
        """First amplitudes (R, B, at most 2^Q) of the states that vectors (R, B, d) are loaded as.

        Raises ValueError for more values than amplitudes, and for a sample without a direction.
        """
        width, size = X.shape[-1], 2**self.circuit.n_qubits
        filled = width + (self.padding == "constant")
        if filled > size:
            beside = " and the constant" if filled > width else ""
            raise ValueError(
                f"{width} values{beside} do not fit into the {size} amplitudes of "
                f"{self.circuit.n_qubits} qubits: use more qubits, or reduce the vectors first."
            )
        self._require_room(X, size if self.padding == "repeat" else filled)
        if self.padding == "repeat":
            X = X[..., torch.arange(size, device=X.device) % width]
        elif self.padding == "constant":
            X = nn.functional.pad(X, (0, 1), value=self.constant)
        norm = torch.linalg.vector_norm(X, dim=-1, keepdim=True)
        # Below this a norm has lost its digits, and zero has none.
        least = torch.finfo(X.dtype).tiny
        if norm.numel() and norm.amin().item() < least:
            replica, sample, _ = (norm < least).nonzero()[0].tolist()
            raise ValueError(
                f"sample {sample} of the batch (replica {replica}) has no amplitudes: all its "
                "values are zero, or too small for their norm, and a state has norm 1. Leave the "
                "sample out, or use padding='constant'."
            )
        return X / norm

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Map vectors (R, B, d), d at most 2^Q, to expectations (R, B, Q)."""
        return run_circuit(self.circuit, self.angles, amplitudes=self.amplitudes(X))


class ReuploadingCircuit(_TrainedCircuit):
    """Module 2: RY by the latent vector, N re-uploading blocks, a main circuit, one measured qubit.

    `angle_scale` are the radians of RY for one unit of the latent vector; the other options are
    those of `circuits.reuploading_circuit`, and in `training` those of `SimulatedEncoder`.
    """

    def __init__(
        self,
        n_qubits: int,
        connectivity: int = 1,
        n_reuploads: int = 2,
        n_layers: int = 1,
        boundary: str = "ring",
        reuploads: str = "own",
        angle_scale: float = 1.0,
        **training,
    ) -> None:
        circuit = reuploading_circuit(
            n_qubits, connectivity, n_reuploads, n_layers, boundary, reuploads
        )
        super().__init__(circuit, **training)
        self.angle_scale = checks.real("angle_scale", angle_scale, open_below=True)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Map latent vectors (R, B, Q) to the expectation (R, B, 1) of Z of qubit 0."""
        self._require_room(latent, self.circuit.n_qubits)
        given = latent * self.angle_scale
        return run_circuit(self.circuit, self.angles, given=given)[..., :1]
