"""Rows as a chapter reads them: their kind, and what computing them again gives."""

from qllm_helpers.studies import run
from qllm_helpers.studies.table import COLUMNS, load_results


def test_every_kind_of_head_has_its_name():
    rows = load_results("paper")
    found = rows.drop_duplicates("head").set_index("head")["kind"]
    expected = {
        "LogisticRegression": "linear",
        "4 modes, 2 photons": "photonic",
        "linear map of rank 4": "linear map",
        "8 modes, 2 photons, occupation": "occupation",
        "8 modes, 2 photons, two-stage E = 2": "two-stage",
        "8 modes, 2 photons, fidelity kernel": "fidelity kernel",
        "8 modes, 2 photons, outputs unscaled": "outputs unscaled",
        "36 random Fourier features": "random Fourier features",
    }
    assert found[list(expected)].to_dict() == expected
    names = ("distinguishable", "frozen", "cosine", "linear")
    twins = rows[rows["twin"].isin(names)]
    assert (twins["kind"] == twins["twin"] + " twin").all()
    assert found.value_counts()[[f"{name} twin" for name in names]].tolist() == [4] * 4


def test_rows_can_be_computed_again(monkeypatch):
    row = dict.fromkeys(COLUMNS) | {
        **{"study": "paper", "head": "h", "seed": 0, "fine_tuned": False},
        **{"test_accuracy": 0.75, "n_train": 435, "n_test": 9101, "samples_per_class": 256},
    }
    monkeypatch.setattr(run, "run_study", lambda units, n_jobs: [row])
    table = run.study_rows("paper", recompute=True)
    assert table["test_accuracy"].tolist() == [0.75]
    assert not table["fine_tuned"].any()
