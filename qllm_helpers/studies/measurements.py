"""Tables that are measured rather than studied (speed, landscape), as shipped files."""

from __future__ import annotations

import io
import platform
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from qllm_helpers.files import (
    DATA_DIR,
    UnknownNameError,
    read_verified,
    write_atomic,
    write_manifest,
)

# Table -> command that measures it anew.
TABLES = {
    "benchmark": "qllm bench",
    "benchmark_sweep": "qllm bench",
    "benchmark_qubits": "qllm bench",
    "landscape": "qllm landscape",
    "qubit_noise": "qllm qubit-noise",
    "confusion": "qllm confusion",
}


def write_measurements(tables: dict[str, pd.DataFrame], folder: Path | None = None) -> list[Path]:
    """Write measured tables (keys of `TABLES`) as CSV, with their versions and machine.

    Without a `folder` they go to the package's results, and the digests are brought up to date.
    """
    target = folder or DATA_DIR / "results"
    versions = {
        "torch": version("torch"),
        "merlinquantum": version("merlinquantum"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    paths = []
    for name, table in tables.items():
        path = target / f"{name}.csv"
        write_atomic(
            path, table.assign(**versions).to_csv(index=False, float_format="%.6g").encode()
        )
        paths.append(path)
    if folder is None:
        write_manifest(*paths)
    return paths


def load_measurements(name: str) -> pd.DataFrame:
    """Shipped rows of a measured table, by its name in `TABLES`.

    What the columns are is said where the table is made: `benchmarks.layer.run_benchmark`,
    `benchmarks.layer.sweep_benchmark`, `benchmarks.qubits.run_qubit_benchmark`,
    `landscape.landscape`, `shots.noise_table`, `confusion.confusion_table`. Raises
    UnknownNameError for another name, DataError if the table is damaged.
    """
    if name not in TABLES:
        raise UnknownNameError(f"unknown table {name!r}; known: {', '.join(TABLES)}")
    content = read_verified(f"results/{name}.csv", regenerate=TABLES[name])
    return pd.read_csv(io.BytesIO(content))
