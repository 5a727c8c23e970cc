"""The paper's two modules on a batched real state vector: CNOT and RY gates, exact <Z>.

Amplitudes that start real stay real under CNOT and RY, so a state is 2^Q real numbers. One call
runs the circuits of R replicas on B samples each. Qubit 0 is the most significant bit of the index
of an amplitude, as in PennyLane. The circuits are in `qubits_circuits`, what runs them in
`qubits_states`.

Three choices that the paper (Kim et al., arXiv 2504.08732) leaves open are made here: `padding`,
what stands in the amplitudes behind the last value; `angle_scale`, the radians of RY for one unit
of the latent vector; and `start`, the distribution of the angles before training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from qllm_helpers.qubits.circuits import (
    BOUNDARIES,
    REUPLOADS,
    Circuit,
    ansatz,
    encoder_circuit,
    reuploading_circuit,
)
from qllm_helpers.qubits.states import expectations_of, final_state, run_circuit

__all__ = [
    "BOUNDARIES",
    "PADDINGS",
    "REUPLOADS",
    "STARTS",
    "Circuit",
    "ReuploadingCircuit",
    "SimulatedEncoder",
    "ansatz",
    "encoder_circuit",
    "expectations_of",
    "final_state",
    "reuploading_circuit",
    "run_circuit",
]

PADDINGS = ("zeros", "repeat")
STARTS = ("uniform", "small")
#: Standard deviation (radians) of a "small" start.
SMALL_ANGLE = 0.1


class _TrainedCircuit(nn.Module):
    """A circuit with trainable angles (R, P) in radians.

    Parameters
    ----------
    circuit : Circuit
    start : {"uniform", "small"}
        Angles before training: uniform over the circle, or normal with deviation `SMALL_ANGLE`.
    n_replicas : int
    """

    def __init__(self, circuit: Circuit, start: str = "uniform", n_replicas: int = 1) -> None:
        super().__init__()
        if start not in STARTS:
            raise ValueError(f"start must be one of {STARTS}, not {start!r}.")
        self.circuit, self.start, self.n_replicas = circuit, start, int(n_replicas)
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

    def extra_repr(self) -> str:
        return (
            f"n_qubits={self.circuit.n_qubits}, n_gates={len(self.circuit.gates)}, "
            f"n_angles={self.circuit.n_angles}, n_replicas={self.n_replicas}"
        )


class SimulatedEncoder(_TrainedCircuit):
    """Module 1: amplitudes x / |x|, layers of CNOT + RY, exact <Z> of every qubit.

    With exact expectations every output is a quadratic form x^T A x / x^T x, where A = U^T Z U has
    as many eigenvalues +1 as -1 on the whole register.

    Parameters
    ----------
    n_qubits, connectivity, n_layers, boundary
        As in `qubits_circuits.ansatz`.
    padding : {"zeros", "repeat"}
        What the amplitudes behind the last value are: zero, or the values again from the first.
    **training
        start : {"uniform", "small"}, angles before training: uniform over the circle, or normal
        with deviation `SMALL_ANGLE`; and n_replicas.

    Attributes
    ----------
    angles : Parameter, shape (R, P), radians

    Raises
    ------
    ValueError
        For an impossible register, connectivity or option.
    """

    def __init__(
        self,
        n_qubits: int,
        connectivity: int = 1,
        n_layers: int = 1,
        boundary: str = "ring",
        padding: str = "zeros",
        **training,
    ) -> None:
        circuit = encoder_circuit(n_qubits, connectivity, n_layers, boundary)
        if padding not in PADDINGS:
            raise ValueError(f"padding must be one of {PADDINGS}, not {padding!r}.")
        super().__init__(circuit, **training)
        self.padding = padding

    def amplitudes(self, X: torch.Tensor) -> torch.Tensor:
        """First amplitudes of the states that vectors (R, B, d), d at most 2^Q, are loaded as.

        A vector of zeros, which is no state, gives zeros.
        """
        width, size = X.shape[-1], 2**self.circuit.n_qubits
        if width > size:
            raise ValueError(
                f"{width} values do not fit into the {size} amplitudes of "
                f"{self.circuit.n_qubits} qubits: use more qubits, or reduce the vectors first."
            )
        if self.padding == "repeat":
            X = X[..., torch.arange(size, device=X.device) % width]
        norm = torch.linalg.vector_norm(X, dim=-1, keepdim=True)
        return X / norm.clamp_min(torch.finfo(X.dtype).tiny)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Map vectors (R, B, d), d at most 2^Q, to expectations (R, B, Q); zeros to zeros."""
        return run_circuit(self.circuit, self.angles, amplitudes=self.amplitudes(X))


class ReuploadingCircuit(_TrainedCircuit):
    """Module 2: RY by the latent vector, N re-uploading blocks, a main circuit, one measured qubit.

    Parameters
    ----------
    n_qubits, connectivity, n_reuploads, n_layers, boundary, reuploads
        As in `qubits_circuits.reuploading_circuit`.
    angle_scale : float
        Radians of RY for one unit of the latent vector.
    **training
        As in `SimulatedEncoder`.

    Attributes
    ----------
    angles : Parameter, shape (R, P), radians

    Raises
    ------
    ValueError
        For an impossible register, connectivity or option.
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
        if not (math.isfinite(angle_scale) and angle_scale > 0):
            raise ValueError(f"angle_scale must be a positive number, not {angle_scale!r}.")
        super().__init__(circuit, **training)
        self.angle_scale = float(angle_scale)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Map latent vectors (R, B, Q) to the expectation (R, B, 1) of Z of qubit 0."""
        given = latent * self.angle_scale
        return run_circuit(self.circuit, self.angles, given=given)[..., :1]
