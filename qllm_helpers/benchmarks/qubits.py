"""Speed of the qubit circuits beside PennyLane's default.qubit, measured in one run.

What is timed is a training step of the simulated quantum encoder: amplitudes in, exact <Z> of all
qubits out, a loss, the derivative by the angles, and Adam, in single precision on 384 values a
sample. PennyLane runs with its torch interface and backpropagation, on a batch at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec

import pandas as pd
import torch

from qllm_helpers.benchmarks.layer import _in_fresh_process, _training_step, time_and_memory
from qllm_helpers.photons.lanes import LANES
from qllm_helpers.qubits.trainable import SimulatedEncoder

#: Qubits and connectivity of the encoders, one layer each: 10 and 56 blocks of CNOT + RY.
REGISTERS = ((10, 1), (14, 4))
N_FEATURES = 384
_STEP = "training step"


@dataclass(frozen=True)
class QubitCase:
    """One measurement.

    Attributes
    ----------
    engine : {"ours", "pennylane"}
    n_qubits, connectivity, n_replicas, batch : int
    """

    engine: str
    n_qubits: int
    connectivity: int
    n_replicas: int = 1
    batch: int = 32

    @property
    def n_blocks(self) -> int:
        """Blocks of CNOT + RY of one circuit."""
        return self.n_qubits * self.connectivity


def standard_cases() -> list[QubitCase]:
    """Every register on PennyLane, and on ours with 1 and 20 replicas."""
    return [
        QubitCase(engine, *register, replicas)
        for register in REGISTERS
        for engine, replicas in (("pennylane", 1), ("ours", 1), ("ours", 20))
    ]


def require_pennylane() -> None:
    """Raise ModuleNotFoundError, saying what to do, if PennyLane is not installed."""
    if find_spec("pennylane") is None:
        raise ModuleNotFoundError(
            "PennyLane is needed to compare with: install the extra `test` of this package, or "
            "leave the qubit circuits out."
        )


def _pennylane_step(case: QubitCase, X: torch.Tensor) -> Callable[[], None]:
    import pennylane as qml

    wires = range(case.n_qubits)
    encoder = SimulatedEncoder(case.n_qubits, case.connectivity)
    angles = torch.nn.Parameter(encoder.angles.detach()[0].clone())

    @qml.qnode(
        qml.device("default.qubit", wires=case.n_qubits), interface="torch", diff_method="backprop"
    )
    def circuit(x):
        qml.AmplitudeEmbedding(x, wires=wires, pad_with=0.0, normalize=True)
        for control, target, source in encoder.circuit.gates:
            qml.CNOT([control, target])
            qml.RY(angles[source], target)
        return [qml.expval(qml.PauliZ(wire)) for wire in wires]

    def expectations(x):
        return torch.stack(circuit(x), dim=-1).to(torch.float32)

    return _training_step(expectations, [angles], X[0])


def _prepare(case: QubitCase) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(case.n_replicas, case.batch, N_FEATURES, generator=generator)
    if case.engine == "pennylane":
        return _pennylane_step(case, X)
    encoder = SimulatedEncoder(case.n_qubits, case.connectivity, n_replicas=case.n_replicas)
    return _training_step(encoder, encoder.parameters(), X)


def measure(case: QubitCase, n_threads: int, min_seconds: float) -> dict:
    """Time one case in this process.

    Parameters
    ----------
    case : QubitCase
    n_threads, min_seconds
        As in `bench.time_and_memory`.

    Returns
    -------
    dict
        The case's fields, `task`, `n_blocks`, and what `bench.time_and_memory` returns.
    """
    smallest = replace(case, n_qubits=9, connectivity=1, n_replicas=1, batch=2)
    measured = time_and_memory(_prepare, case, smallest, n_threads, min_seconds)
    return {**asdict(case), "task": _STEP, "n_blocks": case.n_blocks, **measured}


def state_bytes(case: QubitCase) -> float:
    """Traffic of one training step that goes over the states gate by gate, in bytes.

    Every block of CNOT + RY reads and writes the states once forward; backward it reads and writes
    the states and their gradients.
    """
    state = 4.0 * 2**case.n_qubits * case.n_replicas * case.batch
    return 6.0 * case.n_blocks * state


def copy_speeds(n_qubits: int) -> dict[str, float]:
    """Measure how fast one core copies, in bytes read plus written per second.

    Parameters
    ----------
    n_qubits : int

    Returns
    -------
    dict
        `memory`: an array of 256 MiB; `cache`: as many bytes as one block of states of our kernels,
        again and again, so that it stays in the cache.
    """
    from torch.utils.benchmark import Timer

    speeds = {}
    for name, size in (("memory", 1 << 26), ("cache", LANES << n_qubits)):
        source, target = torch.zeros(2, size)
        timer = Timer("t.copy_(s)", globals={"t": target, "s": source}, num_threads=1)
        speeds[name] = 8.0 * size / timer.blocked_autorange(min_run_time=0.5).median
    return speeds


def with_bounds(table: pd.DataFrame, speeds: dict[int, dict[str, float]]) -> pd.DataFrame:
    """Add the ratios to PennyLane and the bounds of bandwidth.

    Parameters
    ----------
    table : DataFrame
        Rows of `measure`.
    speeds : dict of int to dict
        `copy_speeds` of every number of qubits.

    Returns
    -------
    DataFrame
        With `ratio` (PennyLane's time per replica divided by this one's), `bound_memory` and
        `bound_cache` (seconds that `state_bytes` take at the two speeds), and `over_memory` and
        `over_cache` (time divided by the bound; below 1 where gates share a pass or states stay in
        the cache).
    """
    keys = ["n_qubits", "connectivity", "batch"]
    reference = table.loc[table["engine"] == "pennylane", [*keys, "seconds_per_replica"]]
    renamed = reference.rename(columns={"seconds_per_replica": "reference"})
    table = table.merge(renamed, on=keys, how="left")
    table = table.assign(ratio=table.pop("reference") / table["seconds_per_replica"])
    cases = [
        QubitCase(**row) for row in table[list(QubitCase.__dataclass_fields__)].to_dict("records")
    ]
    for name in ("memory", "cache"):
        bounds = [state_bytes(case) / speeds[case.n_qubits][name] for case in cases]
        table = table.assign(**{f"bound_{name}": bounds, f"over_{name}": table["seconds"] / bounds})
    return table


def run_qubit_benchmark(
    cases: Iterable[QubitCase], *, n_threads: int, min_seconds: float = 1.0, progress: bool = False
) -> pd.DataFrame:
    """Measure the cases one after the other, each in a fresh process.

    Parameters
    ----------
    cases : iterable of QubitCase
    n_threads : int
    min_seconds : float
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    DataFrame
        One row per case, see `measure` and `with_bounds`, and `pennylane`, its version.

    Raises
    ------
    ModuleNotFoundError
        If PennyLane is not installed; before any measurement.
    """
    from tqdm.auto import tqdm

    require_pennylane()
    cases = list(cases)
    speeds = {qubits: copy_speeds(qubits) for qubits in {case.n_qubits for case in cases}}
    bar = tqdm(cases, disable=not progress, desc="qubit circuits", unit="case")
    rows = [_in_fresh_process(measure, case, n_threads, min_seconds) for case in bar]
    return with_bounds(pd.DataFrame(rows), speeds).assign(pennylane=version("pennylane"))
