"""Time and peak memory of cases, each in a fresh process, and ratios to a rival of ours.

A case is a frozen dataclass: an `engine`, a `task`, `n_replicas` circuits side by side and their
sizes. Its `prepare` returns what is timed, a call without arguments; its class names the `rival`,
the `smallest` sizes and the properties that are `derived` from the fields. Times are comparable
inside one table only, measured in one run on one machine: ratios are what to quote.
"""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields, replace

import pandas as pd
import torch


def training_step(module, parameters, x: torch.Tensor) -> Callable[[], None]:
    """Forward, the loss (outputs times fixed random numbers), backward and Adam."""
    width = module(x).shape[-1]
    target = torch.rand(width, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (module(x) @ target).sum().backward()
        optimizer.step()

    return step


def _peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(case, n_threads: int, min_seconds: float) -> dict:
    """Time one call of a case in this process, and the rise of the peak of its memory.

    Returns the case's fields and derived columns, `seconds` (median of the repetitions, which take
    at least `min_seconds` together), `seconds_iqr`, `seconds_per_replica`, `peak_mebibytes` (of
    resident memory) and `n_threads` (of torch; our kernels use one, whatever this is).
    """
    from torch.utils.benchmark import Timer

    torch.set_num_threads(n_threads)
    # What the engine loads or compiles at its first call is not the case's.
    replace(case, **case.smallest).prepare()()
    before = _peak_mebibytes()
    call = case.prepare()
    call()
    call()
    timer = Timer("call()", globals={"call": call}, num_threads=n_threads)
    timing = timer.blocked_autorange(min_run_time=min_seconds)
    # Before the quantiles are taken: they need megabytes of their own.
    rise = _peak_mebibytes() - before
    return {
        **asdict(case),
        **{name: getattr(case, name) for name in case.derived},
        "seconds": timing.median,
        "seconds_iqr": timing.iqr,
        "seconds_per_replica": timing.median / case.n_replicas,
        "peak_mebibytes": rise,
        "n_threads": n_threads,
    }


def with_ratios(table: pd.DataFrame, kind: type) -> pd.DataFrame:
    """Add `ratio`: the rival's time per replica of the same task and circuit over this one's.

    `kind` is the dataclass of the cases. NaN where the rival was not measured.
    """
    keys = [field.name for field in fields(kind) if field.name not in ("engine", "n_replicas")]
    rival = table[table["engine"] == kind.rival].set_index(keys)["seconds_per_replica"]
    reference = table[keys].join(rival, on=keys)["seconds_per_replica"]
    return table.assign(ratio=reference / table["seconds_per_replica"])


def run_benchmark(
    cases: Iterable, *, n_threads: int, min_seconds: float = 1.0, progress: bool = False
) -> pd.DataFrame:
    """Measure cases of one kind one after the other: rows of `measure`, `with_ratios`.

    Each runs in a fresh process, so that peaks and caches are its own.
    """
    from tqdm.auto import tqdm

    # A server that has imported everything and computed nothing forks it: no import is waited for.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [__name__, "qllm_helpers.benchmarks.layer", "qllm_helpers.benchmarks.qubits",
         "merlin", "perceval", "torch.utils.benchmark"]
    )  # fmt: skip
    cases, rows = list(cases), []
    for case in tqdm(cases, disable=not progress, desc="benchmark", unit="case"):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            rows.append(pool.submit(measure, case, n_threads, min_seconds).result())
    return with_ratios(pd.DataFrame(rows), type(cases[0]))


def saved_bytes(compute: Callable[[], torch.Tensor]) -> int:
    """Bytes that torch keeps from a computation for its backward pass, each storage once."""
    kept = []

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)  # it is held, or its address could be given to the next one
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        compute()
    storages = [tensor.untyped_storage() for tensor in kept]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
