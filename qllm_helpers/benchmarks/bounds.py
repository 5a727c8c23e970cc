"""What bounds our photonic layer: calls of torch, arithmetic or memory, and how near it comes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numba import njit

from qllm_helpers.benchmarks.layer import Case, arithmetic, output_bytes

_ROWS, _REPEATS = 64, 20_000


@njit(nogil=True, fastmath={"contract"})
def _multiply_adds(values, factors, repeats):
    for _ in range(repeats):
        for row in range(values.shape[0]):
            for lane in range(values.shape[1]):
                values[row, lane] = values[row, lane] * factors[row, lane] + factors[row, lane]


def machine_limits() -> dict[str, float]:
    """Measure what one core can do here.

    Returns
    -------
    dict
        `flops`: float32 multiply-adds (two operations each) per second on rows of 32 lanes that
        stay in cache, the access pattern of the kernel; `bytes_per_second`: a copy of 256 MiB
        (read plus write).
    """
    from torch.utils.benchmark import Timer

    values = np.zeros((_ROWS, 32), np.float32)
    factors = np.full((_ROWS, 32), 0.5, np.float32)
    _multiply_adds(values, factors, 1)
    source, target = torch.zeros(2, 1 << 25)
    calls = {
        "flops": lambda: _multiply_adds(values, factors, _REPEATS),
        "bytes_per_second": lambda: target.copy_(source),
    }
    seconds = {
        name: Timer("call()", globals={"call": call}, num_threads=1)
        .blocked_autorange(min_run_time=0.5)
        .median
        for name, call in calls.items()
    }
    return {
        "flops": 2.0 * values.size * _REPEATS / seconds["flops"],
        "bytes_per_second": 8.0 * source.numel() / seconds["bytes_per_second"],
    }


def with_bounds(table: pd.DataFrame, limits: dict[str, float]) -> pd.DataFrame:
    """Add the lower bounds of our cases and the one that binds.

    Parameters
    ----------
    table : DataFrame
        From `bench.run_benchmark`.
    limits : dict
        From `machine_limits`.

    Returns
    -------
    DataFrame
        With `bound_launch`, `bound_arithmetic`, `bound_memory` (seconds for one call), `bound` (the
        name of the largest) and `over_bound` (time divided by the sum of the three, which do not
        overlap on one core); missing for other engines. The launch of torch's operations is taken
        from the fastest call of the same task: what it needs beyond arithmetic and memory.
    """
    ours = table["engine"] == "ours"
    fields = list(Case.__dataclass_fields__)
    cases = [Case(**row) for row in table.loc[ours, fields].to_dict("records")]
    bounds = pd.DataFrame(
        {
            "arithmetic": [arithmetic(case) / limits["flops"] for case in cases],
            "memory": [output_bytes(case) / limits["bytes_per_second"] for case in cases],
        },
        index=table.index[ours],
    )
    rest = table.loc[ours, "seconds"] - bounds.sum(axis=1)
    launch = rest.groupby(table.loc[ours, "task"]).transform("min").clip(lower=0)
    bounds.insert(0, "launch", launch)
    result = table.join(bounds.add_prefix("bound_"))
    result.loc[ours, "bound"] = bounds.idxmax(axis=1)
    result.loc[ours, "over_bound"] = table.loc[ours, "seconds"] / bounds.sum(axis=1)
    return result
