"""What the measured speeds say: ratios, growth, memory, bounds; and that the function is MerLin's.

The tables come from `bench.run_benchmark` through `measurements.load_measurements`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pandas as pd
import torch

from qllm_helpers.photons.layer import PhotonicLayer

#: Column that each series varies.
SERIES = {
    "modes": "n_modes",
    "photons": "n_photons",
    "replicas": "n_replicas",
    "batch": "batch",
}
_CIRCUIT = ["n_modes", "n_photons"]
BOUNDS = ("launch", "arithmetic", "memory")


def circuit_rows(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """Rows of the fixed circuits for one task.

    Parameters
    ----------
    table : DataFrame
        The measured table "benchmark".
    task : {"training step", "inference"}

    Returns
    -------
    DataFrame
        Sorted by modes, photons, engine and replicas.

    Raises
    ------
    ValueError
        If there is no such row.
    """
    rows = table[(table["series"] == "circuits") & (table["task"] == task)]
    if rows.empty:
        raise ValueError(f"no circuit was measured for the task {task!r}")
    return rows.sort_values([*_CIRCUIT, "engine", "n_replicas"], ignore_index=True)


def speed_ratios(table: pd.DataFrame, task: str = "training step") -> pd.DataFrame:
    """How many times faster than MerLin each circuit is, per replica.

    Parameters
    ----------
    table, task
        As in `circuit_rows`.

    Returns
    -------
    DataFrame
        n_modes, n_photons, n_outputs, merlin_ms (one call), then per number of replicas R:
        ms_R (per replica) and ratio_R; perceval_ms where it was measured.
    """
    rows = circuit_rows(table, task).assign(ms=lambda t: 1e3 * t["seconds_per_replica"])
    result = rows[[*_CIRCUIT, "n_outputs"]].drop_duplicates(ignore_index=True)
    engines = dict(list(rows.groupby("engine")))
    parts = [(engines[e], {"ms": f"{e}_ms"}) for e in ("merlin", "perceval") if e in engines]
    parts += [
        (part, {"ms": f"ms_{replicas}", "ratio": f"ratio_{replicas}"})
        for replicas, part in engines["ours"].groupby("n_replicas")
    ]
    for part, names in parts:
        result = result.merge(part[[*_CIRCUIT, *names]].rename(columns=names), "left", _CIRCUIT)
    return result


def growth(table: pd.DataFrame) -> pd.DataFrame:
    """How the time of a training step grows with each size.

    Parameters
    ----------
    table : DataFrame
        The measured table "benchmark".

    Returns
    -------
    DataFrame
        Per series: smallest and largest size, factor of the size and of the time (of one call),
        and `exponent`, the slope of log(time) against log(size) over the larger half of the sizes,
        where fixed costs matter least: 1 is linear, 0 is for free.
    """
    result = []
    for series, column in SERIES.items():
        rows = table[table["series"] == series].sort_values(column)
        sizes, seconds = rows[column].to_numpy(float), rows["seconds"].to_numpy(float)
        half = slice(len(sizes) // 2 - (len(sizes) < 4), None)
        slope = np.polyfit(np.log(sizes[half]), np.log(seconds[half]), 1)[0]
        result.append(
            {
                "grows": series,
                "from": int(sizes[0]),
                "to": int(sizes[-1]),
                "size_factor": sizes[-1] / sizes[0],
                "time_factor": seconds[-1] / seconds[0],
                "exponent": slope,
            }
        )
    return pd.DataFrame(result)


def bound_shares(table: pd.DataFrame, task: str = "training step") -> pd.DataFrame:
    """What bounds each of our circuits, and how far from the bound it is.

    Parameters
    ----------
    table, task
        As in `circuit_rows`.

    Returns
    -------
    DataFrame
        n_modes, n_photons, n_replicas, ms (one call), the three bounds launch_ms, arithmetic_ms and
        memory_ms, `bound` (the largest) and `over_bound` (time divided by their sum).
    """
    rows = circuit_rows(table, task)
    rows = rows[rows["engine"] == "ours"].sort_values(["n_replicas", *_CIRCUIT], ignore_index=True)
    bounds = {f"{name}_ms": 1e3 * rows[f"bound_{name}"] for name in BOUNDS}
    shown = rows[[*_CIRCUIT, "n_replicas"]].assign(ms=1e3 * rows["seconds"], **bounds)
    return shown.join(rows[["bound", "over_bound"]])


def agreement(
    circuits: Iterable[tuple[int, int]], *, space: str = "fock", dtype: torch.dtype = torch.float64
) -> pd.DataFrame:
    """Largest difference to `merlin.QuantumLayer` with the same random weights and phases.

    Parameters
    ----------
    circuits : iterable of (n_modes, n_photons)
    space : {"fock", "unbunched"}
    dtype : torch.dtype

    Returns
    -------
    DataFrame
        n_modes, n_photons, n_outputs, `probabilities` (largest absolute difference) and `gradients`
        (largest difference of the derivative of a random readout by the phases, relative to the
        largest derivative).
    """
    rows = []
    for n_modes, n_photons in circuits:
        layer = PhotonicLayer(n_modes, n_photons, space=space).to(dtype)
        draw = torch.Generator().manual_seed(n_modes * 100 + n_photons)
        phases = 2 * math.pi * torch.rand(8, n_modes, generator=draw, dtype=dtype)
        readout = torch.randn(layer.n_outputs, generator=draw, dtype=dtype)
        theirs = layer.to_merlin()
        ours = _value_and_slope(partial(_one_replica, layer), phases, readout)
        sides = [ours, _value_and_slope(theirs, phases, readout)]
        gaps = [(a - b).abs().max() for a, b in zip(*sides, strict=True)]
        rows.append((n_modes, n_photons, layer.n_outputs, float(gaps[0]),
                     float(gaps[1] / sides[1][1].abs().max())))  # fmt: skip
    names = ("n_modes", "n_photons", "n_outputs", "probabilities", "gradients")
    return pd.DataFrame(rows, columns=names)


def _one_replica(layer: PhotonicLayer, phases: torch.Tensor) -> torch.Tensor:
    return layer(phases[None])[0]


def _value_and_slope(compute: Callable, phases: torch.Tensor, readout: torch.Tensor):
    x = phases.clone().requires_grad_()
    probabilities = compute(x)
    (probabilities @ readout).sum().backward()
    return probabilities.detach(), x.grad


def saved_bytes(compute: Callable[[], torch.Tensor]) -> int:
    """Bytes that torch keeps from a computation for its backward pass.

    Parameters
    ----------
    compute : callable without arguments

    Returns
    -------
    int
        Each storage is counted once.
    """
    kept = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        # the tensor is held, or its address could be given to the next one
        kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        result = compute()
    del result
    return sum(size for size, _ in kept.values())
