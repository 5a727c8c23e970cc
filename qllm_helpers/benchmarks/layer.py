"""Speed of the photonic layer beside MerLin and Perceval, measured in one run.

Every measurement is a case of its own in a fresh process (so that its peak memory is its own), all
on the same machine and threads. What is timed is the layer: phases in, probabilities out; a
training step adds a loss, the derivative and Adam. Medians over repetitions by
`torch.utils.benchmark`. Times are comparable inside one table only: ratios are what to quote.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
import torch

from qllm_helpers.photons.layer import PhotonicLayer

CIRCUITS = ((2, 1), (4, 2), (6, 3), (8, 1), (8, 2), (8, 4), (10, 5), (12, 4))
REPLICAS = (1, 20)
ENGINES = ("ours", "merlin", "perceval")


@dataclass(frozen=True)
class Case:
    """One measurement: an engine, a circuit, a batch and what is done with it.

    Attributes
    ----------
    series : str
        The question that the case belongs to: "circuits", "modes", "photons", "replicas", "batch".
    engine : {"ours", "merlin", "perceval"}
    task : {"training step", "inference"}
    n_modes, n_photons, n_replicas, batch : int
    """

    series: str
    engine: str
    task: str
    n_modes: int
    n_photons: int
    n_replicas: int = 1
    batch: int = 32


def standard_cases() -> list[Case]:
    """The table's circuits on every engine, then our growth with each size.

    Perceval's SLOS backend has no derivative, so it appears under inference only.
    """
    cases = [
        Case("circuits", engine, task, m, n, replicas)
        for m, n in CIRCUITS
        for task in ("training step", "inference")
        for engine in ENGINES
        for replicas in (REPLICAS if engine == "ours" else (1,))
        if not (engine == "perceval" and task == "training step")
    ]
    step = ("ours", "training step")
    cases += [Case("modes", *step, m, 2, 20) for m in (2, 4, 6, 8, 10, 12, 16)]
    cases += [Case("photons", *step, 8, n, 20) for n in range(1, 7)]
    cases += [Case("replicas", *step, 8, 2, replicas) for replicas in (1, 2, 5, 10, 20, 50)]
    cases += [Case("batch", *step, 8, 2, 1, batch) for batch in (8, 32, 128, 512, 2048)]
    return cases


def _training_step(module, parameters, phases) -> Callable[[], None]:
    width = module(phases).shape[-1]
    target = torch.rand(width, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (module(phases) @ target).sum().backward()
        optimizer.step()

    return step


def _inference(module, phases) -> Callable[[], None]:
    @torch.no_grad()
    def infer() -> None:
        module(phases)

    return infer


def _perceval_inference(layer: PhotonicLayer, phases: torch.Tensor) -> Callable[[], None]:
    """One SLOS simulation per sample: Perceval has no batch of circuits."""
    import perceval

    from qllm_helpers.photons.merlin import perceval_circuit

    circuit = perceval_circuit(layer.n_modes)
    parameters = circuit.get_parameters()
    state = perceval.BasicState(list(layer.input_state))
    backend = perceval.BackendFactory.get_backend("SLOS")
    left, right = layer.left[0].tolist(), layer.right[0].tolist()

    def infer() -> None:
        for sample in phases[0].tolist():
            for parameter, value in zip(parameters, [*left, *sample, *right], strict=True):
                parameter.set_value(value)
            backend.set_circuit(circuit)
            backend.set_input_state(state)
            backend.all_prob()

    return infer


def _prepare(case: Case) -> Callable[[], None]:
    layer = PhotonicLayer(case.n_modes, case.n_photons, n_replicas=case.n_replicas)
    generator = torch.Generator().manual_seed(0)
    phases = (
        2 * math.pi * torch.rand(case.n_replicas, case.batch, case.n_modes, generator=generator)
    )
    if case.engine == "perceval":
        return _perceval_inference(layer, phases)
    if case.engine == "merlin":
        layer, phases = layer.to_merlin(), phases[0]
    if case.task == "inference":
        return _inference(layer, phases)
    # In a head the phases come from a trained encoder, so their derivative is part of the step.
    phases.requires_grad_()
    return _training_step(layer, list(layer.parameters()), phases)


def time_and_memory(prepare: Callable, case, smallest, n_threads: int, min_seconds: float) -> dict:
    """Time of a call and rise of the peak memory of this process.

    Parameters
    ----------
    prepare : callable
        Takes a case, returns what is called without arguments.
    case, smallest
        The case, and a small one of the same engine: what the engine loads or compiles at its first
        call is not the case's.
    n_threads : int
        Threads of torch; our kernels use one, whatever this is.
    min_seconds : float
        Least total time of the repetitions.

    Returns
    -------
    dict
        `seconds` (median of one call), `seconds_iqr`, `seconds_per_replica`, `peak_mebibytes`
        (rise of the process's peak resident memory over the case) and `n_threads`.
    """
    from torch.utils.benchmark import Timer

    torch.set_num_threads(n_threads)
    prepare(smallest)()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call = prepare(case)
    call()
    call()
    timer = Timer("call()", globals={"call": call}, num_threads=n_threads)
    timing = timer.blocked_autorange(min_run_time=min_seconds)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": timing.median,
        "seconds_iqr": timing.iqr,
        "seconds_per_replica": timing.median / case.n_replicas,
        "peak_mebibytes": (after - before) / 1024,
        "n_threads": n_threads,
    }


def measure(case: Case, n_threads: int, min_seconds: float = 1.0) -> dict:
    """Time one case in this process.

    Parameters
    ----------
    case : Case
    n_threads, min_seconds
        As in `time_and_memory`.

    Returns
    -------
    dict
        The case's fields, `n_outputs`, and what `time_and_memory` returns.
    """
    smallest = replace(case, n_modes=2, n_photons=1, n_replicas=1, batch=1)
    outputs = math.comb(case.n_modes + case.n_photons - 1, case.n_photons)
    measured = time_and_memory(_prepare, case, smallest, n_threads, min_seconds)
    return {**asdict(case), "n_outputs": outputs, **measured}


def _in_fresh_process(function: Callable, *arguments):
    """Call `function` in a process of its own, so that peaks and caches are its own.

    A server that has imported everything and computed nothing forks it: no import is waited for.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "merlin", "perceval", "torch.utils.benchmark"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def run_benchmark(
    cases: Iterable[Case],
    *,
    n_threads: int | None = None,
    min_seconds: float = 1.0,
    progress: bool = False,
) -> pd.DataFrame:
    """Measure the cases one after the other, each in a fresh process.

    Parameters
    ----------
    cases : iterable of Case
    n_threads : int, optional
        Default: all cores.
    min_seconds : float
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    DataFrame
        One row per case, see `measure`, with `ratio`: MerLin's time per replica for the same task
        and circuit, divided by this one's (for inference and training alike), where measured.
    """
    from tqdm.auto import tqdm

    threads = n_threads or os.cpu_count() or 1
    bar = tqdm(list(cases), disable=not progress, desc="benchmark", unit="case")
    rows = [_in_fresh_process(measure, case, threads, min_seconds) for case in bar]
    return with_ratios(pd.DataFrame(rows))


def with_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Add the column `ratio` (see `run_benchmark`) to measured rows."""
    keys = ["series", "task", "n_modes", "n_photons", "batch"]
    merlin = table.loc[table["engine"] == "merlin", [*keys, "seconds_per_replica"]]
    merged = table.merge(
        merlin.rename(columns={"seconds_per_replica": "reference"}), on=keys, how="left"
    )
    ratio = merged.pop("reference") / merged["seconds_per_replica"]
    return merged.assign(ratio=ratio.replace({np.inf: np.nan}))


def arithmetic(case: Case) -> float:
    """Floating-point operations of the amplitude recursion in one call of our layer.

    A pair (mode, parent state) is one complex multiply-add, 8 operations: once forward; a training
    step runs it again and takes two derivatives.
    """
    from qllm_helpers.photons.kernels import fock_tables

    pairs = len(fock_tables(case.n_modes, case.n_photons, False).pair_mode)
    passes = 4 if case.task == "training step" else 1
    return 8.0 * pairs * passes * case.n_replicas * case.batch


def output_bytes(case: Case) -> float:
    """Least traffic of the output arrays with main memory in one call, in bytes.

    Complex amplitudes are written and read, real probabilities written; a training step reads
    their gradient and writes and reads that of the amplitudes.
    """
    outputs = math.comb(case.n_modes + case.n_photons - 1, case.n_photons)
    words = 4 + 1 + (1 + 4 if case.task == "training step" else 0)
    return 4.0 * words * outputs * case.n_replicas * case.batch
