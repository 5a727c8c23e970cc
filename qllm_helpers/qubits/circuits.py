"""The paper's two circuits as lists of gates.

Source: Kim et al., arXiv 2504.08732 (the ansatz of its Fig. 2, the two modules of its Fig. 3). What
the paper leaves open is an option here, and the default is our choice:

* `boundary`: whether a layer of gates closes around the register ("ring") or stops ("open");
* `reuploads`: whether the re-uploading blocks have angles of their own ("own") or one set
  ("shared").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

BOUNDARIES = ("ring", "open")
REUPLOADS = ("own", "shared")
#: Largest register: 4 MiB of amplitudes a sample in single precision.
MAX_QUBITS = 20


@dataclass(frozen=True)
class Circuit:
    """A sequence of RY gates, each with or without a CNOT onto its target before it.

    Attributes
    ----------
    n_qubits : int
    gates : tuple of (control, target, source)
        `control` is a qubit, or -1 for none. `source` says where the angle comes from: j >= 0 is
        trainable angle j of the replica, j < 0 angle -1 - j of the sample.
    """

    n_qubits: int
    gates: tuple[tuple[int, int, int], ...]

    @property
    def n_angles(self) -> int:
        """Number of trainable angles."""
        return 1 + max((source for _, _, source in self.gates), default=-1)

    @property
    def n_given(self) -> int:
        """Number of angles that every sample brings."""
        return max((-source for _, _, source in self.gates), default=0) if self.gates else 0

    @cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Control masks, target positions and sources, as the kernels take them."""
        last = self.n_qubits - 1
        masks = [0 if control < 0 else 1 << (last - control) for control, _, _ in self.gates]
        positions = [last - target for _, target, _ in self.gates]
        sources = [source for _, _, source in self.gates]
        return tuple(np.array(values, dtype=np.int64) for values in (masks, positions, sources))


def require_count(name: str, value: int, least: int, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}.")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most} here, not {value!r}.")


def ansatz(
    n_qubits: int, connectivity: int, n_layers: int = 1, boundary: str = "ring"
) -> list[tuple[int, int]]:
    """Control and target of every CNOT + RY block, in order.

    A layer goes through the distances 1, 2, ..., C; at each distance c, qubit q = 0, 1, ...
    controls a NOT on qubit q + c, which is then rotated (the paper's Fig. 2).

    Parameters
    ----------
    n_qubits : int
        Q, at least 2.
    connectivity : int
        Largest distance C, from 1 to Q - 1.
    n_layers : int
        How often the whole layer is repeated, each time with angles of its own; may be 0.
    boundary : {"ring", "open"}
        "ring": q + c is taken modulo Q, so every distance has Q blocks. "open": only targets
        inside the register, Q - c blocks.

    Returns
    -------
    list of (control, target)

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    require_count("n_qubits", n_qubits, 2, MAX_QUBITS)
    require_count("connectivity", connectivity, 1)
    require_count("the number of layers", n_layers, 0)
    if connectivity >= n_qubits:
        raise ValueError(
            f"connectivity {connectivity} reaches beyond a register of {n_qubits} qubits: it must "
            f"be at most {n_qubits - 1}."
        )
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary must be one of {BOUNDARIES}, not {boundary!r}.")
    layer = [
        (qubit, (qubit + distance) % n_qubits)
        for distance in range(1, connectivity + 1)
        for qubit in range(n_qubits if boundary == "ring" else n_qubits - distance)
    ]
    return layer * n_layers


@lru_cache(maxsize=256)
def encoder_circuit(n_qubits: int, connectivity: int, n_layers: int, boundary: str) -> Circuit:
    """Module 1 behind the amplitude encoding: `ansatz` with one angle a block."""
    blocks = ansatz(n_qubits, connectivity, n_layers, boundary)
    return Circuit(n_qubits, tuple((*block, j) for j, block in enumerate(blocks)))


@lru_cache(maxsize=256)
def reuploading_circuit(
    n_qubits: int, connectivity: int, n_reuploads: int, n_layers: int, boundary: str, reuploads: str
) -> Circuit:
    """Module 2 from |0...0>: encode, N times (one layer, encode again), then the main circuit.

    Parameters
    ----------
    n_qubits, connectivity, boundary
        As in `ansatz`.
    n_reuploads : int
        N, at least 0.
    n_layers : int
        Layers of the main circuit.
    reuploads : {"own", "shared"}
        Whether the N layers between the encodings have angles of their own.

    Returns
    -------
    Circuit
        Every encoding is RY on each qubit, by the sample's angle of that qubit.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    require_count("n_reuploads", n_reuploads, 0)
    if reuploads not in REUPLOADS:
        raise ValueError(f"reuploads must be one of {REUPLOADS}, not {reuploads!r}.")
    encoding = [(-1, qubit, -1 - qubit) for qubit in range(n_qubits)]
    gates, angle = list(encoding), 0
    layer = ansatz(n_qubits, connectivity, 1, boundary)
    for block in range(n_reuploads):
        if reuploads == "own" or block == 0:
            angle = block * len(layer)
        gates += [(*pair, angle + j) for j, pair in enumerate(layer)] + encoding
    used = len(layer) * (n_reuploads if reuploads == "own" else min(n_reuploads, 1))
    main = ansatz(n_qubits, connectivity, n_layers, boundary)
    gates += [(*pair, used + j) for j, pair in enumerate(main)]
    return Circuit(n_qubits, tuple(gates))
