"""What CONTRIBUTING.md tells a newcomer works as it stands there, without touching the library."""

import csv
import hashlib
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from qllm_helpers import count_parameters, fit_many
from qllm_helpers.studies import grid as study_grid
from qllm_helpers.studies.run import load_units, run_study
from qllm_helpers.text import corpora
from qllm_helpers.text.corpora import load_embeddings, load_texts, write_embeddings
from qllm_helpers.text.protocols import few_shot_split

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(language):
    """The blocks of code in one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """What a newcomer has after typing in the guide: a module, and a folder with its grid."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(study_grid, "KNOWN", {})
    monkeypatch.delitem(sys.modules, "waves", raising=False)
    (grid,) = (block for block in blocks("toml") if "[waves]" in block)
    Path("waves.toml").write_text(grid, encoding="utf-8")
    head, estimator, study = blocks("python")
    Path("waves.py").write_text(head + estimator, encoding="utf-8")
    names = {"__name__": "newcomer"}
    exec(compile(study, "CONTRIBUTING.md", "exec"), names)
    return names | vars(sys.modules["waves"])


def test_a_new_head_runs_through_a_study(newcomer):
    rows, answer = newcomer["rows"], newcomer["answer"]
    assert list(rows["head"].unique()) == ["LogisticRegression", "2 waves", "4 waves"]
    assert (rows.groupby("head")["seed"].nunique() == 3).all()
    assert rows["test_accuracy"].between(0.4, 0.9).all()
    assert set(answer["head"]) == {"2 waves", "4 waves"}
    waves = rows[rows["head"] == "4 waves"].iloc[0]
    assert (waves["family"], waves["n_parameters"]) == ("mlp", 768 * 4 + 4 + 4 * 2 + 2)


def test_the_study_of_a_new_head_can_be_repeated(newcomer, tmp_path):
    units = load_units("waves", path=Path("waves.toml"), heads="2 waves")
    again = run_study(units, store=tmp_path / "again")
    rows = newcomer["rows"]
    first = rows.loc[rows["head"] == "2 waves", "test_accuracy"]
    assert [row["test_accuracy"] for row in again] == list(first)


def test_a_new_head_follows_the_rules_of_heads(newcomer):
    data = load_embeddings("sst2")
    splits = [few_shot_split(data.y, data.split, seed) for seed in (0, 1)]
    estimator = newcomer["WaveClassifier"](n_waves=3, epochs=5)
    together = fit_many(estimator, data.X, data.y, splits, (0, 1))
    alone = fit_many(estimator, data.X, data.y, splits[1:], (1,))[0]
    sample = data.X[:50]
    assert np.allclose(together[1].predict_proba(sample), alone.predict_proba(sample), atol=1e-5)
    counted = count_parameters(alone, sample)
    assert counted.nominal.encoder == 768 * 3 + 3
    assert counted.nominal.readout == 3 * 2 + 2
    assert counted.live.total <= counted.nominal.total


def test_a_new_dataset_is_read_and_encoded(tmp_path, monkeypatch):
    rows = [("a warm film", 1, "train"), ("a cold film", 0, "train"), ("dull", 0, "test")]
    path = tmp_path / "toy.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([("text", "label", "split"), *rows])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    names = ["negative", "positive"]
    toy = {"hub": "nobody/toy", "label_names": names, "digest": digest}
    monkeypatch.setitem(corpora.CORPORA, "toy", toy)
    monkeypatch.setenv("QLLM_DATA_DIR", str(tmp_path))
    assert load_texts("toy").texts == [text for text, _, _ in rows]
    written = write_embeddings("toy", output=tmp_path / "toy.safetensors")
    monkeypatch.setattr(corpora, "read_verified", lambda *_, **__: written.read_bytes())
    loaded = load_embeddings("toy")
    assert loaded.X.shape == (3, 768)
    assert (list(loaded.y), list(loaded.split)) == ([1, 0, 0], ["train", "train", "test"])


def test_the_picture_shows_the_rooms_of_the_code():
    picture = blocks("text")[0].splitlines()
    shown = [line.strip(" |").split()[0] for line in picture if line.startswith("      | ")]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    assert shown == [name for name in reversed(layers) if name not in ("files", "checks")]
