"""Shared by the tests and by `pytest --nbval notebooks`: the environment that both run in."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent

# Before anything imports torch or a hub client: one thread, so that sums come out in one order,
# and no test that depends on the network.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
if (ROOT.parent / "shared" / "datasets" / "sst2.csv").exists():
    os.environ.setdefault("QLLM_DATA_DIR", str(ROOT.parent / "shared" / "datasets"))


@pytest.fixture(scope="session")
def repository():
    """The root of the repository, a pathlib.Path."""
    return ROOT
