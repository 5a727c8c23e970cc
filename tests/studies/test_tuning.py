"""Heads along the tuning of their body."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from qllm_helpers.studies import tuning
from qllm_helpers.studies.data import outside_pool, study_split
from qllm_helpers.text.corpora import load_embeddings


@pytest.fixture
def bodies(monkeypatch):
    """Stages that are the frozen vectors, once as they are and once without the first half."""

    def stages(unit, seed, recipe):
        X = load_embeddings("sst2").X[np.concatenate(tuning._parts(unit, seed))]
        return {0.0: X, 1.0: X[:, 384:]}

    monkeypatch.setattr(tuning, "_bodies", stages)
    heads = ("LogisticRegression, C = 1", "8 modes, 2 photons")
    monkeypatch.setattr(tuning, "HEADS", {"finetune": heads})


def test_every_head_is_fitted_on_every_stage_of_the_same_sentences(bodies):
    table = tuning.tuning_table([0, 3], n_jobs=1)
    assert len(table) == 2 * 2 * 2 * 2
    data = load_embeddings("sst2")
    train, test = tuning._parts(tuning._units()[0], 3)
    regression = LogisticRegression(max_iter=5000)
    for passes, columns in ((0.0, slice(None)), (1.0, slice(384, None))):
        X = data.X[:, columns]
        known = table[(table["seed"] == 3) & (table["passes"] == passes)]
        known = known[known["head"].str.startswith("Log")]
        score = regression.fit(X[train], data.y[train]).score(X[test], data.y[test])
        assert known["test_accuracy"].tolist() == [score] * 2


def test_the_sentences_that_are_asked_decide_verdicts_and_train_nothing():
    units = tuning._units()
    unit = units[0]
    train, test = tuning._parts(unit, 5)
    split = study_split("sst2", unit.encoder, "paper", 256, 5)
    assert np.array_equal(train, split.train) and set(test) <= set(split.test)
    assert len(set(test)) == tuning.N_TEST
    assert outside_pool("sst2", unit.encoder, "paper")[test].all()
    heads = [head for heads in tuning.HEADS.values() for head in heads]
    assert [one.head for one in units] == [head for head in heads for _ in range(2)]
    assert [one.fine_tuned for one in units] == [False, True] * len(heads)
