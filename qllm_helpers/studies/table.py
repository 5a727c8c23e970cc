"""Result tables as CSV files: fixed columns, fixed formats, refused when damaged or foreign."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd

from qllm_helpers.files import (
    DATA_DIR,
    DataError,
    UnknownNameError,
    read_manifest,
    read_verified,
    sha256,
    write_atomic,
    write_manifest,
)
from qllm_helpers.studies.grid import STUDY_NAMES

_TEXT = ("study", "dataset", "encoder", "protocol", "samples_per_class", "fine_tuned", "head")
_KIND = ("family", "estimator")
_SIZES = ("n_modes", "n_photons", "n_qubits")
_CHOICES = ("encoding", "space", "readout", "twin")
_INTEGERS = ("samples_per_class", "seed", "n_train", "n_test")
_COUNTS = ("n_parameters", "n_live_parameters", "n_effective_parameters")
_FRACTIONS = ("validation_accuracy", "validation_loss", "test_accuracy", "macro_f1")
VERSIONS = ("python", "numpy", "numba", "torch", "scikit_learn", "merlinquantum", "platform")
#: Columns of every table, in order.
COLUMNS = (
    *(*_TEXT, *_KIND, *_SIZES, *_CHOICES, "configuration"),
    *("seed", "hyperparameters", "n_train", "n_test"),
    *(*_FRACTIONS, *_COUNTS, "fit_seconds", *VERSIONS, "data_digest", "git_revision"),
)


def _cell(name: str, value) -> str:
    if value is None or value != value:  # NaN: not known
        return ""
    if name in _FRACTIONS:
        return f"{value:.6f}"
    if name == "fit_seconds":
        return f"{value:.3f}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def format_table(rows: list[dict]) -> bytes:
    """CSV of result rows: the same rows give the same bytes.

    Parameters
    ----------
    rows : list of dict
        One per fit, with the keys of :data:`COLUMNS`.

    Returns
    -------
    bytes
        UTF-8, lines end in a line feed, fractions have six digits.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(name, row[name]) for name in COLUMNS] for row in rows)
    return stream.getvalue().encode()


def parse_table(content: bytes, study: str, source: str) -> pd.DataFrame:
    """Table from the bytes of a CSV file.

    Parameters
    ----------
    content : bytes
    study : str
        Study whose rows the file must hold.
    source : str
        Name of the file, for messages.

    Returns
    -------
    DataFrame
        One row per fit; sizes and counts are nullable integers.

    Raises
    ------
    DataError
        If the content is not a complete table of this study.
    """
    header = ",".join(COLUMNS).encode() + b"\n"
    if not content.startswith(header) or not content.endswith(b"\n"):
        raise DataError(f"{source} is not a complete table of results: it was left as it is")
    integers = dict.fromkeys((*_SIZES, *_COUNTS, *_INTEGERS), "Int64")
    numbers = dict.fromkeys((*_FRACTIONS, "fit_seconds"), float)
    try:
        table = pd.read_csv(
            io.BytesIO(content),
            dtype=dict.fromkeys(COLUMNS, object) | integers | numbers,
            true_values=["true"],
            on_bad_lines="error",
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{source} is damaged and was left as it is: {error}") from error
    needed = table[["study", "head", "seed", "fine_tuned", "test_accuracy"]]
    if (table["study"] != study).any() or needed.isna().any(axis=None):
        raise DataError(f"{source} is damaged, or not of study {study!r}: it was left as it is")
    table["fine_tuned"] = table["fine_tuned"] == "true"
    return with_kind(table.astype(dict.fromkeys(_INTEGERS, int)))


def with_kind(rows):
    kind = rows["family"].astype(object).copy()
    kind = kind.mask(rows["readout"].eq("occupation").fillna(False), "occupation")
    stages = rows["configuration"].str.contains('"n_encoders"') & rows["family"].eq("photonic")
    kind = kind.mask(stages, "two-stage")
    kind = kind.mask(rows["estimator"].eq("PhotonicKernelClassifier"), "fidelity kernel")
    twin = (rows["twin"] + " twin").replace("identity twin", "linear map")
    return rows.assign(kind=kind.mask(twin.notna(), twin))


def shipped_table(study: str) -> Path:
    """Path of a study's shipped table below ``qllm_helpers/data``."""
    return DATA_DIR / "results" / f"{study}.csv"


def load_results(study: str) -> pd.DataFrame:
    """Shipped result rows of a study, one per fit.

    Parameters
    ----------
    study : str
        ``"few_shot"``, ``"paper"``, ``"photons"``, ``"qubits"``, ``"finetune"``,
        ``"multiclass"``, ``"sample_efficiency"``, ``"noise"`` or ``"end_to_end"``.

    Returns
    -------
    DataFrame
        Accuracies and F1 are fractions, ``fit_seconds`` is the time to fit all settings for one
        seed, ``hyperparameters`` (chosen on validation) and ``configuration`` (fixed) are JSON.

    Raises
    ------
    UnknownNameError
        If there is no such study.
    DataError
        If the study has not been run, or its table differs from its digest.
    """
    path = shipped_table(study)
    if study not in STUDY_NAMES and not path.is_file():
        raise UnknownNameError(f"unknown study {study!r}; known: {', '.join(STUDY_NAMES)}")
    command = f"qllm study {study}"
    if not path.is_file():
        raise DataError(
            f"study {study!r} has not been run yet: no rows are shipped. Run: {command}"
        )
    return parse_table(read_verified(path, regenerate=command), study, path.name)


def export_table(study: str, rows: list[dict], path: Path) -> None:
    """Write a study's table; a damaged or foreign file in its place is refused.

    Parameters
    ----------
    study : str
    rows : list of dict
    path : Path
        Target; if it is shipped with the package, its digest is brought up to date.

    Raises
    ------
    DataError
        If `path` holds something else than an intact table of this study. It is not touched.
    """
    content = format_table(rows)
    shipped = path.resolve().is_relative_to(DATA_DIR.resolve())
    if path.exists():
        old = path.read_bytes()
        parse_table(old, study, str(path))
        name = path.resolve().relative_to(DATA_DIR.resolve()).as_posix() if shipped else ""
        # equal content without a digest is what a run leaves that was killed in between
        if shipped and old != content and sha256(old) != read_manifest().get(name):
            raise DataError(
                f"{path} differs from its SHA-256: it was changed by hand, or is damaged, and was "
                "left as it is. Move it away to write a new one"
            )
    write_atomic(path, content)
    if shipped:
        write_manifest(path)
