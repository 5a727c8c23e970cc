"""The paper's two modules with trainable angles, on real state vectors: exact <Z>.

Amplitudes that start real stay real under CNOT and RY. Qubit 0 is the most significant bit, as in
PennyLane. `padding`, `angle_scale` and `start` are left open by the paper (arXiv 2504.08732).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from qllm_helpers import checks
from qllm_helpers.qubits.circuits import Circuit, encoder_circuit, reuploading_circuit
from qllm_helpers.qubits.states import require_room, run_circuit

# Standard deviation (radians) of a "small" start.
_SMALL_ANGLE = 0.1


class _TrainedCircuit(nn.Module):
    """A circuit with trainable `angles` (R, P) in radians."""

    def __init__(self, circuit: Circuit, start: str = "uniform", n_replicas: int = 1) -> None:
        super().__init__()
        self.circuit, self.start = circuit, checks.choice("start", start, ("uniform", "small"))
        self.n_replicas = checks.integer("n_replicas", n_replicas)
        # Training keeps the state of at least one sample of every replica.
        size, n_angles = 2**circuit.n_qubits, circuit.n_angles * n_replicas
        what = f"{size * n_replicas:,} amplitudes ({size:,} of each of {n_replicas:,} replicas)"
        checks.memory(f"{what} and {n_angles:,} angles", 4 * (size * n_replicas + n_angles))
        self.angles = nn.Parameter(torch.empty(self.n_replicas, circuit.n_angles))
        self.reset_parameters([torch.Generator().manual_seed(r) for r in range(self.n_replicas)])

    @torch.no_grad()
    def reset_parameters(self, generators: Sequence[torch.Generator]) -> None:
        """Draw all angles, replica r's from `generators[r]`: from [0, 2 pi), or near zero."""
        uniform = self.start == "uniform"
        draw, unit = (torch.rand, 2 * math.pi) if uniform else (torch.randn, _SMALL_ANGLE)
        for replica, generator in enumerate(generators):
            options = {"generator": generator, "dtype": torch.float64}
            self.angles[replica] = unit * draw(self.circuit.n_angles, **options)

    def _require_room(self, X: torch.Tensor, n_values: int) -> None:
        """Refuse a batch too large for memory: with a derivative all states are kept."""
        kept = torch.is_grad_enabled() and (X.requires_grad or self.angles.requires_grad)
        require_room(X.shape[:2].numel(), 2**self.circuit.n_qubits if kept else n_values, X)

    def extra_repr(self) -> str:
        sizes = f"n_qubits={self.circuit.n_qubits}, n_gates={len(self.circuit.gates)}"
        return f"{sizes}, n_angles={self.circuit.n_angles}, n_replicas={self.n_replicas}"


class SimulatedEncoder(_TrainedCircuit):
    """Module 1: amplitudes x / |x|, layers of CNOT + RY, exact <Z> of every qubit (even in x).

    Behind the last value stand zeros, the values again ("repeat"), or `constant`, in units of x and
    before the normalisation, then zeros, which adds an odd part. `training`: `start`, `n_replicas`.
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
        self.padding = checks.choice("padding", padding, ("zeros", "repeat", "constant"))
        self.constant = checks.real("constant", constant, open_below=True)
        if padding != "constant" and constant != 1.0:
            raise ValueError(f"constant={constant!r} belongs to padding='constant'; leave it 1.0.")

    def require_fit(self, width: int) -> int:
        """Amplitudes that `width` values fill; ValueError if those of the register are fewer."""
        constant, n_qubits = self.padding == "constant", self.circuit.n_qubits
        if width + constant > 2**n_qubits:
            raise ValueError(
                f"{width} values{' and the constant' * constant} do not fit into the {2**n_qubits} "
                f"amplitudes of {n_qubits} qubits: use at least "
                f"{(width + constant - 1).bit_length()} qubits, or say with reduction='truncate' "
                "or reduction='linear' how a head reduces them."
            )
        return width + constant

    def amplitudes(self, X: torch.Tensor) -> torch.Tensor:
        """First amplitudes (R, B, at most 2^Q) of the states that vectors (R, B, d) are loaded as.

        Raises ValueError for more values than amplitudes, and for a sample without a direction.
        """
        width, size = X.shape[-1], 2**self.circuit.n_qubits
        filled = self.require_fit(width)
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
                f"sample {sample} of the batch (replica {replica}) has no amplitudes: all values "
                "are zero or too small. Leave it out, or use padding='constant'."
            )
        return X / norm

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Map vectors (R, B, d), d at most 2^Q, to expectations (R, B, Q)."""
        return run_circuit(self.circuit, self.angles, amplitudes=self.amplitudes(X))


class ReuploadingCircuit(_TrainedCircuit):
    """Module 2: RY by the latent vector, N re-uploading blocks, a main circuit, one measured qubit.

    `angle_scale` are the radians of RY for one unit of the latent vector; see also
    `circuits.reuploading_circuit`, and for `training` `SimulatedEncoder`.
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
