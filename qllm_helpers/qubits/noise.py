"""Finite shots and depolarising noise for the paper's circuits: evaluation only, no derivative.

Noise is simulated by random Pauli operators behind the gates. None of them has to be applied to a
state: carried to the end of the circuit, an X or a Z in front of RY(a) turns it into RY(-a), a CNOT
copies it to the other qubit, and an X at the end changes the sign of <Z>. A noisy run is therefore
the same circuit with random signs in front of its angles and of its results, and runs as fast.
"""

from __future__ import annotations

import torch

from qllm_helpers import checks
from qllm_helpers.qubits.circuits import Circuit
from qllm_helpers.qubits.states import run_circuit


def sampled_expectations(
    expectations: torch.Tensor, shots: int, generator: torch.Generator
) -> torch.Tensor:
    """Estimates of <Z> from finitely many shots: means of `shots` values +1 or -1.

    Every shot gives every qubit the bit 0 with probability (1 + <Z>) / 2. Qubits are drawn
    independently: each estimate has the right distribution, correlations between the errors of
    qubits that are read in the same shot are left out.
    """
    checks.integer("shots", shots)
    zero = ((1 + expectations.detach().double()) / 2).clamp(0, 1)
    counts = torch.binomial(torch.full_like(zero, shots), zero, generator=generator)
    return (2 * counts / shots - 1).to(expectations.dtype)


class _Frame:
    """Pauli operators, one per sample and qubit, on their way to the end of the circuit."""

    def __init__(self, shape: tuple, n_qubits: int, rate: float, generator: torch.Generator):
        self.x = torch.zeros(n_qubits, *shape, dtype=torch.bool)
        self.z = torch.zeros_like(self.x)
        self.rate, self.generator = rate, generator

    def hit(self, qubit: int) -> None:
        """Depolarise: with probability `rate` one of 1, X, Y, Z, equally likely."""
        options = {"generator": self.generator}
        struck = torch.rand(self.x.shape[1:], **options) < self.rate
        kind = torch.randint(4, self.x.shape[1:], **options)
        self.x[qubit] ^= struck & (kind % 2 == 1)
        self.z[qubit] ^= struck & (kind >= 2)

    def signs(self, circuit: Circuit) -> torch.Tensor:
        """Walk through a circuit; -1 where RY(a) becomes RY(-a), 1 elsewhere: (G, ...)."""
        signs = []
        for control, target, _ in circuit.gates:
            if control >= 0:
                self.x[target] ^= self.x[control]
                self.z[control] ^= self.z[target]
                self.hit(control)
                self.hit(target)
            signs.append(1 - 2 * (self.x[target] ^ self.z[target]).to(torch.int8))
            self.hit(target)
        return torch.stack(signs)


@torch.no_grad()
def noisy_expectations(
    circuit: Circuit,
    angles: torch.Tensor,
    *,
    given: torch.Tensor | None = None,
    amplitudes: torch.Tensor | None = None,
    rate: float,
    n_trajectories: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """`run_circuit` with depolarising noise behind every gate, mean of `n_trajectories` runs.

    After RY its qubit, after CNOT both of its qubits are each replaced by the completely mixed
    state with probability `rate` (PennyLane's ``DepolarizingChannel(3 * rate / 4)``). Loading the
    amplitudes is taken to be free of noise. Where noise acts, and equally behind all gates, is our
    choice.
    """
    checks.integer("n_trajectories", n_trajectories)
    if checks.real("rate", rate, 0, 1) == 0 or not circuit.gates:
        return run_circuit(circuit, angles, given=given, amplitudes=amplitudes)
    first = amplitudes if amplitudes is not None else given
    shape = first.shape[:2]
    sources = [source for _, _, source in circuit.gates]
    own = [angles[:, None, s].expand(shape) if s >= 0 else given[..., -1 - s] for s in sources]
    own = torch.stack(own, -1)
    # every gate has an angle of its own, which the sample brings
    gates = tuple((*gate[:2], -1 - j) for j, gate in enumerate(circuit.gates))
    unrolled, none = Circuit(circuit.n_qubits, gates), angles[:, :0]
    total = torch.zeros(*shape, circuit.n_qubits, dtype=first.dtype)
    for _ in range(n_trajectories):
        frame = _Frame(shape, circuit.n_qubits, rate, generator)
        signed = own * frame.signs(circuit).movedim(0, -1)
        values = run_circuit(unrolled, none, given=signed, amplitudes=amplitudes)
        total += values * (1 - 2 * frame.x.movedim(0, -1).to(values.dtype))
    return total / n_trajectories
