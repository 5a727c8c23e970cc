"""The paper's two circuits (Kim et al., arXiv 2504.08732, Figs. 2 and 3) as lists of gates.

It leaves open whether a layer closes around the register ("ring") or not ("open"), `boundary`, and
whether re-uploading blocks have their "own" angles or "shared" ones, `reuploads`.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from qllm_helpers import checks

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
