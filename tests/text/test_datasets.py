"""The corpora and the two protocols: sizes, disjointness, no text on two sides, clear errors."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from qllm_helpers.files import DataError, UnknownNameError
from qllm_helpers.text.corpora import CORPORA, duplicate_groups, find_duplicates, load_texts
from qllm_helpers.text.embeddings import load_embeddings
from qllm_helpers.text.protocols import few_shot_split, paper_split

FOLDER = Path(os.environ.get("QLLM_DATA_DIR", "nowhere"))
needs_sentences = pytest.mark.skipif(
    not (FOLDER / "sst2.csv").is_file(), reason="the sentences are not here: set QLLM_DATA_DIR"
)
SST2 = load_embeddings("sst2")


def parts(split):
    return split.train, split.validation, split.test


# --- the paper's protocol -----------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 19, 12345])
def test_paper_split_has_the_paper_s_sizes(seed):
    split = paper_split(SST2.y, seed)
    assert [len(part) for part in parts(split)] == [435, 77, 9101]
    assert np.array_equal(np.sort(np.concatenate(parts(split))), np.arange(9613))
    sample = SST2.y[np.concatenate([split.train, split.validation])]
    assert np.bincount(sample).tolist() == [256, 256]
    assert abs(np.bincount(SST2.y[split.train]) - 217.5).max() == 0.5


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    one, same, other = (paper_split(SST2.y, seed) for seed in (3, 3, 4))
    assert all(map(np.array_equal, parts(one), parts(same)))
    assert not np.array_equal(one.train, other.train)
    few = [few_shot_split(SST2.y, SST2.split, seed) for seed in (3, 3, 4)]
    assert np.array_equal(few[0].train, few[1].train)
    assert not np.array_equal(few[0].train, few[2].train)


def test_splits_do_not_touch_the_global_generator():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    paper_split(SST2.y, 0)
    assert np.array_equal(before, np.random.get_state()[1])


def test_paper_split_works_for_any_labels():
    y = np.array(["b", "a", "c"] * 40)
    split = paper_split(y, 0, samples_per_class=20)
    assert [len(part) for part in parts(split)] == [51, 9, 60]
    assert duplicate_groups(y) == []
    assert duplicate_groups(SST2.y[:-1]) == []


# --- the few-shot protocol ----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_few_shot_split_has_the_reproduction_s_sizes(seed):
    split = few_shot_split(SST2.y, SST2.split, seed)
    assert [len(part) for part in parts(split)] == [16, 250, 622]
    assert np.bincount(SST2.y[split.train]).tolist() == [8, 8]
    assert set(SST2.split[split.train]) == {"train"}
    held_out = np.concatenate([split.validation, split.test])
    assert np.array_equal(held_out, np.flatnonzero(SST2.split == "validation"))


def test_few_shot_split_of_five_grades():
    data = load_embeddings("sst5")
    split = few_shot_split(data.y, data.split, 0, samples_per_class=4)
    assert [len(part) for part in parts(split)] == [20, 250, 851]


def test_a_corpus_without_validation_part_is_refused():
    data = load_embeddings("trec")
    with pytest.raises(ValueError, match="use paper_split"):
        few_shot_split(data.y, data.split, 0)


# --- repeated texts -----------------------------------------------------------------------


def test_find_duplicates_ignores_case_and_white_space():
    texts = ["a dull film", "a good film", "A  dull\tfilm ", "x", "a good film", "a good film"]
    assert find_duplicates(texts) == [[0, 2], [1, 4, 5]]


def test_repeated_texts_are_known_without_the_sentences():
    groups = duplicate_groups(SST2.y)
    assert len(groups) == 10
    assert sum(map(len, groups)) == 21
    sizes = {name: len(duplicate_groups(load_embeddings(name).y)) for name in ("sst5", "trec")}
    assert sizes == {"sst5": 12, "trec": 75}


@pytest.mark.parametrize("name", ["sst2", "sst5"])
def test_repeated_texts_never_train(name):
    data = load_embeddings(name)
    repeated = {position for group in duplicate_groups(data.y) for position in group}
    for seed in range(30):
        paper = paper_split(data.y, seed)
        few = few_shot_split(data.y, data.split, seed)
        drawn = np.concatenate([paper.train, paper.validation, few.train])
        assert not repeated & set(drawn.tolist())


@needs_sentences
def test_no_sentence_stands_on_two_sides():
    texts = load_texts("sst2")
    plain = np.array([" ".join(text.lower().split()) for text in texts.texts])
    for seed in range(20):
        splits = [paper_split(texts.labels, seed), few_shot_split(texts.labels, texts.split, seed)]
        for split in splits:
            train, validation, test = (set(plain[part]) for part in parts(split))
            assert not (train & validation or train & test or validation & test)


@needs_sentences
@pytest.mark.parametrize("name", CORPORA)
def test_the_shipped_table_of_repeated_texts_is_that_of_the_sentences(name):
    texts = load_texts(name)
    assert duplicate_groups(texts.labels) == find_duplicates(texts.texts)


# --- wrong arguments ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 1]], 0), "vector of labels"),
        (([], 0), "vector of labels"),
        (([1, 1, 1], 0), "two different labels"),
        (([0, 1, 0, 1], -1), "seed must be"),
        (([0, 1, 0, 1], 1.5), "seed must be"),
        (([0, 1, 0, 1], 0), "fewer than"),
    ],
)
def test_paper_split_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        paper_split(*arguments)


@pytest.mark.parametrize("size", [0, -3, 2.5, True])
def test_a_senseless_number_of_samples_is_refused(size):
    with pytest.raises(ValueError, match="samples_per_class"):
        paper_split(SST2.y, 0, samples_per_class=size)


def test_few_shot_split_needs_one_part_a_label():
    with pytest.raises(ValueError, match="one length"):
        few_shot_split(SST2.y, SST2.split[:-1], 0)


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
    assert texts.digest == CORPORA[name].digest


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
    monkeypatch.setattr("qllm_helpers.text.hub.TIMEOUT_SECONDS", 0.001)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", "nowhere")
    with pytest.raises(DataError, match="set QLLM_DATA_DIR to a folder with sst2.csv"):
        load_texts("sst2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must have the columns"),
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
    monkeypatch.setattr("qllm_helpers.text.corpora.require_on_hub", lambda *_, **__: None)
    monkeypatch.setattr("datasets.load_dataset", lambda _: datasets.DatasetDict(hub))
    again = load_texts("trec")
    assert again.texts == texts.texts
    assert again.digest == texts.digest
    assert np.array_equal(again.labels, texts.labels)
