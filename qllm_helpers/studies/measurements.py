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
    """Write tables (keys of `TABLES`) with versions and machine as CSV; no `folder`: ship them."""
    target = folder or DATA_DIR / "results"
    versions = {name: version(name) for name in ("torch", "merlinquantum")}
    versions |= {"python": platform.python_version(), "machine": platform.machine()}
    paths = {name: target / f"{name}.csv" for name in tables}
    for name, table in tables.items():
        content = table.assign(**versions).to_csv(index=False, float_format="%.6g")
        write_atomic(paths[name], content.encode())
    if folder is None:
        write_manifest(*paths.values())
    return list(paths.values())


def load_measurements(name: str) -> pd.DataFrame:
    """Shipped rows of a table in `TABLES`; its columns are described where it is made."""
    if name not in TABLES:
        raise UnknownNameError(f"unknown table {name!r}; known: {', '.join(TABLES)}")
    content = read_verified(f"results/{name}.csv", regenerate=TABLES[name])
    return pd.read_csv(io.BytesIO(content))
