"""The two protocols: sizes, disjointness, no text on two sides, clear errors."""

import os
from pathlib import Path

import numpy as np
import pytest

from qllm_helpers.text.corpora import duplicate_groups, load_embeddings, load_texts
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
