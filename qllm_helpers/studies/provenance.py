"""What a row says of its origin: data, versions, platform, commit."""

import hashlib
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from qllm_helpers.text.embeddings import load_embeddings


@lru_cache(maxsize=4)
def data_digest(dataset: str, encoder: str) -> str:
    """First 16 hexadecimal digits of the SHA-256 of embeddings, labels and official splits."""
    data = load_embeddings(dataset, encoder)
    digest = hashlib.sha256()
    for array in (data.X.astype("<f4"), data.y.astype("<i8"), data.split.astype("S10")):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def provenance() -> dict[str, str]:
    """Versions of what computes, and the platform, of this process."""
    packages = ("numpy", "numba", "torch", "scikit-learn", "merlinquantum")
    versions = {name.replace("-", "_"): version(name) for name in packages}
    machine = f"{platform.system()}-{platform.machine()}"
    return {"python": platform.python_version(), **versions, "platform": machine}


def git_revision() -> str:
    """Commit of the checkout, with "+" if code was changed since; "" outside a checkout."""
    root = Path(__file__).resolve().parent.parent.parent
    if not (root / ".git").exists():
        return ""

    def git(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True)

    revision = git("rev-parse", "--short=12", "HEAD")
    if revision.returncode != 0:
        return ""
    changed = git("status", "--porcelain", "--", "qllm_helpers/*.py").stdout.strip()
    return revision.stdout.strip() + ("+" if changed else "")
