"""What every chosen fit said of every test sentence: the packed binary digits of classes < 256."""

from __future__ import annotations

import base64
import zlib
from collections import defaultdict

import numpy as np

from qllm_helpers.files import DataError, sha256

#: Tensor that holds the SHA-256 of the table which the predictions belong to.
TABLE = "sha256 of the table"


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
    content = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    return content.reshape(-1, -(-n // 8))


def tensor_name(row) -> str:
    """Tensor with the predictions of a row: there is one for all seeds of a head."""
    body = "tuned" if row["fine_tuned"] else "frozen"
    part = f"{row['dataset']}, {row['samples_per_class']} a label, {row['encoder']}, {body}"
    return f"{part}, chosen on {row['selection']}: {row['head']}"


def format_predictions(rows: list[dict], table: bytes) -> bytes:
    """A table's predictions as safetensors: uint8, (seeds in their order, digits, ceil(n / 8))."""
    from safetensors.numpy import save

    tensors = defaultdict(list)
    for row in rows:
        tensors[tensor_name(row)].append(_packed(row["predictions"], row["n_test"]))
    stacked = {name: np.stack(parts) for name, parts in tensors.items()}
    return save(stacked | {TABLE: np.frombuffer(bytes.fromhex(sha256(table)), dtype=np.uint8)})


def parse_predictions(content: bytes, source: str) -> dict[str, np.ndarray]:
    """Tensors of :func:`format_predictions`; DataError if it is another kind of file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(content)
    except SafetensorError as error:
        raise DataError(f"{source} is damaged and was left as it is: {error}") from error
    if TABLE not in tensors:
        raise DataError(f"{source} holds no predictions of a study: it was left as it is")
    return tensors
