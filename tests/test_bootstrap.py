"""The set-up cell of the notebooks, in a fresh environment without a checkout and a network.

The environment borrows the installed dependencies, which would take minutes to install, but not
this package. Git is told to find the repository's address in a copy on disk.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

import nbformat
import pytest
import yaml

from qllm_helpers import __version__

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ADDRESS = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
IN_COLAB = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')\n"
LOOK = """
import qllm_helpers
from qllm_helpers import load_embeddings, load_results
print(qllm_helpers.__file__)
print(load_embeddings("sst2").X.shape, len(load_results("few_shot")) > 0)
"""


def setup_cell(path):
    return nbformat.read(path, as_version=4).cells[1].source


CELL = setup_cell(NOTEBOOKS[0])


def git(*words, cwd):
    """Run git and return what it prints."""
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    command = ["git", *who, *words]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def published(tmp_path):
    """A bare copy of the repository at its present commit, on the branch that readers see."""
    copy = tmp_path / "published.git"
    git("clone", "--bare", "--quiet", ROOT.as_uri(), str(copy), cwd=tmp_path)
    git("branch", "--force", "main", "HEAD", cwd=copy)
    for tag in git("tag", cwd=copy).split():
        git("tag", "--delete", tag, cwd=copy)
    return copy


@pytest.fixture
def fresh(tmp_path):
    """Python of a new environment that has every dependency but not this package."""
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not entry.name.startswith(("qllm_helpers", "__editable__")) and entry.suffix != ".pth":
            (borrowed / entry.name).symlink_to(entry)
    venv.create(tmp_path / "fresh", with_pip=False, symlinks=True)
    python = tmp_path / "fresh" / "bin" / "python"
    paths = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    Path(paths.stdout.strip(), "borrowed.pth").write_text(f"{borrowed}\n")
    return python


def run(python, code, folder, published, **variables):
    """Run code as a notebook far from the checkout would; git finds the address on disk."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    offline = {
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as: build with what is installed
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "HF_HUB_OFFLINE": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{published.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }
    # every run has a folder of its own for the copy
    return subprocess.run(
        [python, "-c", code], cwd=tempfile.mkdtemp(dir=folder), env=kept | offline | variables,
        capture_output=True, text=True,
    )  # fmt: skip


def test_every_notebook_has_the_same_setup_cell_of_this_version():
    assert [path.name for path in NOTEBOOKS if setup_cell(path) != CELL] == []
    assert f"v{__version__}" in CELL
    assert ADDRESS in CELL


def test_setup_in_colab_before_the_version_is_tagged(tmp_path, fresh, published):
    result = run(fresh, IN_COLAB + CELL + LOOK, tmp_path, published)
    assert result.returncode == 0, result.stderr[-3000:]
    where, found = result.stdout.splitlines()[-2:]
    assert Path(where).is_relative_to(tmp_path / "fresh")
    assert found == "(9613, 768) True"


def test_setup_takes_the_tagged_version_or_another_source(tmp_path, fresh, published):
    """What the branch has become cannot be installed; pip only tries, with what it is told."""
    tag = f"v{__version__}"
    git("tag", tag, "main", cwd=published)
    git("clone", "--bare", "--quiet", str(published), str(tmp_path / "other.git"), cwd=tmp_path)
    git("tag", "--delete", tag, cwd=tmp_path / "other.git")
    empty = git("commit-tree", EMPTY_TREE, "-m", "empty", cwd=published)
    git("update-ref", "refs/heads/main", empty.strip(), cwd=published)
    attempt = {"PIP_DRY_RUN": "1"}
    tagged = run(fresh, IN_COLAB + CELL, tmp_path, published, **attempt)
    assert tagged.returncode == 0, tagged.stderr[-3000:]
    git("tag", "--delete", tag, cwd=published)
    assert run(fresh, IN_COLAB + CELL, tmp_path, published, **attempt).returncode != 0
    attempt["QLLM_BOOTSTRAP_SOURCE"] = (tmp_path / "other.git").as_uri()
    other = run(fresh, CELL, tmp_path, published, **attempt)
    assert other.returncode == 0, other.stderr[-3000:]


def test_the_pins_are_those_of_that_version(tmp_path, fresh, published):
    """A pin that the environment does not have is refused, since there is nothing to install."""
    clone = tmp_path / "changed"
    git("clone", "--quiet", str(published), str(clone), cwd=tmp_path)
    pins = clone / "constraints.txt"
    pins.write_text(pins.read_text().replace("click==", "click==0.0.1 # "))
    git("commit", "--quiet", "--all", "-m", "other pin", cwd=clone)
    result = run(fresh, CELL, tmp_path, published, QLLM_BOOTSTRAP_SOURCE=clone.as_uri())
    assert result.returncode != 0
    assert "conflicting dependencies" in result.stderr


def test_setup_is_silent_outside_of_colab(tmp_path, fresh, published):
    result = run(fresh, CELL + "\nimport qllm_helpers", tmp_path, published)
    assert "No module named 'qllm_helpers'" in result.stderr
    assert result.stdout == ""


def test_setup_does_nothing_where_the_package_is_installed():
    result = subprocess.run(
        [sys.executable, "-c", IN_COLAB + CELL], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"QLLM_BOOTSTRAP_SOURCE": "git+file:///nowhere"},
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
