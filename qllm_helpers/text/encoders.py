"""Sentences as vectors, by a sentence-transformers body."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from qllm_helpers import checks
from qllm_helpers.files import DataError
from qllm_helpers.text.bodies import HUB_PREFIX, MINILM, MPNET, PINNED, body_source

DEFAULT_ENCODER = MPNET
PRECISIONS = ("auto", "float32", "bfloat16")


def encode(
    texts,
    encoder: str = DEFAULT_ENCODER,
    batch_size: int = 64,
    progress: bool = False,
    *,
    precision: str = "auto",
) -> np.ndarray:
    """Sentences as vectors.

    Parameters
    ----------
    texts : sequence of str
        At least one sentence.
    encoder : str
        ``"all-MiniLM-L6-v2"`` (d = 384) or ``"all-mpnet-base-v2"`` (d = 768), which work without
        network; or the name of another sentence-transformers model, or the path of one.
    batch_size : int
        Sentences per forward pass.
    progress : bool
        Show progress bars.
    precision : {"auto", "float32", "bfloat16"}
        What matrix products are computed in. ``"auto"`` is bfloat16 for ``"all-mpnet-base-v2"`` on
        a processor that has it, where it is about three times faster, and float32 otherwise.

    Returns
    -------
    ndarray of float32, shape (n, d)
        Normalised as the model does it: unit length for the two bodies above.

    Raises
    ------
    ValueError, DataError
        For unusable arguments; for an encoder that cannot be loaded or is not the pinned one.
    """
    texts = _checked_texts(texts)
    checks.integer("batch_size", batch_size)
    encoder = short_name(encoder)
    precision = resolve_precision(precision, encoder)
    if progress:
        body_source(encoder, progress)
    return vectors_of(shared_encoder(encoder), encoder, texts, precision, batch_size, progress)


def vectors_of(
    model, encoder: str, texts: list[str], precision: str, batch_size: int = 64, progress=False
) -> np.ndarray:
    """What the `model`, which may have been tuned since it was loaded, makes of sentences."""
    # Which sentences share a batch moves the last bits. The shipped embeddings and stored rows of
    # MiniLM were computed with repeated sentences in the list, so there they stay.
    chosen = texts if encoder == MINILM else list(dict.fromkeys(texts))
    with autocast(precision):
        # Sorts by length, so that little is padded.
        vectors = model.encode(chosen, batch_size=batch_size, show_progress_bar=progress)
    vectors = np.asarray(vectors, dtype=np.float32)
    if len(chosen) == len(texts):
        return vectors
    row = {text: number for number, text in enumerate(chosen)}
    return vectors[[row[text] for text in texts]]


def resolve_precision(precision: str, encoder: str) -> str:
    """``"float32"`` or ``"bfloat16"``, as :func:`encode` takes ``"auto"``. Raises ValueError."""
    checks.choice("precision", precision, PRECISIONS)
    if precision != "auto":
        return precision
    # Only MPNet: the shipped embeddings and stored rows of MiniLM are float32, bit for bit.
    return "bfloat16" if encoder == MPNET and _has_bfloat16() else "float32"


@lru_cache(maxsize=1)
def _has_bfloat16() -> bool:
    # On a processor without it, bfloat16 is slower than float32.
    path = Path("/proc/cpuinfo")
    flags = path.read_text(encoding="utf-8").split() if path.is_file() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


def autocast(precision: str):
    """Context in which torch computes matrix products in that precision."""
    import torch

    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")


def load_encoder(encoder: str = DEFAULT_ENCODER, progress: bool = False):
    """A fresh sentence-transformers model on the CPU, which the caller may change; or DataError."""
    encoder = short_name(encoder)
    source = body_source(encoder, progress)
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    # Loading draws a progress bar of its own, which would end up in every executed notebook.
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return SentenceTransformer(source, device="cpu", local_files_only=encoder in PINNED)
    except (OSError, ValueError, RuntimeError) as error:
        why = f"({type(error).__name__}): it is not a sentence-transformers model"
        raise DataError(f"cannot load the encoder {encoder!r} {why}") from error
    finally:
        if enabled:
            logging.enable_progress_bar()


@lru_cache(maxsize=2)
def shared_encoder(encoder: str):
    """The model of :func:`load_encoder`, loaded once and shared: never change it."""
    return load_encoder(encoder)


def short_name(encoder: str) -> str:
    """Name of an encoder without the Hub's organisation. Raises ValueError."""
    if not isinstance(encoder, str) or not encoder.strip():
        raise ValueError(f"encoder must be the name of a model, got {encoder!r}")
    return encoder.removeprefix(HUB_PREFIX)


def _checked_texts(texts) -> list[str]:
    if isinstance(texts, str):
        raise ValueError("texts must be a sequence of sentences; put a single one in a list")
    texts = list(texts)
    if not texts:
        raise ValueError("texts is empty; give at least one sentence")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise ValueError(f"texts must be strings; number {position} is of type {kind}")
    return texts
