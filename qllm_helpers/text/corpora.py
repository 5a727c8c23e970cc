"""Corpora: sentences, labels, official splits, and the vectors that are shipped in their place.

No sentence is shipped: they come from ``$QLLM_DATA_DIR/<name>.csv`` or the Hugging Face Hub, and a
digest checks that they are, byte for byte, those of the shipped embeddings. One file holds a
corpus' vectors in half precision, labels and official splits.
"""

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from qllm_helpers import files
from qllm_helpers.files import DATA_DIR, DataError, UnknownNameError, read_verified, sha256
from qllm_helpers.text.encoders import (
    DEFAULT_ENCODER,
    PINNED,
    body_identity,
    encode,
    from_hub,
    resolve_precision,
    shared_encoder,
    short_name,
)

SPLIT_NAMES = ("train", "validation", "test")
COLUMNS = ["text", "label", "split"]
DUPLICATES_FILE, CORPORA_FILE = "duplicates.json", "corpora.toml"
# SST-2 is SST-5 without its neutral sentences, and is stored with it.
NEUTRAL, STORED_IN = 2, {"sst2": "sst5"}
#: How the names of a reader's own data begin; what follows is their digest.
OWN = "own-"
#: Of each corpus: ``hub``, ``label_names``, ``digest``, and its Hub column ``hub_label``.
CORPORA = tomllib.loads((DATA_DIR / CORPORA_FILE).read_text("utf-8"))


@dataclass(frozen=True)
class Texts:
    """n sentences in official order, labels (n,; indices into the names), official parts (n,)."""

    texts: list[str]
    labels: np.ndarray
    split: np.ndarray
    label_names: tuple[str, ...]


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors (n, d; float32), labels (n,; indices into the names) and official parts (n,)."""

    X: np.ndarray
    y: np.ndarray
    split: np.ndarray
    label_names: tuple[str, ...]


def corpus(name: str) -> dict:
    """What is known in advance about a corpus. Raises UnknownNameError."""
    if name not in CORPORA:
        raise UnknownNameError(f"unknown dataset {name!r}; choose one of {', '.join(CORPORA)}")
    return CORPORA[name]


def load_texts(name: str) -> Texts:
    """Sentences, labels and official splits of a corpus.

    Read from ``$QLLM_DATA_DIR/<name>.csv`` if the variable is set (then the Hub is never asked),
    else from the Hub (``SetFit/sst2``, ``SetFit/sst5``, ``SetFit/TREC-QC``).

    Parameters
    ----------
    name : str
        ``"sst2"``, ``"sst5"`` or ``"trec"``.

    Returns
    -------
    Texts

    Raises
    ------
    UnknownNameError, DataError
        For any other name; for a missing, damaged or foreign file, or a Hub out of reach.
    """
    known = corpus(name)
    if folder := os.environ.get("QLLM_DATA_DIR"):
        path = Path(folder).expanduser() / f"{name}.csv"
        table, origin = _read_csv(path), str(path)
    else:
        table, origin = _read_hub(name, known), f"the Hub's {known['hub']}"
    label_names = tuple(known["label_names"])
    codes = [str(number) for number in range(len(label_names))]
    right = table["label"].isin(codes) & table["split"].isin(SPLIT_NAMES)
    if not right.all():
        raise DataError(
            f"row {np.argmin(right) + 1} of {origin} is damaged: expected a text, a label from 0 "
            f"to {codes[-1]} and a split out of {', '.join(SPLIT_NAMES)}"
        )
    # Rows from the Hub are written as the CSV file would be: one digest for both ways.
    digest = sha256(table.to_csv(index=False, lineterminator="\n").encode())
    if digest != known["digest"]:
        raise DataError(
            f"{origin} is not the corpus {name!r} of this project: its SHA-256 starts with "
            f"{digest[:16]}, expected {known['digest'][:16]}. Get the file again. For sentences of "
            "your own, use encode() and the estimators directly"
        )
    labels, split = table["label"].to_numpy(np.int64), np.array(table["split"].tolist())
    return Texts(table["text"].tolist(), labels, split, label_names)


def _read_csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        how = f"Point it at the folder with {path.name}, or unset it to ask the Hub"
        raise DataError(f"QLLM_DATA_DIR is set, but there is no file {path}. {how}")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 ({error}); get it again") from error
    if list(table) != COLUMNS:
        found = ", ".join(table)
        raise DataError(f"{path} must have the columns text, label, split; it has: {found[:80]}")
    return table


def _read_hub(name: str, known: dict) -> pd.DataFrame:
    from datasets import load_dataset

    otherwise = (
        f"Without network, set QLLM_DATA_DIR to a folder with {name}.csv (columns text, "
        "label, split); load_embeddings() needs no sentences and works offline"
    )
    with from_hub("dataset", known["hub"], otherwise):
        parts = load_dataset(known["hub"])
    found = [parts[part].to_pandas().assign(split=part) for part in SPLIT_NAMES if part in parts]
    table, column = pd.concat(found), known.get("hub_label", "label")
    if not {"text", column} <= set(table):
        raise DataError(f"{known['hub']} has no column text or {column}: {list(table)}")
    code = {label: str(number) for number, label in enumerate(known["label_names"])}
    labels = [code.get(label, str(label)) for label in table[column]]
    return table[["text", "split"]].assign(label=labels)[COLUMNS]


def find_duplicates(texts: list[str]) -> list[list[int]]:
    """Ascending positions of each text that occurs more than once, by first occurrence.

    Case and white space do not count: the uncased encoders cannot tell such texts apart.
    """
    positions: dict[str, list[int]] = {}
    for position, text in enumerate(texts):
        positions.setdefault(" ".join(text.lower().split()), []).append(position)
    return [group for group in positions.values() if len(group) > 1]


def duplicate_groups(y) -> list[list[int]]:
    """`find_duplicates` of a corpus recognised by its labels (n,); empty for an unknown one."""
    y = np.asarray(y)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        return []
    known, digest = json.loads(read_verified(DUPLICATES_FILE)).values(), _labels_digest(y)
    return next((entry["groups"] for entry in known if entry["labels_sha256"] == digest), [])


def _labels_digest(y: np.ndarray) -> str:
    return sha256(y.astype("<i8").tobytes())


def _write_duplicates(name: str) -> None:
    """Bring the shipped table of `duplicate_groups` up to date; that of SST-2 with SST-5."""
    path, texts = files.data_path(DUPLICATES_FILE), load_texts(name)
    table = json.loads(path.read_bytes()) if path.is_file() else {}
    parts = {name: (np.arange(len(texts.texts)), texts.labels)}
    if name == "sst5":
        parts["sst2"] = _without_neutral(texts.labels)
    for part, (kept, labels) in parts.items():
        groups = find_duplicates([texts.texts[position] for position in kept])
        table[part] = {"labels_sha256": _labels_digest(labels), "groups": groups}
    content = json.dumps(table, sort_keys=True, separators=(",", ":")) + "\n"
    files.write_atomic(path, content.encode())


def _without_neutral(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and labels of SST-2's sentences in SST-5."""
    kept = np.flatnonzero(labels != NEUTRAL)
    return kept, (labels[kept] > NEUTRAL).astype(np.int64)


def load_embeddings(name: str, encoder: str = DEFAULT_ENCODER) -> Embeddings:
    """Embeddings, labels and official splits of a corpus.

    Those of ``"all-MiniLM-L6-v2"`` and ``"all-mpnet-base-v2"`` are shipped; with any other encoder
    the sentences are loaded, encoded once, and the result is kept in the cache folder.

    Parameters
    ----------
    name : str
        ``"sst2"``, ``"sst5"`` or ``"trec"``.
    encoder : str
        Name of a sentence-transformers model, with or without ``sentence-transformers/``.

    Returns
    -------
    Embeddings

    Raises
    ------
    UnknownNameError, DataError
        For an unknown corpus; for a damaged file, or an encoder that cannot be loaded.
    """
    if name.startswith(OWN):
        arrays = files.cached_arrays("embeddings", name, _lost)
        labels = tuple(str(label) for label in np.unique(arrays["y"]))
        return Embeddings(arrays["X"], arrays["y"], np.full(len(arrays["y"]), "train"), labels)
    known, stored = corpus(name), STORED_IN.get(name, name)
    encoder = short_name(encoder)
    if shipped_file(name, encoder) in files.read_manifest():
        arrays = _shipped(stored, encoder)
    else:
        key = sha256((_description(stored, encoder) + body_identity(encoder)).encode())[:32]
        arrays = files.cached_arrays("embeddings", key, lambda: _encoded(stored, encoder))
    X, y, code = arrays["X"].astype(np.float32), arrays["y"].astype(np.int64), arrays["split"]
    if name == "sst2":
        kept, y = _without_neutral(y)
        X, code = X[kept], code[kept]
    return Embeddings(X, y, np.array(SPLIT_NAMES)[code], tuple(known["label_names"]))


def keep_own(X: np.ndarray, y: np.ndarray) -> str:
    """Keep a reader's vectors (n, d) and labels (n,) in the cache; the name they are loaded by."""
    arrays = {"X": X.astype("<f4"), "y": y.astype("<i8")}
    name = OWN + sha256(b"".join(array.tobytes() for array in arrays.values()))[:16]
    files.cached_arrays("embeddings", name, lambda: arrays)
    return name


def _lost() -> dict:
    raise DataError("these data are not in the cache folder any more: give them again")


def shipped_file(name: str, encoder: str = DEFAULT_ENCODER) -> str:
    """Path of a corpus' embeddings below ``qllm_helpers/data``; SST-2 shares SST-5's."""
    return f"embeddings/{STORED_IN.get(name, name)}--{encoder}.safetensors"


def _shipped(name: str, encoder: str) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    command = f"qllm embed {name}" + f" --encoder {encoder}" * (encoder != DEFAULT_ENCODER)
    remedy = f"reinstall the package, or run '{command}', which needs the sentences"
    arrays = load(read_verified(shipped_file(name, encoder), regenerate=remedy))
    if set(arrays) != {"X", "y", "split"}:
        raise DataError(f"{shipped_file(name, encoder)} lacks X, y or split. To mend it: {remedy}")
    return arrays


def write_embeddings(
    name: str, *, encoder: str = DEFAULT_ENCODER, output: Path | None = None, progress: bool = False
) -> Path:
    """Encode a whole corpus and write the file that :func:`load_embeddings` reads.

    Without `output`, the shipped one, its manifest line and the table of duplicates.
    """
    from safetensors.numpy import save

    name, encoder = STORED_IN.get(name, name), short_name(encoder)
    corpus(name)  # an unknown one is refused before anything is encoded
    if output is None and encoder not in PINNED:
        how = f"name an output file for {encoder!r}, or call load_embeddings(), which caches"
        raise ValueError(f"the shipped files are those of {' and '.join(PINNED)}; {how}")
    # One entry, because safetensors writes several in random order and the digest would change.
    about = {"description": _description(name, encoder)}
    body = save(_encoded(name, encoder, progress), metadata=about)
    path = files.data_path(shipped_file(name, encoder)) if output is None else Path(output)
    files.write_atomic(path, body)
    if output is None:
        _write_duplicates(name)
        files.write_manifest(path, DUPLICATES_FILE, CORPORA_FILE)
    return path


def _encoded(name: str, encoder: str, progress: bool = False) -> dict[str, np.ndarray]:
    # The encoder first: with an unknown one, nobody should hear about missing sentences.
    shared_encoder(encoder)
    texts = load_texts(name)
    return {
        # Half precision moves a coordinate by at most 5e-4 of itself, and halves the download.
        "X": encode(texts.texts, encoder, progress=progress).astype(np.float16),
        "y": texts.labels.astype(np.int8),
        "split": np.array([SPLIT_NAMES.index(part) for part in texts.split], dtype=np.int8),
    }


def _description(name: str, encoder: str) -> str:
    about = {"corpus": name, "corpus_sha256": corpus(name)["digest"], "encoder": encoder}
    precision = resolve_precision("auto", encoder)
    if precision != "float32":
        about["precision"] = precision
    return json.dumps(about, sort_keys=True)
