"""The embeddings that are shipped with the package, and how they are made.

One file holds a corpus' vectors in half precision, labels and official splits, and no sentence.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qllm_helpers import files
from qllm_helpers.files import DataError, read_verified
from qllm_helpers.text import corpora, encoders
from qllm_helpers.text.corpora import NEUTRAL, SPLIT_NAMES, Texts, corpus
from qllm_helpers.text.encoders import DEFAULT_ENCODER, PINNED, encode, shared_encoder, short_name

#: How the names of a reader's own data begin; what follows is their digest.
OWN = "own-"


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors (n, d; float32), labels (n,; indices into the names) and official parts (n,)."""

    X: np.ndarray
    y: np.ndarray
    split: np.ndarray
    label_names: tuple[str, ...]


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
    known = corpus(name)
    encoder = short_name(encoder)
    stored = _stored(name)
    if shipped_file(stored, encoder) in files.read_manifest():
        arrays = _shipped(stored, encoder)
    else:
        about = _description(stored, encoder)["description"] + encoders.body_identity(encoder)
        arrays = files.cached_arrays(
            "embeddings",
            files.sha256(about.encode())[:32],
            lambda: _arrays(_texts_for(stored, encoder), encoder, progress=False),
        )
    X, y, code = arrays["X"].astype(np.float32), arrays["y"].astype(np.int64), arrays["split"]
    if name == "sst2":
        kept = y != NEUTRAL
        X, y, code = X[kept], (y[kept] > NEUTRAL).astype(np.int64), code[kept]
    return Embeddings(X, y, np.array(SPLIT_NAMES)[code], known.label_names)


def keep_own(X: np.ndarray, y: np.ndarray) -> str:
    """Keep a reader's vectors (n, d) and labels (n,) in the cache; the name they are loaded by."""
    arrays = {"X": X.astype("<f4"), "y": y.astype("<i8")}
    name = OWN + files.sha256(b"".join(array.tobytes() for array in arrays.values()))[:16]
    files.cached_arrays("embeddings", name, lambda: arrays)
    return name


def _lost() -> dict:
    raise DataError("these data are not in the cache folder any more: give them again")


def shipped_file(name: str, encoder: str = DEFAULT_ENCODER) -> str:
    """Path of a corpus' embeddings below ``qllm_helpers/data``; SST-2 shares SST-5's."""
    return f"embeddings/{_stored(name)}--{encoder}.safetensors"


def write_embeddings(
    name: str, *, encoder: str = DEFAULT_ENCODER, output: Path | None = None, progress: bool = False
) -> Path:
    """Encode a whole corpus and write the file that :func:`load_embeddings` reads.

    Without `output`, the shipped one, its manifest line and the table of duplicates.
    """
    from safetensors.numpy import save

    known, encoder = corpus(_stored(name)), short_name(encoder)
    if output is None and encoder not in PINNED:
        how = f"name an output file for {encoder!r}, or call load_embeddings(), which caches"
        raise ValueError(f"the shipped files are those of {' and '.join(PINNED)}; {how}")
    texts = _texts_for(known.name, encoder)
    body = save(_arrays(texts, encoder, progress), metadata=_description(known.name, encoder))
    path = files.data_path(shipped_file(name, encoder)) if output is None else Path(output)
    files.write_atomic(path, body)
    if output is None:
        corpora.write_duplicates(known.name, texts)
        files.write_manifest(path, corpora.DUPLICATES_FILE, corpora.CORPORA_FILE)
    return path


def _stored(name: str) -> str:
    return "sst5" if name == "sst2" else name


def _texts_for(name: str, encoder: str) -> Texts:
    # The encoder first: with an unknown one, nobody should hear about missing sentences.
    shared_encoder(encoder)
    return corpora.load_texts(name)


def _arrays(texts: Texts, encoder: str, progress: bool) -> dict[str, np.ndarray]:
    code = {part: number for number, part in enumerate(SPLIT_NAMES)}
    return {
        # Half precision moves a coordinate by at most 5e-4 of itself, and halves the download.
        "X": encode(texts.texts, encoder, progress=progress).astype(np.float16),
        "y": texts.labels.astype(np.int8),
        "split": np.array([code[part] for part in texts.split], dtype=np.int8),
    }


def _description(name: str, encoder: str) -> dict[str, str]:
    about = {"corpus": name, "corpus_sha256": corpus(name).digest, "encoder": encoder}
    precision = encoders.resolve_precision("auto", encoder)
    if precision != "float32":
        about["precision"] = precision
    # One entry, because safetensors writes several in random order and the digest would change.
    return {"description": json.dumps(about, sort_keys=True)}


def _shipped(name: str, encoder: str) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    command = f"qllm embed {name}" + f" --encoder {encoder}" * (encoder != DEFAULT_ENCODER)
    remedy = f"reinstall the package, or run '{command}', which needs the sentences"
    arrays = load(read_verified(shipped_file(name, encoder), regenerate=remedy))
    if set(arrays) != {"X", "y", "split"}:
        raise DataError(f"{shipped_file(name, encoder)} lacks X, y or split. To mend it: {remedy}")
    return arrays
