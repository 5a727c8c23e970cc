"""Shipped files with a manifest of digests, atomic writes, and the reader's cache folder.

A file under ``qllm_helpers/data`` is compared with its line in ``SHA256SUMS`` when it is read:
a flipped byte would otherwise turn into a slightly different number, and nobody would notice.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

DATA_DIR = Path(__file__).resolve().parent / "data"
MANIFEST_NAME = "SHA256SUMS"


class DataError(RuntimeError):
    """Data that is missing, damaged or not what it claims to be."""


class UnknownNameError(ValueError):
    """A corpus, encoder or study that this package does not know."""


def sha256(content: bytes | Path) -> str:
    """Hexadecimal SHA-256 of some bytes, or of the file at a path."""
    if isinstance(content, Path):
        with content.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    return hashlib.sha256(content).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, kept for the life of the process: a large one is hashed once."""
    status = path.stat()
    return _file_digest(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _file_digest(path: Path, _mtime: int, _size: int) -> str:
    # Modification time and size are part of the key: a file replaced meanwhile is hashed again.
    return sha256(path)


def data_path(relative: str | Path) -> Path:
    """Absolute path of a shipped file, whether or not it exists; ValueError outside the folder."""
    path = (DATA_DIR / relative).resolve()
    if not path.is_relative_to(DATA_DIR.resolve()):
        raise ValueError(f"{relative} is not below {DATA_DIR}; only shipped files have a digest")
    return path


def read_manifest() -> dict[str, str]:
    """Digest of every shipped file, by its path below ``qllm_helpers/data``; else DataError."""
    path = DATA_DIR / MANIFEST_NAME
    if not path.is_file():
        raise DataError(f"{path} is missing; reinstall the package")
    digests = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise DataError(f"{path} is damaged at {line!r}; reinstall the package")
        digests[name] = digest
    return digests


def read_verified(path: str | Path, *, regenerate: str = "reinstall the package") -> bytes:
    """Bytes of a shipped file, verified; DataError, with what to do, if it is not so."""
    path = data_path(path)
    if not path.is_file():
        raise DataError(f"{path} is missing. To get it back: {regenerate}")
    content = path.read_bytes()
    expected = read_manifest().get(path.relative_to(DATA_DIR.resolve()).as_posix())
    if file_digest(path) != expected:
        fault = "is damaged: its SHA-256 is not the one" if expected else "has no line"
        raise DataError(f"{path} {fault} in {MANIFEST_NAME}. To get it back: {regenerate}")
    return content


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file, and its folders, so that a reader sees the old content or the new, no part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes a private file; shipped and cached files are readable like any other.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_manifest(*paths: str | Path) -> None:
    """Bring some files' lines of the manifest up to date, without any all; drop those gone."""
    from filelock import FileLock

    # Two studies may end at the same moment; a lost update would make a good file look damaged.
    with FileLock(DATA_DIR / f".{MANIFEST_NAME}.lock"):
        known = read_manifest() if paths and (DATA_DIR / MANIFEST_NAME).is_file() else {}
        for path in map(data_path, paths or DATA_DIR.rglob("[!.]*")):
            name = path.relative_to(DATA_DIR.resolve()).as_posix()
            known.pop(name, None)
            if path.is_file() and name != MANIFEST_NAME:
                known[name] = sha256(path)
        lines = [f"{digest}  {name}\n" for name, digest in sorted(known.items())]
        write_atomic(DATA_DIR / MANIFEST_NAME, "".join(lines).encode())


def cache_dir() -> Path:
    """Folder for what takes long and can be made again: ``$QLLM_CACHE_DIR`` or the platform's."""
    if chosen := os.environ.get("QLLM_CACHE_DIR"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("qllm_helpers", appauthor=False))


def cached_arrays(folder: str, key: str, compute: Callable[[], dict]) -> dict:
    """Arrays from a folder below the cache, or computed now and stored; DataError if damaged.

    The `key` must depend on everything that the arrays depend on.
    """
    from safetensors.numpy import load, save

    path = cache_dir() / folder / f"{key}.safetensors"
    if not path.is_file():
        body = save(compute())
        write_atomic(path, bytes.fromhex(sha256(body)) + body)
    content = path.read_bytes()
    if content[:32].hex() != sha256(content[32:]):
        raise DataError(f"{path} is damaged. Delete it: it will be computed again")
    return load(content[32:])
