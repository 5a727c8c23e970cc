"""Finite shots and depolarising noise for the paper's circuits: evaluation only, no derivative.

Noise is simulated by random Pauli operators behind the gates. None of them has to be applied to a
state: carried to the end of the circuit, an X or a Z in front of RY(a) turns it into RY(-a), a CNOT
copies it to the other qubit, and an X at the end changes the sign of <Z>. A noisy run is therefore
the same circuit with random signs in front of its angles and of its results, and runs as fast.
"""

from __future__ import annotations

import torch

from qllm_helpers.qubits.circuits import Circuit
from qllm_helpers.qubits.states import run_circuit


def require_rate(rate: float) -> float:
    """Return `rate`, or raise ValueError if it is no probability."""
    if not 0 <= rate <= 1:
        raise ValueError(f"the rate of the noise is a probability, from 0 to 1, not {rate!r}.")
    return float(rate)


def sampled_expectations(
    expectations: torch.Tensor, shots: int, generator: torch.Generator
) -> torch.Tensor:
    """Estimates of <Z> from finitely many shots.

    Every shot gives every qubit the bit 0 with probability (1 + <Z>) / 2. Qubits are drawn
    independently: each estimate has the right distribution, correlations between the errors of
    qubits that are read in the same shot are left out.

    Parameters
    ----------
    expectations : tensor
        Exact values, between -1 and 1.
    shots : int
        At least 1.
    generator : torch.Generator

    Returns
    -------
    tensor
        Same shape: mean of `shots` values +1 or -1.

    Raises
    ------
    ValueError
        If `shots` is less than 1.
    """
    if shots < 1:
        raise ValueError(f"shots must be at least 1, not {shots!r}.")
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

    def controlled_not(self, control: int, target: int) -> None:
        self.x[target] ^= self.x[control]
        self.z[control] ^= self.z[target]

    def sign(self, qubit: int) -> torch.Tensor:
        """-1 where the operator turns RY(a) into RY(-a)."""
        return 1 - 2 * (self.x[qubit] ^ self.z[qubit]).to(torch.int8)


def _signed_gates(circuit: Circuit, frame: _Frame) -> torch.Tensor:
    """Walk through the circuit with noise behind every gate; signs of the angles (G, ...)."""
    signs = []
    for control, target, _ in circuit.gates:
        if control >= 0:
            frame.controlled_not(control, target)
            frame.hit(control)
            frame.hit(target)
        signs.append(frame.sign(target))
        frame.hit(target)
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
    """Expectations of Z behind a circuit with depolarising noise behind every gate.

    After RY its qubit, after CNOT both of its qubits are each replaced by the completely mixed
    state with probability `rate` (PennyLane's ``DepolarizingChannel(3 * rate / 4)``). Loading the
    amplitudes is taken to be free of noise. Where noise acts, and equally behind all gates, is our
    choice.

    Parameters
    ----------
    circuit, angles, given, amplitudes
        As in `qubits_states.run_circuit`.
    rate : float
        From 0 to 1.
    n_trajectories : int
        Random runs, each of every sample, that are averaged.
    generator : torch.Generator

    Returns
    -------
    tensor, shape (R, B, Q)

    Raises
    ------
    ValueError
        If `rate` is no probability or there is no trajectory.
    """
    if n_trajectories < 1:
        raise ValueError(f"n_trajectories must be at least 1, not {n_trajectories!r}.")
    if require_rate(rate) == 0 or not circuit.gates:
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
        signed = own * _signed_gates(circuit, frame).movedim(0, -1)
        values = run_circuit(unrolled, none, given=signed, amplitudes=amplitudes)
        total += values * (1 - 2 * frame.x.movedim(0, -1).to(values.dtype))
    return total / n_trajectories
