"""Time and peak memory of cases, each in a fresh process, ratios to a rival, and bounds of ours."""

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from importlib.util import find_spec

import numba
import numpy as np
import pandas as pd
import torch

from qllm_helpers.benchmarks.cases import QubitCase
from qllm_helpers.photons.kernels import fock_tables
from qllm_helpers.photons.lanes import LANES, jit, load, store


def clocked(call: Callable, n_threads: int, min_seconds: float):
    """Torch's `Measurement` of a call, repeated for at least `min_seconds`."""
    from torch.utils.benchmark import Timer

    timer = Timer("call()", globals={"call": call}, num_threads=n_threads)
    return timer.blocked_autorange(min_run_time=min_seconds)


def measure(case, n_threads: int, min_seconds: float) -> dict:
    """Time a case here: its fields, `seconds` a call (median over `min_seconds`), IQR, memory."""
    torch.set_num_threads(n_threads)
    numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
    # What the engine loads or compiles at its first call is not the case's.
    replace(case, **case.smallest).prepare()()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    call = case.prepare()
    call()
    first = time.perf_counter() - start
    call()
    timing = clocked(call, n_threads, min_seconds)
    # Before the quantiles are taken: they need megabytes of their own.
    rise = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        **asdict(case),
        **{name: getattr(case, name) for name in case.derived},
        "seconds": timing.median,
        "seconds_iqr": timing.iqr,
        "seconds_per_replica": timing.median / case.n_replicas,
        "build_seconds": max(first - timing.median, 0.0),
        "peak_mebibytes": rise / 1024,
        "n_threads": n_threads,
        **case.check(call()),
    }


def with_ratios(table: pd.DataFrame, kind: type) -> pd.DataFrame:
    """Add `ratio`: time per replica of the fastest rival (NaN: not measured) over this one's."""
    keys = [field.name for field in fields(kind) if field.name not in ("engine", "n_replicas")]
    rivals = table[table["engine"].isin(kind.rivals)].groupby(keys)["seconds_per_replica"].min()
    reference = table[keys].join(rivals, on=keys)["seconds_per_replica"]
    return table.assign(ratio=reference / table["seconds_per_replica"])


def run_benchmark(
    cases: Iterable, *, n_threads: int, min_seconds: float = 1.0, progress: bool = False
) -> pd.DataFrame:
    """Measure cases of one kind, each in a fresh process, so that peaks and caches are its own."""
    from tqdm.auto import tqdm

    # A server that has imported everything and computed nothing forks it: no import is waited for.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "merlin", "perceval", "torch.utils.benchmark"])
    cases, rows = list(cases), []
    for case in tqdm(cases, disable=not progress, desc="benchmark", unit="case"):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            rows.append(pool.submit(measure, case, n_threads, min_seconds).result())
    return with_ratios(pd.DataFrame(rows), type(cases[0]))


@jit
def _multiply_adds(rows, repeats):
    """Ten chains of multiply-adds in registers: more than one core can have in flight."""
    x, y = load(rows, 10), load(rows, 11)
    a, b, c, d, e = load(rows, 0), load(rows, 1), load(rows, 2), load(rows, 3), load(rows, 4)
    f, g, h, i, j = load(rows, 5), load(rows, 6), load(rows, 7), load(rows, 8), load(rows, 9)
    for _ in range(repeats):
        a, b, c, d, e = a * x + y, b * x + y, c * x + y, d * x + y, e * x + y
        f, g, h, i, j = f * x + y, g * x + y, h * x + y, i * x + y, j * x + y
    store(rows, 0, a + b + c + d + e + f + g + h + i + j)


def copy_speed(n_floats: int) -> float:
    """Bytes that one core reads and writes in a second when it copies so many float32."""
    source, target = torch.zeros(2, n_floats)
    return 8.0 * n_floats / clocked(lambda: target.copy_(source), 1, 0.5).median


def machine_limits() -> dict[str, float]:
    """What one core does in a second: `flops` in registers, and `bytes_per_second` of a copy."""
    rows, repeats = np.full((12, LANES), 0.5, np.float32), 1_000_000
    _multiply_adds(rows, 1)
    seconds = clocked(lambda: _multiply_adds(rows, repeats), 1, 0.5).median
    flops = 2.0 * 10 * LANES * repeats / seconds
    return {"flops": flops, "bytes_per_second": copy_speed(1 << 25)}


def arithmetic(case) -> float:
    """Floating-point operations of the amplitude recursion in one call of our layer."""
    # 8 for each pair (mode, parent state); training repeats the pass and takes two derivatives
    pairs = len(fock_tables(case.n_modes, case.n_photons, case.space == "unbunched").pair_mode)
    passes = 4 if case.task == "training step" else 1
    return 8.0 * pairs * passes * case.n_replicas * case.batch


def output_bytes(case):
    """Least traffic of the outputs with main memory in a call, in bytes; `case` may be a table."""
    # complex amplitudes written and read, probabilities written; training adds their gradients
    words = 5 * (1 + (case.task == "training step"))
    return 4.0 * words * case.n_outputs * case.n_replicas * case.batch


def with_bounds(table: pd.DataFrame, limits: dict[str, float]) -> pd.DataFrame:
    """Add to ours three bounds (s), the largest one's name, `bound`, and the time `over_bound`."""
    ours = table[table["engine"] == "ours"]
    bounds = pd.DataFrame({"launch": 0.0}, index=ours.index)
    bounds["arithmetic"] = [arithmetic(case) / limits["flops"] for case in ours.itertuples()]
    bounds["memory"] = output_bytes(ours) / limits["bytes_per_second"]
    # launching torch's operations: what the fastest call needs beyond arithmetic and memory
    rest = ours["seconds"] - bounds.sum(axis=1)
    bounds["launch"] = rest.groupby(ours["task"]).transform("min").clip(lower=0)
    return table.join(bounds.add_prefix("bound_")).assign(
        bound=bounds.idxmax(axis=1), over_bound=ours["seconds"] / bounds.sum(axis=1)
    )


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


def run_qubit_benchmark(cases: list[QubitCase], **options) -> pd.DataFrame:
    """`run_benchmark` with bounds and PennyLane's version; without PennyLane refused at once."""
    if find_spec("pennylane") is None:
        how = "install the extra `test`, or leave the qubit circuits out (--no-qubits)"
        raise ModuleNotFoundError(f"PennyLane is missing: {how}")
    memory = copy_speed(1 << 26)
    cache = {qubits: copy_speed(LANES << qubits) for qubits in {case.n_qubits for case in cases}}
    table = with_bandwidth(run_benchmark(cases, **options), memory, cache)
    return table.assign(pennylane=version("pennylane"))
