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
    """Write measured tables as CSV, with the versions and the machine that they belong to.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Keys are names from `TABLES`.
    folder : Path, optional
        Default: the package's results, whose digests are brought up to date.

    Returns
    -------
    list of Path
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
    """Shipped rows of a measured table.

    Parameters
    ----------
    name : str
        ``"benchmark"``, ``"benchmark_sweep"``, ``"benchmark_qubits"``, ``"landscape"``,
        ``"qubit_noise"`` or ``"confusion"``: see `bench.run_benchmark`,
        `bench_sweep.sweep_benchmark`, `bench_qubits.run_qubit_benchmark`, `landscape.landscape`,
        `qubit_noise.noise_table` and `confusion.confusion_table` for the columns.

    Returns
    -------
    DataFrame

    Raises
    ------
    UnknownNameError
        For another name.
    DataError
        If the table is missing or differs from its digest.
    """
    if name not in TABLES:
        raise UnknownNameError(f"unknown table {name!r}; known: {', '.join(TABLES)}")
    content = read_verified(f"results/{name}.csv", regenerate=TABLES[name])
    return pd.read_csv(io.BytesIO(content))
