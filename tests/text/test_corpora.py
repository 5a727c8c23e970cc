"""Sentences and the texts that occur more than once: order, digests, clear errors."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from qllm_helpers.files import DataError, UnknownNameError
from qllm_helpers.text.corpora import (
    CORPORA,
    duplicate_groups,
    find_duplicates,
    load_embeddings,
    load_texts,
)

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
