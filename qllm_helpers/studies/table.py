"""Result tables as CSV files: fixed columns, fixed formats, refused when damaged or foreign.

Beside them what every chosen fit said of every test sentence: packed digits of classes < 256.
"""

from __future__ import annotations

import base64
import io
import json
import platform
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load, save

from qllm_helpers import files
from qllm_helpers.files import DataError, UnknownNameError, read_verified, sha256
from qllm_helpers.studies.grid import PLACE, STUDY_NAMES

_SIZES = ("n_modes", "n_photons", "n_qubits")
_INTEGERS = ("samples_per_class", "seed", "n_train", "n_test")
_COUNTS = ("n_parameters", "n_live_parameters", "n_effective_parameters")
_FRACTIONS = ("validation_accuracy", "validation_loss", "test_accuracy")
_FRACTIONS += ("outside_accuracy", "macro_f1")
VERSIONS = ("python", "numpy", "numba", "torch", "scikit_learn", "merlinquantum", "platform")
#: Columns of every table, in order.
COLUMNS = (
    *("study", "dataset", "encoder", "precision", "protocol", "samples_per_class", "fine_tuned"),
    *("selection", "head", "family", "estimator", *_SIZES, "encoding", "space", "readout", "twin"),
    *("configuration", "seed", "hyperparameters", "n_train", "n_test"),
    *(*_FRACTIONS, *_COUNTS, "fit_seconds", *VERSIONS, "data_digest", "git_revision"),
)

#: Tensor that holds the SHA-256 of the table which the predictions belong to.
_DIGEST_OF_TABLE = "sha256 of the table"
#: Tables that are measured rather than studied, and the command that measures them anew.
TABLES = {
    "benchmark": "qllm bench",
    "benchmark_sweep": "qllm bench",
    "benchmark_qubits": "qllm bench",
    "landscape": "qllm landscape",
    "qubit_noise": "qllm qubit-noise",
    "precision": "qllm precision",
    "tuning": "qllm tuning",
}


def format_table(rows: list[dict]) -> bytes:
    """CSV of result rows, with the columns of :data:`COLUMNS`: equal rows give equal bytes."""
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    for name, form in (dict.fromkeys(_FRACTIONS, "{:.6f}") | {"fit_seconds": "{:.3f}"}).items():
        table[name] = table[name].map(form.format, na_action="ignore")
    table["fine_tuned"] = table["fine_tuned"].map({True: "true", False: "false"})
    return table.to_csv(index=False, lineterminator="\n").encode()


def parse_table(content: bytes, study: str, source: str) -> pd.DataFrame:
    """Rows as of :func:`load_results` from CSV; DataError names the `source` that is damaged."""
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
        table = _with_facts(table)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{source} is damaged and was left as it is: {error}") from error
    needed = table[["study", "head", "seed", "fine_tuned", "test_accuracy"]]
    if (table["study"] != study).any() or needed.isna().any(axis=None):
        raise DataError(f"{source} is damaged, or not of study {study!r}: it was left as it is")
    table["fine_tuned"] = table["fine_tuned"] == "true"
    return table.astype(dict.fromkeys(_INTEGERS, int))


def _with_facts(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with a column for every new key of their JSON columns, and ``kind``."""
    texts = rows[["configuration", "hyperparameters"]].fillna("{}").to_numpy()
    facts = [json.loads(fixed) | json.loads(chosen) for fixed, chosen in texts]
    names = dict.fromkeys(name for one in facts for name in one if name not in rows)
    columns = {name: _fact([one.get(name) for one in facts], rows.index) for name in names}
    rows = pd.concat([rows, pd.DataFrame(columns, index=rows.index)], axis=1)
    return rows.assign(kind=_kinds(rows))


def _fact(values: list, index: pd.Index) -> pd.Series:
    """Column of values that a row may lack; lists become tuples, which can be grouped by."""
    types = {type(value) for value in values if value is not None}
    if types <= {int, float, bool} and len(types) == 1 or types == {int, float}:
        dtype = "Int64" if types == {int} else "boolean" if types == {bool} else float
        return pd.Series(values, index=index, dtype=dtype)
    values = [tuple(value) if isinstance(value, list) else value for value in values]
    return pd.Series(values, index=index, dtype=object).fillna(np.nan)


def _kinds(rows: pd.DataFrame) -> pd.Series:
    """What every row's head is made of, see :func:`load_results`."""
    kind = rows["family"].astype(object).copy()
    kind = kind.mask(rows["readout"].eq("occupation").fillna(False), "occupation")
    if "n_encoders" in rows:
        kind = kind.mask(rows["n_encoders"].notna() & rows["family"].eq("photonic"), "two-stage")
    kind = kind.mask(rows["estimator"].eq("PhotonicKernelClassifier"), "fidelity kernel")
    kind = kind.mask(rows["estimator"].eq("FourierClassifier"), "random Fourier features")
    fixed = rows["configuration"].str.contains('"output_scale"', na=False)
    kind = kind.mask(fixed & rows["family"].eq("photonic"), "outputs unscaled")
    dense = rows["encoding"].eq("dense") & rows["protocol"].eq("few_shot")
    kind = kind.mask(dense & rows["family"].eq("photonic"), "dense map")
    twin = (rows["twin"] + " twin").replace("identity twin", "linear map")
    return kind.mask(twin.notna(), twin).rename("kind")


def body_state(study: str, fine_tuned: bool) -> str:
    """What became of a row's body: "frozen", "tuned" before, or "end to end" with the head."""
    return "end to end" if study == "end_to_end" else "tuned" if fine_tuned else "frozen"


def shipped_table(study: str) -> Path:
    """Path of a study's shipped table below ``qllm_helpers/data``."""
    return files.DATA_DIR / "results" / f"{study}.csv"


def predictions_file(study: str) -> Path:
    """Path of a study's shipped predictions below ``qllm_helpers/data``."""
    return files.DATA_DIR / "predictions" / f"{study}.safetensors"


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
        seed, ``hyperparameters`` (chosen on validation) and ``configuration`` (fixed) are JSON;
        each of their keys is a column too, missing where a row has none. Sizes and counts are
        nullable integers. ``kind`` says what the head is made of: its family, ``"linear map"``
        (same rank, no quantum layer), ``"cosine twin"`` or another ablation, ``"occupation"``,
        ``"two-stage"``, ``"fidelity kernel"``.

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
    content = read_verified(path, regenerate=f"qllm study {study}")
    return parse_table(content, study, path.name)


def load_choices(study: str) -> pd.DataFrame:
    """Every setting that a study tried on the development pool, one row each.

    The place of the unit (columns of `grid.PLACE`); ``setting`` (with the best number of epochs)
    and ``chosen``; ``n_redraws``, ``mean`` and ``lowest`` accuracy on the sentences that judge,
    ``broken`` if a single fit failed; ``epochs`` and ``curve``: the mean at each number of epochs.
    """
    content = read_verified(f"choices/{study}.csv", regenerate=f"qllm study {study}")
    table = pd.read_csv(io.BytesIO(content))
    lists = {name: table[name].map(json.loads) for name in ("setting", "epochs", "curve")}
    return table.assign(**lists)


def _format_choices(rows: list[dict]) -> bytes:
    """CSV of the settings that were tried for the units whose rows these are."""
    tried = [(row, one) for row in rows for one in row.get("choices", [])]
    table = pd.DataFrame([{name: row[name] for name in PLACE} | one for row, one in tried])
    for name in table.columns.intersection(["setting", "epochs"]):
        table[name] = table[name].map(json.dumps)
    if "curve" in table:
        table["curve"] = table["curve"].map(lambda one: json.dumps(np.round(one, 4).tolist()))
    table = table.drop_duplicates()  # seeds that are units of their own share the search
    return table.to_csv(index=False, float_format="%.4f", lineterminator="\n").encode()


def pack(classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Classes of n sentences as packed binary digits: uint8, (digits, ceil(n / 8))."""
    digits = np.arange(max(1, (n_classes - 1).bit_length()))
    return np.packbits((np.asarray(classes) >> digits[:, None] & 1).astype(bool), axis=-1)


def unpack(packed: np.ndarray, n: int) -> np.ndarray:
    """Inverse of :func:`pack`, of one fit or of several: uint8, (..., n)."""
    digits = np.arange(packed.shape[-2], dtype=np.uint8)
    return (np.unpackbits(packed, axis=-1, count=n) << digits[:, None]).sum(-2, dtype=np.uint8)


def to_text(classes: np.ndarray, n_classes: int) -> str:
    """Predictions as they are kept with a row."""
    return base64.b64encode(zlib.compress(pack(classes, n_classes).tobytes())).decode()


def from_text(text: str, n: int) -> np.ndarray:
    """Predicted classes of n sentences, from :func:`to_text`."""
    return unpack(_packed(text, n), n)


def _packed(text: str, n: int) -> np.ndarray:
    content = zlib.decompress(base64.b64decode(text))
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, -(-n // 8))


def _tensor_name(row) -> str:
    """Tensor with the predictions of a row: there is one for all seeds of a head."""
    body = "tuned" if row["fine_tuned"] else "frozen"
    part = f"{row['dataset']}, {row['samples_per_class']} a label, {row['encoder']}, {body}"
    return f"{part}, chosen on {row['selection']}: {row['head']}"


def _format_predictions(rows: list[dict], table: bytes) -> bytes:
    """A table's predictions as safetensors: uint8, (seeds in their order, digits, ceil(n / 8))."""
    tensors = {_DIGEST_OF_TABLE: np.frombuffer(bytes.fromhex(sha256(table)), dtype=np.uint8)}
    for name, part in pd.DataFrame(rows).groupby([_tensor_name(row) for row in rows], sort=False):
        tensors[name] = np.stack([*map(_packed, part["predictions"], part["n_test"])])
    return save(tensors)


def _parse_predictions(content: bytes, source: str) -> dict[str, np.ndarray]:
    """Tensors of a shipped file; DataError if it is another kind of file."""
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise DataError(f"{source} is damaged and was left as it is: {error}") from error
    if _DIGEST_OF_TABLE not in tensors:
        raise DataError(f"{source} holds no predictions of a study: it was left as it is")
    return tensors


def load_predictions(study: str) -> pd.Series:
    """Predicted classes, uint8 (n_test,), for every row of :func:`load_results`.

    They are of the sentences ``data.split_of(row).test``. Damaged ones raise DataError.
    """
    rows = load_results(study)
    path, command = predictions_file(study), f"qllm study {study}"
    tensors = _parse_predictions(read_verified(path, regenerate=command), path.name)
    if tensors[_DIGEST_OF_TABLE].tobytes().hex() != sha256(shipped_table(study).read_bytes()):
        raise DataError(f"{path.name} belongs to other rows than the shipped ones. Run: {command}")
    found = pd.Series(index=rows.index, dtype=object)
    for name, part in rows.groupby(rows.apply(_tensor_name, axis=1), sort=False):
        found[part.index] = list(unpack(tensors[name], part["n_test"].iloc[0]))
    return found


def with_predictions(study: str, rows: list[dict]) -> pd.DataFrame:
    """Rows of a run as :func:`load_results` has them, with a column of `predictions`."""
    table = parse_table(format_table(rows), study, f"the new rows of {study}")
    return table.assign(predictions=[from_text(row["predictions"], row["n_test"]) for row in rows])


def export_table(study: str, rows: list[dict], path: Path) -> None:
    """Write a study's table and the rows' predictions; shipped files get their digests.

    A damaged or foreign file in their place is refused with a DataError.
    """
    content = format_table(rows)
    shipped = path.resolve().is_relative_to(files.DATA_DIR.resolve())
    if path.exists():
        old = path.read_bytes()
        parse_table(old, study, str(path))
        # equal content without a digest is what a run leaves that was killed in between
        name = path.resolve().relative_to(files.DATA_DIR.resolve()).as_posix() if shipped else ""
        if shipped and old != content and sha256(old) != files.read_manifest().get(name):
            fault = "differs from its SHA-256, as if changed by hand"
            raise DataError(f"{path} {fault}. Move it to write a new one")
    written = {path: content}
    if rows and all("predictions" in row for row in rows):
        beside = predictions_file(study) if shipped else path.with_suffix(".safetensors")
        if beside.exists():
            _parse_predictions(beside.read_bytes(), str(beside))
        written[beside] = _format_predictions(rows, content)
        if shipped and any(row.get("choices") for row in rows):
            written[files.DATA_DIR / "choices" / f"{study}.csv"] = _format_choices(rows)
    for target, new in written.items():
        files.write_atomic(target, new)
    if shipped:
        files.write_manifest(*written)


def write_measurements(tables: dict[str, pd.DataFrame], folder: Path | None = None) -> list[Path]:
    """Write tables (keys of `TABLES`) with versions and machine as CSV; no `folder`: ship them."""
    target = folder or files.DATA_DIR / "results"
    versions = {name: version(name) for name in ("torch", "merlinquantum")}
    versions |= {"python": platform.python_version(), "machine": platform.machine()}
    paths = [target / f"{name}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        content = table.assign(**versions).to_csv(index=False, float_format="%.6g")
        files.write_atomic(path, content.encode())
    if folder is None:
        files.write_manifest(*paths)
    return paths


def load_measurements(name: str) -> pd.DataFrame:
    """Shipped rows of a table in `TABLES`; its columns are described where it is made."""
    if name not in TABLES:
        raise UnknownNameError(f"unknown table {name!r}; known: {', '.join(TABLES)}")
    content = read_verified(f"results/{name}.csv", regenerate=TABLES[name])
    return pd.read_csv(io.BytesIO(content))
