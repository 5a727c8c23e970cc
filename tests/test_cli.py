"""Commands from a reader's side: labels for sentences, and a study on a body of their own."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from qllm_helpers.classifiers.saved import label_sentences, save_head, train_head
from qllm_helpers.cli import main

REVIEWS = ["a warm, witty and wonderful film", "a dull, empty and stupid waste of time"]


def run(*words, **options):
    return CliRunner().invoke(main, ["predict", *words], **options)


@pytest.fixture(scope="module")
def trained():
    return train_head(n_modes=4, n_photons=1)


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("heads") / "head.safetensors"
    return save_head(trained.head, path, label_names=trained.head.label_names_)


def test_training_gives_the_scores_of_the_head(trained):
    assert (trained.n_train, trained.n_test) == (435, 9101)
    assert 0.8 < trained.test_accuracy < 0.93
    assert 0.82 < trained.reference_accuracy < 0.92


def test_plain_reviews_get_the_plain_answer(trained):
    table = label_sentences(trained.head, REVIEWS)
    assert table["label"].tolist() == ["positive", "negative"]
    assert table[["negative", "positive"]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert list(table.columns) == ["sentence", "label", "negative", "positive"]


def test_trains_saves_and_loads(tmp_path):
    path = tmp_path / "mine.safetensors"
    short = ["--modes", "4", "--photons", "1", "--epochs", "5", "--save", str(path)]
    first = run(*REVIEWS, *short)
    assert first.exit_code == 0, first.output
    assert "Trained on 435 sentences of sst2" in first.stderr
    assert "logistic regression: 0." in first.stderr and f"saved to {path}" in first.stderr
    again = run(*REVIEWS, "--head", str(path))
    assert again.exit_code == 0 and again.stdout == first.stdout
    assert [line.split()[0] for line in again.stdout.splitlines()][0] == "label"


def test_json_and_lines_of_a_file(saved):
    found = run("--head", str(saved), "--json", "--file", "-", input="\n".join([*REVIEWS, ""]))
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert [line["sentence"] for line in lines] == REVIEWS
    assert [line["label"] for line in lines] == ["positive", "negative"]
    assert sum(lines[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_six_classes_have_names():
    found = run("how many modes are there ?", "--data", "trec", "--modes", "4", "--epochs", "3")
    assert found.exit_code == 0, found.output
    assert "Trained on 326 sentences of trec" in found.stderr
    assert found.stdout.split()[1:7] == ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give at least one sentence"),
        (["a film", " "], "sentence number 2 is empty"),
        (["a film", "--data", "sst3"], "unknown dataset 'sst3'"),
        (["a film", "--modes", "0"], "n_modes"),
        (["a film", "--photons", "0"], "n_photons"),
        (["a film", "--seed", "-1"], "seed must be"),
        (["a film", "--head", "none.safetensors"], "there is no file none.safetensors"),
        (["a film", "--head", "x", "--data", "sst2"], "give it without --data"),
    ],
)
def test_wrong_use_gets_one_clear_line(words, message):
    found = run(*words)
    assert found.exit_code != 0
    assert message in found.stderr
    assert found.stdout == "" and "Traceback" not in found.stderr


def test_a_head_for_other_vectors_is_refused(tmp_path):
    import numpy as np

    from qllm_helpers import MLPClassifier

    X, y = np.eye(4, 5, dtype=np.float32), [0, 1, 0, 1]
    path = save_head(MLPClassifier(hidden_dims=(), epochs=1).fit(X, y), tmp_path / "h")
    found = run("a film", "--head", str(path))
    assert found.exit_code == 1 and "the head reads 5 features" in found.stderr


def test_nothing_is_loaded_that_could_run_code(tmp_path):
    import joblib

    path = tmp_path / "head.joblib"
    joblib.dump({"any": "object"}, path)
    found = run("a film", "--head", str(path))
    assert found.exit_code == 1 and "no safetensors file" in found.stderr


@pytest.mark.skipif(
    not Path(os.environ.get("QLLM_DATA_DIR", "nowhere"), "sst2.csv").is_file(),
    reason="the sentences are not here: set QLLM_DATA_DIR",
)
def test_a_study_on_a_readers_body_stands_beside_the_shipped_one(small_body, tmp_path, monkeypatch):
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    words = ["study", "paper", "--encoder", small_body, "--seeds", "3", "--entries", "*, C = 1"]
    result = CliRunner().invoke(main, [*words, "--quiet", "--jobs", "1"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "paper-part.csv").is_file()
    for body in (small_body, "all-mpnet-base-v2"):
        line = f"A support vector machine beats logistic regression ({body}, frozen): "
        assert result.output.count(line) == 1
    mine = next(
        line for line in result.output.splitlines() if small_body in line and "beats" in line
    )
    assert ", 3 seeds: " in mine
