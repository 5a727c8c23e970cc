"""Running circuits on batches of real state vectors, with a derivative.

On the CPU the work is done by `kernels`: derivatives by the trainable angles, by the samples' own
angles and by the amplitudes, once. Elsewhere, and as a reference in the tests, by `final_state`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from qllm_helpers import checks
from qllm_helpers.photons.lanes import LANES
from qllm_helpers.qubits.circuits import Circuit
from qllm_helpers.qubits.kernels import circuit_backward, circuit_forward, half_angles

#: Less than this is not worth a look at the memory, which costs as much as a small circuit.
_SMALL = 2**26


def require_room(n_states: int, n_amplitudes: int, like: torch.Tensor) -> None:
    """Refuse states of the type of `like` that do not fit into the memory that is free."""
    n_bytes = n_states * n_amplitudes * like.element_size()
    if n_bytes > _SMALL and like.device.type == "cpu":
        total = n_states * n_amplitudes
        checks.memory(
            f"{total:,} amplitudes, {n_amplitudes:,} of each of {n_states:,} states,", n_bytes
        )


def _scratch(circuit: Circuit, dtype: torch.dtype, blocks: int, rows: int) -> tuple:
    """Arrays for one block: `blocks` of 2^Q rows, `rows` of one per gate, one of Q."""
    # Memory from torch, which is aligned: a vector that crosses a cache line costs twice.
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
        return (
            None,
            None,
            by_angle.to(weights.dtype),
            by_given.view(shapes[1]) if given else None,
            by_amplitude.view(shapes[2]) if amplitude else None,
        )


def _checked(circuit: Circuit, angles, given=None, amplitudes=None) -> tuple[torch.Tensor, ...]:
    """Fill in what is left out, and refuse what does not fit together."""
    first = next(one for one in (amplitudes, given) if one is not None)
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
            raise ValueError(
                f"{name} must be {first.dtype} of shape {shape}, got {tensor.dtype} of shape "
                f"{tuple(tensor.shape)}."
            )
    return angles, given, amplitudes


def run_circuit(circuit: Circuit, angles: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
    """Exact <Z> behind a circuit, (R, B, Q), differentiable once by all arguments.

    `angles` (R, P) are the replicas', in radians. `inputs` are `given` (R, B, K), the samples'
    angles, and `amplitudes` (R, B, d), the first of 2^Q, of norm 1; default: |0...0>.
    """
    angles, given, amplitudes = _checked(circuit, angles, **inputs)
    if amplitudes.device.type == "cpu":
        # Asked here, because inside of a Function gradients are always off.
        keep = torch.is_grad_enabled()
        return _RunCircuit.apply(circuit, keep, angles, given, amplitudes)
    return expectations_of(final_state(circuit, angles, given=given, amplitudes=amplitudes))


def final_state(circuit: Circuit, angles: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
    """State (R, B, 2^Q) behind a circuit with the arguments of `run_circuit`, gate by gate.

    In torch: on any device, with any number of derivatives, slow.
    """
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
