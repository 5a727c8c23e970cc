"""What bounds our photonic layer: calls of torch, arithmetic or memory, and how near it comes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from numba import njit

from qllm_helpers.photons.kernels import fock_tables

_ROWS, _REPEATS = 64, 20_000


@njit(nogil=True, fastmath={"contract"})
def _multiply_adds(values, factors, repeats):
    for _ in range(repeats):
        for row in range(values.shape[0]):
            for lane in range(values.shape[1]):
                values[row, lane] = values[row, lane] * factors[row, lane] + factors[row, lane]


def _seconds(call: Callable) -> float:
    """Median time of a call on one core."""
    from torch.utils.benchmark import Timer

    timer = Timer("call()", globals={"call": call}, num_threads=1)
    return timer.blocked_autorange(min_run_time=0.5).median


def copy_speed(n_floats: int) -> float:
    """Bytes that one core reads and writes in a second when it copies so many float32."""
    source, target = torch.zeros(2, n_floats)
    return 8.0 * n_floats / _seconds(lambda: target.copy_(source))


def machine_limits() -> dict[str, float]:
    """Measure what one core can do here.

    `flops`: float32 multiply-adds (two operations each) per second on rows of 32 lanes that stay in
    cache, the access pattern of the kernel; `bytes_per_second`: a copy of 256 MiB, read plus write.
    """
    values = np.zeros((_ROWS, 32), np.float32)
    factors = np.full((_ROWS, 32), 0.5, np.float32)
    _multiply_adds(values, factors, 1)
    seconds = _seconds(lambda: _multiply_adds(values, factors, _REPEATS))
    return {
        "flops": 2.0 * values.size * _REPEATS / seconds,
        "bytes_per_second": copy_speed(1 << 25),
    }


def arithmetic(case) -> float:
    """Floating-point operations of the amplitude recursion in one call of our layer.

    A pair (mode, parent state) is one complex multiply-add, 8 operations: once forward; a training
    step runs it again and takes two derivatives.
    """
    pairs = len(fock_tables(case.n_modes, case.n_photons, False).pair_mode)
    passes = 4 if case.task == "training step" else 1
    return 8.0 * pairs * passes * case.n_replicas * case.batch


def output_bytes(case) -> float:
    """Least traffic of the output arrays with main memory in one call, in bytes.

    Complex amplitudes are written and read, real probabilities written; a training step reads
    their gradient and writes and reads that of the amplitudes.
    """
    words = 4 + 1 + (1 + 4 if case.task == "training step" else 0)
    return 4.0 * words * case.n_outputs * case.n_replicas * case.batch


def with_bounds(table: pd.DataFrame, limits: dict[str, float]) -> pd.DataFrame:
    """Add the lower bounds of our rows of `run_benchmark`, from `machine_limits`.

    `bound_launch`, `bound_arithmetic`, `bound_memory` (seconds for one call), `bound` (the name of
    the largest) and `over_bound` (time divided by the sum of the three, which do not overlap on one
    core); missing for other engines. The launch of torch's operations is taken from the fastest
    call of the same task: what it needs beyond arithmetic and memory.
    """
    ours = table[table["engine"] == "ours"]
    cases = list(ours.itertuples())
    bounds = pd.DataFrame(
        {
            "launch": 0.0,
            "arithmetic": [arithmetic(case) / limits["flops"] for case in cases],
            "memory": [output_bytes(case) / limits["bytes_per_second"] for case in cases],
        },
        index=ours.index,
    )
    rest = ours["seconds"] - bounds.sum(axis=1)
    bounds["launch"] = rest.groupby(ours["task"]).transform("min").clip(lower=0)
    return table.join(bounds.add_prefix("bound_")).assign(
        bound=bounds.idxmax(axis=1), over_bound=ours["seconds"] / bounds.sum(axis=1)
    )
