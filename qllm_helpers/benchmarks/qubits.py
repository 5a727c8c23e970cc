"""Training steps of the qubit circuits beside PennyLane's default.qubit (backpropagation)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import ClassVar

import pandas as pd
import torch

from qllm_helpers.benchmarks.timing import copy_speed, run_benchmark, training_step
from qllm_helpers.qubits.kernels import LANES
from qllm_helpers.qubits.states import SimulatedEncoder

# Qubits and connectivity of the encoders, one layer each: 10 and 56 blocks of CNOT + RY.
REGISTERS = ((10, 1), (14, 4))


@dataclass(frozen=True)
class QubitCase:
    """One measurement: an engine ("ours", "pennylane"), a circuit and a batch."""

    rival: ClassVar = "pennylane"
    smallest: ClassVar = {"n_qubits": 9, "connectivity": 1, "n_replicas": 1, "batch": 2}
    derived: ClassVar = ("n_blocks",)
    engine: str
    n_qubits: int
    connectivity: int
    n_replicas: int = 1
    batch: int = 32
    task: str = "training step"

    @property
    def n_blocks(self) -> int:
        """Blocks of CNOT + RY of one circuit."""
        return self.n_qubits * self.connectivity

    def prepare(self) -> Callable[[], None]:
        """What is timed."""
        generator = torch.Generator().manual_seed(0)
        X = torch.randn(self.n_replicas, self.batch, 384, generator=generator)
        encoder = SimulatedEncoder(self.n_qubits, self.connectivity, n_replicas=self.n_replicas)
        if self.engine == "pennylane":
            return _pennylane_step(encoder, X[0])
        return training_step(encoder, encoder.parameters(), X)


def _pennylane_step(encoder: SimulatedEncoder, X: torch.Tensor) -> Callable[[], None]:
    """A step of the circuit of the encoder's first replica."""
    import pennylane as qml

    wires = range(encoder.circuit.n_qubits)
    angles = torch.nn.Parameter(encoder.angles.detach()[0].clone())
    device = qml.device("default.qubit", wires=len(wires))

    @qml.qnode(device, interface="torch", diff_method="backprop")
    def circuit(x):
        qml.AmplitudeEmbedding(x, wires=wires, pad_with=0.0, normalize=True)
        for control, target, source in encoder.circuit.gates:
            qml.CNOT([control, target])
            qml.RY(angles[source], target)
        return [qml.expval(qml.PauliZ(wire)) for wire in wires]

    return training_step(lambda x: torch.stack(circuit(x), dim=-1).float(), [angles], X)


def standard_cases() -> list[QubitCase]:
    """Every register on PennyLane, and on ours with 1 and 20 replicas."""
    return [
        QubitCase(engine, *register, replicas)
        for register in REGISTERS
        for engine, replicas in (("pennylane", 1), ("ours", 1), ("ours", 20))
    ]


def require_pennylane() -> None:
    """ModuleNotFoundError if PennyLane is not installed."""
    if find_spec("pennylane") is None:
        message = "PennyLane is missing: install the extra `test`, or leave the qubit circuits out."
        raise ModuleNotFoundError(message)


def state_bytes(case):
    """Bytes of a training step that goes over the states gate by gate; `case` may be a table."""
    # a block reads and writes them once forward; backward, with their gradients, twice
    return 24.0 * case.n_blocks * 2**case.n_qubits * case.n_replicas * case.batch


def with_bandwidth(table: pd.DataFrame, memory: float, cache: dict[int, float]) -> pd.DataFrame:
    """Add `bound_*`, s of `state_bytes`, and `over_*`, from bytes a second of `memory`, `cache`."""
    speeds = {"memory": memory, "cache": table["n_qubits"].map(cache)}
    for name, speed in speeds.items():
        bound = state_bytes(table) / speed
        table = table.assign(**{f"bound_{name}": bound, f"over_{name}": table["seconds"] / bound})
    return table


def run_qubit_benchmark(cases: Iterable[QubitCase], **options) -> pd.DataFrame:
    """`run_benchmark` with bounds and PennyLane's version; without PennyLane refused at once."""
    require_pennylane()
    cases = list(cases)
    memory = copy_speed(1 << 26)
    cache = {qubits: copy_speed(LANES << qubits) for qubits in {case.n_qubits for case in cases}}
    table = with_bandwidth(run_benchmark(cases, **options), memory, cache)
    return table.assign(pennylane=version("pennylane"))
