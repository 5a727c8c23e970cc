"""Corpora: sentences, labels, official splits, and which texts occur more than once.

No sentence is shipped: they come from ``$QLLM_DATA_DIR/<name>.csv`` or the Hugging Face Hub, and a
digest checks that they are, byte for byte, those of the shipped embeddings.
"""

import csv
import io
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qllm_helpers import files
from qllm_helpers.files import DATA_DIR, DataError, UnknownNameError, read_verified, sha256
from qllm_helpers.text.encoders import from_hub

SPLIT_NAMES = ("train", "validation", "test")
COLUMNS = ["text", "label", "split"]
DUPLICATES_FILE, CORPORA_FILE = "duplicates.json", "corpora.toml"
# SST-2 is SST-5 without its neutral sentences.
NEUTRAL = 2


@dataclass(frozen=True)
class Corpus:
    """What is known in advance about a corpus: where it comes from and what it must contain."""

    name: str
    hub: str
    label_names: tuple[str, ...]
    digest: str
    hub_label: str = "label"


CORPORA = {
    name: Corpus(name, **table | {"label_names": tuple(table["label_names"])})
    for name, table in tomllib.loads((DATA_DIR / CORPORA_FILE).read_text("utf-8")).items()
}


@dataclass(frozen=True)
class Texts:
    """n sentences in official order, labels (n,; indices into the names), official parts (n,).

    The digest is the SHA-256 of the corpus as a CSV file with the columns text, label, split.
    """

    texts: list[str]
    labels: np.ndarray
    split: np.ndarray
    label_names: tuple[str, ...]
    digest: str


def corpus(name: str) -> Corpus:
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
        rows, origin = _read_csv(path), str(path)
    else:
        rows, origin = _read_hub(known), f"the Hub's {known.hub}"
    numbers = {str(number) for number in range(len(known.label_names))}
    for line, row in enumerate(rows, start=1):
        if len(row) != 3 or row[1] not in numbers or row[2] not in SPLIT_NAMES:
            raise DataError(
                f"row {line} of {origin} is damaged: expected a text, a label from 0 to "
                f"{len(numbers) - 1} and a split out of {', '.join(SPLIT_NAMES)}"
            )
    # Rows from the Hub are written as the CSV file would be: one digest for both ways.
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows])
    digest = sha256(stream.getvalue().encode("utf-8"))
    if digest != known.digest:
        raise DataError(
            f"{origin} is not the corpus {known.name!r} of this project: its SHA-256 starts with "
            f"{digest[:16]}, expected {known.digest[:16]}. Get the file again. For sentences of "
            "your own, use encode() and the estimators directly"
        )
    return Texts(
        texts=[row[0] for row in rows],
        labels=np.array([int(row[1]) for row in rows], dtype=np.int64),
        split=np.array([row[2] for row in rows]),
        label_names=known.label_names,
        digest=digest,
    )


def _read_csv(path: Path) -> list[list[str]]:
    if not path.is_file():
        how = f"Point it at the folder with {path.name}, or unset it to ask the Hub"
        raise DataError(f"QLLM_DATA_DIR is set, but there is no file {path}. {how}")
    try:
        content = path.read_bytes().decode("utf-8")
        rows = list(csv.reader(io.StringIO(content, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 ({error}); get it again") from error
    if not rows or rows[0] != COLUMNS:
        found = ", ".join(rows[0]) if rows else "nothing"
        raise DataError(f"{path} must have the columns text, label, split; it has: {found[:80]}")
    return rows[1:]


def _read_hub(known: Corpus) -> list[list[str]]:
    from datasets import load_dataset

    otherwise = (
        f"Without network, set QLLM_DATA_DIR to a folder with {known.name}.csv (columns text, "
        "label, split); load_embeddings() needs no sentences and works offline"
    )
    with from_hub("dataset", known.hub, otherwise):
        parts = load_dataset(known.hub)
    code = {label: str(number) for number, label in enumerate(known.label_names)}
    rows = []
    for part in (part for part in SPLIT_NAMES if part in parts):
        columns = parts[part].column_names
        if "text" not in columns or known.hub_label not in columns:
            raise DataError(f"{known.hub} has no column text or {known.hub_label}: {columns}")
        for text, label in zip(parts[part]["text"], parts[part][known.hub_label], strict=True):
            rows.append([text, code.get(label, str(label)), part])
    return rows


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


def _entry(sentences: list[str], labels: np.ndarray) -> dict:
    return {"labels_sha256": _labels_digest(labels), "groups": find_duplicates(sentences)}


def _labels_digest(y: np.ndarray) -> str:
    return sha256(y.astype("<i8").tobytes())


def write_duplicates(name: str, texts: Texts) -> None:
    """Bring the shipped table of `duplicate_groups` up to date; that of SST-2 with SST-5."""
    path = files.data_path(DUPLICATES_FILE)
    table = json.loads(path.read_bytes()) if path.is_file() else {}
    table[name] = _entry(texts.texts, texts.labels)
    if name == "sst5":
        kept = np.flatnonzero(texts.labels != NEUTRAL)
        sentences = [texts.texts[position] for position in kept]
        table["sst2"] = _entry(sentences, texts.labels[kept] > NEUTRAL)
    content = json.dumps(table, sort_keys=True, separators=(",", ":")) + "\n"
    files.write_atomic(path, content.encode())
