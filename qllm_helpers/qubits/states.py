"""The paper's circuits (Kim et al., arXiv 2504.08732, Figs. 2 and 3) on real state vectors.

It leaves open whether a layer closes around the register ("ring") or not ("open"), `boundary`, and
whether re-uploading blocks have their "own" angles or "shared" ones, `reuploads`. On the CPU
`kernels` do the work; elsewhere, and for the tests, `final_state` does. Amplitudes that start real
stay real under CNOT and RY; qubit 0 is the most significant bit, as in PennyLane.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import nn

from qllm_helpers import checks
from qllm_helpers.photons.lanes import LANES
from qllm_helpers.qubits.kernels import circuit_backward, circuit_forward, half_angles

# Standard deviation (radians) of a "small" start.
_SMALL_ANGLE = 0.1
#: Largest register: 4 MiB of amplitudes a sample in single precision.
MAX_QUBITS = 20
#: Bytes of a gate in a list, at least: a tuple of three numbers.
_GATE_BYTES = 64


@dataclass(frozen=True)
class Circuit:
    """RY gates, each with or without a CNOT onto its target before it."""

    n_qubits: int
    # Control (-1 for no CNOT), target, and source of the angle: trainable angle `source` of the
    # replica, or for negative ones angle -1 - `source` of the sample.
    gates: tuple[tuple[int, int, int], ...]

    @property
    def n_angles(self) -> int:
        """Number of trainable angles."""
        return max([0, *(source + 1 for _, _, source in self.gates)])

    @property
    def n_given(self) -> int:
        """Number of angles that every sample brings."""
        return max([0, *(-source for _, _, source in self.gates)])

    @cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Control masks, target positions and sources, as the kernels take them."""
        last = self.n_qubits - 1
        masks = [0 if control < 0 else 1 << (last - control) for control, _, _ in self.gates]
        positions = [last - target for _, target, _ in self.gates]
        sources = [source for _, _, source in self.gates]
        return tuple(np.array(values, dtype=np.int64) for values in (masks, positions, sources))


def ansatz(
    n_qubits: int, connectivity: int, n_layers: int = 1, boundary: str = "ring"
) -> list[tuple[int, int]]:
    """Control q, target q + c of all CNOT + RY blocks, at distances c = 1, ..., `connectivity`."""
    n_qubits = checks.integer("n_qubits", n_qubits, 2)
    # 64 qubits fit nowhere, and the number of amplitudes of more is too long to be printed.
    size = 2 ** min(n_qubits, 64)
    bound = "" if n_qubits <= 64 else "more than "
    checks.memory(f"the {bound}{size:,} amplitudes of {n_qubits} qubits", 4 * size)
    checks.integer("n_qubits", n_qubits, 2, MAX_QUBITS)
    checks.integer("connectivity", connectivity, 1)
    checks.integer("n_layers", n_layers, 0)
    checks.choice("boundary", boundary, ("ring", "open"))
    if connectivity >= n_qubits:
        reach = f"reaches beyond a register of {n_qubits} qubits"
        raise ValueError(f"connectivity {connectivity} {reach}.")
    layer = [
        (qubit, (qubit + distance) % n_qubits)
        for distance in range(1, connectivity + 1)
        for qubit in range(n_qubits if boundary == "ring" else n_qubits - distance)
    ]
    n_gates = len(layer) * n_layers
    checks.memory(f"the {n_gates:,} gates of {n_layers:,} layers", _GATE_BYTES * n_gates)
    return layer * n_layers


# typed: True would find the circuit of 1.
@lru_cache(maxsize=256, typed=True)
def encoder_circuit(n_qubits: int, connectivity: int, n_layers: int, boundary: str) -> Circuit:
    """Module 1 behind the amplitude encoding: `ansatz` with one angle a block."""
    blocks = ansatz(n_qubits, connectivity, n_layers, boundary)
    return Circuit(n_qubits, tuple((*block, j) for j, block in enumerate(blocks)))


@lru_cache(maxsize=256, typed=True)
def reuploading_circuit(
    n_qubits: int, connectivity: int, n_reuploads: int, n_layers: int, boundary: str, reuploads: str
) -> Circuit:
    """Module 2: encode (RY of each qubit), N times (layer, encode again), `n_layers` layers."""
    checks.integer("n_reuploads", n_reuploads, 0)
    checks.choice("reuploads", reuploads, ("own", "shared"))
    layer = ansatz(n_qubits, connectivity, 1, boundary)
    main = ansatz(n_qubits, connectivity, n_layers, boundary)
    n_gates = (len(layer) + n_qubits) * n_reuploads
    checks.memory(f"the {n_gates:,} gates of {n_reuploads:,} reuploads", _GATE_BYTES * n_gates)
    encoding = [(-1, qubit, -1 - qubit) for qubit in range(n_qubits)]
    gates, angle = list(encoding), 0
    for block in range(n_reuploads):
        angle = block * len(layer) if reuploads == "own" else 0
        gates += [(*pair, angle + j) for j, pair in enumerate(layer)] + encoding
    used = angle + len(layer) if n_reuploads else 0
    gates += [(*pair, used + j) for j, pair in enumerate(main)]
    return Circuit(n_qubits, tuple(gates))


def require_room(n_states: int, n_amplitudes: int, like: torch.Tensor) -> None:
    """Refuse states of the type of `like` that do not fit into the memory that is free."""
    total = n_states * n_amplitudes
    if like.device.type == "cpu":
        what = f"{total:,} amplitudes, {n_amplitudes:,} of each of {n_states:,} states,"
        checks.memory(what, total * like.element_size())


def _scratch(circuit: Circuit, dtype: torch.dtype, blocks: int, rows: int) -> tuple:
    # `blocks` of 2^Q rows, `rows` of one per gate, one of Q. Memory from torch, which is aligned: a
    # vector that crosses a cache line costs twice.
    sizes = [2**circuit.n_qubits] * blocks + [len(circuit.gates)] * rows + [circuit.n_qubits]
    return tuple(torch.empty(size, LANES, dtype=dtype).numpy() for size in sizes)


def _table(angles: torch.Tensor) -> np.ndarray:
    table = torch.empty(*angles.shape, 2, dtype=angles.dtype).numpy()
    half_angles(angles.detach().contiguous().numpy(), table)
    return table


class _RunCircuit(torch.autograd.Function):
    @staticmethod
    def forward(context, circuit, keep, angles, given, amplitudes):
        R, B, _ = amplitudes.shape
        # One block of states is enough where no backward pass will ask for them.
        blocks = -(-R * B // LANES) if keep and any(context.needs_input_grad) else 1
        require_room(blocks * LANES, 2**circuit.n_qubits, amplitudes)
        states = torch.empty(blocks, 2**circuit.n_qubits, LANES, dtype=amplitudes.dtype)
        tables = _table(angles), _table(given.flatten(0, 1))
        expectations = torch.empty(R, B, circuit.n_qubits, dtype=amplitudes.dtype)
        circuit_forward(
            circuit.arrays, *tables, amplitudes.detach().flatten(0, 1).contiguous().numpy(), B,
            states.numpy(), _scratch(circuit, amplitudes.dtype, 1, 2),
            expectations.flatten(0, 1).numpy(),
        )  # fmt: skip
        context.circuit, context.tables, context.states = circuit, tables, states
        context.shapes = angles.shape, given.shape, amplitudes.shape
        return expectations.flip(-1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, weights):
        circuit, shapes = context.circuit, context.shapes
        samples = shapes[2][0] * shapes[2][1]
        weights = weights.flip(-1).flatten(0, 1).contiguous()
        by_angle = torch.empty(shapes[0], dtype=torch.float64)
        # Without a column where nobody asks: the embeddings are often data.
        given, amplitude = context.needs_input_grad[3:]
        by_given = torch.empty(samples, shapes[1][2] * given, dtype=weights.dtype)
        by_amplitude = torch.empty(samples, shapes[2][2] * amplitude, dtype=weights.dtype)
        circuit_backward(
            circuit.arrays, *context.tables, shapes[2][1], context.states.numpy(),
            _scratch(circuit, weights.dtype, 2, 3), weights.numpy(), by_angle.numpy(),
            by_given.numpy(), by_amplitude.numpy(),
        )  # fmt: skip
        by_given = by_given.view(shapes[1]) if given else None
        by_amplitude = by_amplitude.view(shapes[2]) if amplitude else None
        return None, None, by_angle.to(weights.dtype), by_given, by_amplitude


def _checked(circuit: Circuit, angles, given=None, amplitudes=None) -> tuple[torch.Tensor, ...]:
    """Fill in what is left out, and refuse what does not fit together."""
    first = given if amplitudes is None else amplitudes
    R, B = first.shape[:2]
    if given is None:
        given = first.new_empty(R, B, 0)
    if amplitudes is None:
        amplitudes = first.new_ones(R, B, 1)
    wanted = {
        "angles": (angles, (R, circuit.n_angles)),
        "given": (given, (R, B, circuit.n_given)),
        "amplitudes": (amplitudes, (R, B, min(amplitudes.shape[-1], 2**circuit.n_qubits))),
    }
    for name, (tensor, shape) in wanted.items():
        if tuple(tensor.shape) != shape or tensor.dtype != first.dtype:
            found = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
            raise ValueError(f"{name} must be {first.dtype} of shape {shape}, got {found}.")
    return angles, given, amplitudes


def run_circuit(circuit: Circuit, angles: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
    """Exact <Z>, (R, B, Q), from `angles` (R, P) in radians, differentiable once.

    `inputs`: `given` (R, B, K), the samples' angles, and the first `amplitudes` (R, B, d), or |0>.
    """
    angles, given, amplitudes = _checked(circuit, angles, **inputs)
    if amplitudes.device.type == "cpu":
        # Asked here, because inside of a Function gradients are always off.
        keep = torch.is_grad_enabled()
        return _RunCircuit.apply(circuit, keep, angles, given, amplitudes)
    return expectations_of(final_state(circuit, angles, given=given, amplitudes=amplitudes))


def final_state(circuit: Circuit, angles: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
    """State (R, B, 2^Q) with the arguments of `run_circuit`: in torch, any device, slow."""
    angles, given, amplitudes = _checked(circuit, angles, **inputs)
    require_room(amplitudes.shape[:2].numel(), 2**circuit.n_qubits, amplitudes)
    state = nn.functional.pad(amplitudes, (0, 2**circuit.n_qubits - amplitudes.shape[-1]))
    index = torch.arange(state.shape[-1], device=state.device)
    for mask, position, source in zip(*circuit.arrays, strict=True):
        angle = angles[:, None, source] if source >= 0 else given[:, :, -1 - source]
        cosine, sine = (angle / 2).cos()[..., None], (angle / 2).sin()[..., None]
        if mask:
            state = state[..., torch.where(index & int(mask) > 0, index ^ (1 << position), index)]
        sign = torch.where(index & (1 << position) > 0, 1.0, -1.0).to(state.dtype)
        state = cosine * state + sign * sine * state[..., index ^ (1 << position)]
    return state


def expectations_of(state: torch.Tensor) -> torch.Tensor:
    """Expectations of Z of every qubit, (R, B, Q), in states (R, B, 2^Q)."""
    n_qubits = state.shape[-1].bit_length() - 1
    index = torch.arange(state.shape[-1], device=state.device)
    bits = index[:, None] >> torch.arange(n_qubits - 1, -1, -1, device=state.device) & 1
    return state.square() @ (1 - 2 * bits).to(state.dtype)


def sampled_expectations(
    expectations: torch.Tensor, shots: int, generator: torch.Generator
) -> torch.Tensor:
    """Means of `shots` values +1 or -1, drawn for each qubit alone: no correlated errors."""
    checks.integer("shots", shots)
    zero = ((1 + expectations.detach().double()) / 2).clamp(0, 1)
    counts = torch.binomial(torch.full_like(zero, shots), zero, generator=generator)
    return (2 * counts / shots - 1).to(expectations.dtype)


def _random_signs(
    circuit: Circuit, shape: tuple, rate: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Signs of the angles (..., G) and of the results (..., Q) of one noisy run."""
    # Random Pauli operators behind the gates are carried to the end of the circuit: an X or a Z in
    # front of RY(a) turns it into RY(-a), a CNOT copies it, and an X at the end turns <Z> round.
    x = torch.zeros(circuit.n_qubits, *shape, dtype=torch.bool)
    z = torch.zeros_like(x)

    def hit(qubit: int) -> None:
        """Depolarise: with probability `rate` one of 1, X, Y, Z, equally likely."""
        struck = torch.rand(shape, generator=generator) < rate
        kind = torch.randint(4, shape, generator=generator)
        x[qubit] ^= struck & (kind % 2 == 1)
        z[qubit] ^= struck & (kind >= 2)

    signs = []
    for control, target, _ in circuit.gates:
        if control >= 0:
            x[target] ^= x[control]
            z[control] ^= z[target]
            hit(control)
            hit(target)
        signs.append(1 - 2 * (x[target] ^ z[target]).to(torch.int8))
        hit(target)
    return torch.stack(signs, -1), 1 - 2 * x.movedim(0, -1).to(torch.int8)


@torch.no_grad()
def noisy_expectations(
    circuit: Circuit,
    angles: torch.Tensor,
    *,
    rate: float,
    n_trajectories: int,
    generator: torch.Generator,
    **inputs: torch.Tensor,
) -> torch.Tensor:
    """`run_circuit` with depolarising noise behind every gate, mean of `n_trajectories` runs.

    With probability `rate` RY's qubit, or both of a CNOT's, are completely mixed (our choice).
    """
    checks.integer("n_trajectories", n_trajectories)
    if checks.real("rate", rate, 0, 1) == 0 or not circuit.gates:
        return run_circuit(circuit, angles, **inputs)
    angles, given, amplitudes = _checked(circuit, angles, **inputs)
    shape = amplitudes.shape[:2]
    sources = [source for _, _, source in circuit.gates]
    own = [angles[:, None, s].expand(shape) if s >= 0 else given[..., -1 - s] for s in sources]
    own = torch.stack(own, -1)
    # every gate has an angle of its own, which the sample brings
    gates = tuple((*gate[:2], -1 - j) for j, gate in enumerate(circuit.gates))
    unrolled = Circuit(circuit.n_qubits, gates)
    total = torch.zeros(*shape, circuit.n_qubits, dtype=amplitudes.dtype)
    for _ in range(n_trajectories):
        before, behind = _random_signs(circuit, shape, rate, generator)
        inputs = {"given": own * before, "amplitudes": amplitudes}
        total += run_circuit(unrolled, angles[:, :0], **inputs) * behind
    return total / n_trajectories


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


class SimulatedEncoder(_TrainedCircuit):
    """Module 1: amplitudes x / |x|, layers of CNOT + RY, exact <Z> of every qubit (even in x).

    Behind x come zeros, x again ("repeat"), or `constant`, in units of x, and zeros: not even.
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
            values = f"{width} values" + " and the constant" * constant
            room = f"the {2**n_qubits} amplitudes of {n_qubits} qubits"
            least = f"at least {(width + constant - 1).bit_length()} qubits, or reduction='linear'"
            raise ValueError(f"{values} do not fit into {room}: use {least} or 'truncate'.")
        return width + constant

    def amplitudes(self, X: torch.Tensor) -> torch.Tensor:
        """First amplitudes (R, B, at most 2^Q) of the states that vectors (R, B, d) become."""
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
            which = f"sample {sample} of the batch (replica {replica})"
            raise ValueError(f"{which} has no amplitudes: leave it out, or use padding='constant'.")
        return X / norm

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Map vectors (R, B, d), d at most 2^Q, to expectations (R, B, Q)."""
        return run_circuit(self.circuit, self.angles, amplitudes=self.amplitudes(X))


class ReuploadingCircuit(_TrainedCircuit):
    """Module 2, `reuploading_circuit`: `angle_scale` radians for one unit of the latent vector."""

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
