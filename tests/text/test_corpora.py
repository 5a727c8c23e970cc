"""Sentences and shipped embeddings: order, digests, agreement between corpora, clear errors."""

import json
import os
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from qllm_helpers import files
from qllm_helpers.cli import main
from qllm_helpers.files import (
    DataError,
    UnknownNameError,
    data_path,
    read_manifest,
    read_verified,
    sha256,
)
from qllm_helpers.text.corpora import (
    CORPORA,
    duplicate_groups,
    find_duplicates,
    load_embeddings,
    load_texts,
    shipped_file,
    write_embeddings,
)
from qllm_helpers.text.encoders import MINILM, MPNET, encode

FOLDER = Path(os.environ.get("QLLM_DATA_DIR", "nowhere"))
needs_sentences = pytest.mark.skipif(
    not (FOLDER / "sst2.csv").is_file(), reason="the sentences are not here: set QLLM_DATA_DIR"
)
# --- repeated texts -----------------------------------------------------------------------


def test_find_duplicates_ignores_case_and_white_space():
    texts = ["a dull film", "a good film", "A  dull\tfilm ", "x", "a good film", "a good film"]
    assert find_duplicates(texts) == [[0, 2], [1, 4, 5]]


def test_repeated_texts_are_known_without_the_sentences():
    groups = duplicate_groups(load_embeddings("sst2").y)
    assert len(groups) == 10
    assert sum(map(len, groups)) == 21
    sizes = {name: len(duplicate_groups(load_embeddings(name).y)) for name in ("sst5", "trec")}
    assert sizes == {"sst5": 12, "trec": 75}


@needs_sentences
@pytest.mark.parametrize("name", CORPORA)
def test_the_shipped_table_of_repeated_texts_is_that_of_the_sentences(name):
    texts = load_texts(name)
    assert duplicate_groups(texts.labels) == find_duplicates(texts.texts)


# --- sentences ----------------------------------------------------------------------------


@needs_sentences
@pytest.mark.parametrize("name", CORPORA)
def test_sentences_and_shipped_embeddings_are_in_one_order(name):
    texts, data = load_texts(name), load_embeddings(name)
    assert len(texts.texts) == len(data.X)
    assert texts.labels.dtype == data.y.dtype == np.int64
    assert np.array_equal(texts.labels, data.y)
    assert np.array_equal(texts.split, data.split)
    assert texts.label_names == data.label_names


def test_an_unknown_corpus_is_refused():
    for load in (load_texts, load_embeddings):
        with pytest.raises(UnknownNameError, match="choose one of sst2, sst5, trec"):
            load("imdb")


def test_a_folder_that_is_not_there_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("QLLM_DATA_DIR", str(tmp_path / "gone"))
    with pytest.raises(DataError, match="QLLM_DATA_DIR is set, but there is no file"):
        load_texts("sst2")


def test_without_folder_and_network_the_error_says_what_to_do(monkeypatch):
    monkeypatch.delenv("QLLM_DATA_DIR", raising=False)
    monkeypatch.setattr("qllm_helpers.text.encoders.HUB_TIMEOUT_SECONDS", 0.001)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", "nowhere")
    with pytest.raises(DataError, match="set QLLM_DATA_DIR to a folder with sst2.csv"):
        load_texts("sst2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a CSV file"),
        (b"sentence,label\nfine,1\n", "must have the columns text, label, split"),
        (b"text,label,split\nfine,7,train\n", "row 1 .* label from 0 to 1"),
        (b"text,label,split\nfine,1,train\ndull,0,dev\n", "row 2 .* is damaged"),
        (b"text,label,split\nfine,1\n", "row 1 .* is damaged"),
        (b"text,label,split\nfine,1,train\n", "is not the corpus 'sst2'"),
        (b"text,label,split\n\xff\xfe,1,train\n", "not a CSV file in UTF-8"),
        (b'text,label,split\n"fine,1,train\n', "not a CSV file"),
    ],
)
def test_a_damaged_file_is_refused(monkeypatch, tmp_path, content, message):
    (tmp_path / "sst2.csv").write_bytes(content)
    monkeypatch.setenv("QLLM_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match=message):
        load_texts("sst2")


@needs_sentences
def test_one_changed_letter_is_noticed(monkeypatch, tmp_path):
    target = tmp_path / "trec.csv"
    shutil.copyfile(FOLDER / "trec.csv", target)
    target.chmod(0o644)
    target.write_bytes(target.read_bytes().replace(b"How", b"Why", 1))
    monkeypatch.setenv("QLLM_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="use encode\\(\\) and the estimators directly"):
        load_texts("trec")


@needs_sentences
def test_rows_from_the_hub_become_the_same_corpus(monkeypatch):
    """The Hub's copies, imitated: their column names, their classes as words for TREC."""
    datasets = pytest.importorskip("datasets")
    texts = load_texts("trec")
    monkeypatch.delenv("QLLM_DATA_DIR")
    hub = {}
    for part in ("train", "test"):
        chosen = np.flatnonzero(texts.split == part)
        hub[part] = datasets.Dataset.from_dict(
            {
                "text": [texts.texts[i] for i in chosen],
                "label_coarse_original": [texts.label_names[texts.labels[i]] for i in chosen],
            }
        )
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    monkeypatch.setattr("datasets.load_dataset", lambda _: datasets.DatasetDict(hub))
    again = load_texts("trec")
    assert again.texts == texts.texts
    assert np.array_equal(again.split, texts.split)
    assert np.array_equal(again.labels, texts.labels)


SHIPPED = files.DATA_DIR
# The embeddings that every stored result row was computed from.
PINNED = {
    ("sst5", MINILM): "73d1376740cc16659019dc2afac9fab0156dfe180470ab857af020ac7fc78c90",
    ("sst5", MPNET): "e877391ae6b3f81333ed2a3672887b85c493dc9fee8c7a0c4fe3e20265504780",
    ("trec", MPNET): "229dce9d358e9fa4a4745ac46140ebf950954d4b743cc19d6079d8415e9eca79",
}


# --- what is shipped ----------------------------------------------------------------------


SIZES = {
    "sst2": (9613, 2, [6920, 872, 1821]),
    "sst5": (11855, 5, [8544, 1101, 2210]),
    "trec": (5952, 6, [5452, 0, 500]),
}
PLACES = [*product(SIZES, [(MPNET, 768)]), *product(["sst2", "sst5"], [(MINILM, 384)])]


@pytest.mark.parametrize(("name", "body"), PLACES)
def test_shapes_and_types(name, body):
    (n, classes, sizes), (encoder, width) = SIZES[name], body
    data = load_embeddings(name, encoder)
    assert data.X.shape == (n, width)
    assert data.X.dtype == np.float32
    assert data.y.shape == data.split.shape == (n,)
    assert data.y.dtype == np.int64
    assert np.unique(data.y).tolist() == list(range(classes))
    assert len(data.label_names) == classes
    assert [int(np.sum(data.split == part)) for part in ("train", "validation", "test")] == sizes
    assert np.abs(np.linalg.norm(data.X, axis=1) - 1).max() < 1e-3


@pytest.mark.parametrize("encoder", [MINILM, MPNET])
def test_sst2_is_sst5_without_its_neutral_sentences(encoder):
    two, five = (load_embeddings(name, encoder) for name in ("sst2", "sst5"))
    kept = five.y != 2
    assert np.array_equal(two.X, five.X[kept])
    assert np.array_equal(two.y, five.y[kept] > 2)
    assert np.array_equal(two.split, five.split[kept])


def test_a_caller_cannot_change_what_the_next_one_gets():
    first = load_embeddings("trec")
    first.X[:] = 0
    first.y[:] = 0
    assert np.abs(load_embeddings("trec").X).max() > 0


@pytest.mark.parametrize(("name", "encoder"), PINNED)
def test_the_shipped_files_are_the_pinned_ones(name, encoder):
    assert sha256(data_path(shipped_file(name, encoder))) == PINNED[name, encoder]


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


# --- damage -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("corpus", "encoder", "remedy"),
    [
        ("trec", MPNET, "'qllm embed trec'"),
        ("sst5", MINILM, f"'qllm embed sst5 --encoder {MINILM}'"),
    ],
)
def test_a_flipped_byte_is_noticed(data_copy, corpus, encoder, remedy):
    name = shipped_file(corpus, encoder)
    content = bytearray((SHIPPED / name).read_bytes())
    (data_copy / name).write_bytes(content)
    assert len(load_embeddings(corpus, encoder).X) == SIZES[corpus][0]
    content[100_000] ^= 1
    (data_copy / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{corpus}--{encoder}.safetensors is damaged.*{remedy}"):
        load_embeddings(corpus, encoder)


def test_a_missing_file_and_a_missing_line_are_errors(data_copy):
    with pytest.raises(DataError, match="is missing.*qllm embed sst5"):
        load_embeddings("sst2")
    shutil.copyfile(data_copy / shipped_file("trec"), data_copy / "more")
    with pytest.raises(DataError, match="has no line in SHA256SUMS"):
        read_verified("more")
    (data_copy / files.MANIFEST_NAME).write_text("nonsense\n")
    with pytest.raises(DataError, match="is damaged at 'nonsense'"):
        read_manifest()
    with pytest.raises(ValueError, match="only shipped files"):
        read_verified("../elsewhere")


@pytest.fixture
def own_corpus(monkeypatch, tmp_path):
    """Four sentences that pass for TREC, and an empty cache."""
    content = b"text,label,split\nwho,3,train\nwhere,4,train\nWho ,3,test\nwhen,5,test\n"
    (tmp_path / "trec.csv").write_bytes(content)
    monkeypatch.setenv("QLLM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(CORPORA["trec"], "digest", sha256(content))
    return tmp_path


def test_another_encoder_encodes_once_and_is_kept(own_corpus, monkeypatch, small_body):
    data = load_embeddings("trec", small_body)
    assert data.X.shape == (4, 16)
    assert data.split.tolist() == ["train", "train", "test", "test"]
    monkeypatch.setattr("qllm_helpers.text.corpora.encode", None)
    assert np.array_equal(load_embeddings("trec", small_body).X, data.X)


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


def test_embed_writes_the_file_of_the_second_encoder_too(data_copy, own_corpus, monkeypatch):
    def encoded(texts, encoder, **_):
        return np.full((len(texts), 3), 0.5)

    monkeypatch.setattr("qllm_helpers.text.corpora.encode", encoded)
    monkeypatch.setattr("qllm_helpers.text.corpora.shared_encoder", lambda _: None)
    result = CliRunner().invoke(main, ["embed", "trec", "--encoder", MINILM])
    assert result.exit_code == 0, result.output
    assert load_embeddings("trec", MINILM).X.tolist() == [[0.5] * 3] * 4
    assert load_embeddings("trec", MINILM).y.tolist() == [3, 4, 3, 5]
    assert shipped_file("trec", MINILM) in read_manifest()


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
