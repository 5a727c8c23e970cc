"""Pairs, verdicts, budgets and fronts on tables whose answer is known."""

import json

import numpy as np
import pandas as pd
import pytest
from qllm_helpers.results.statistics import (
    difference_tests,
    equivalence,
    paired_differences,
    pareto_front,
    summarise,
)

from qllm_helpers.results.budget import budget_gain, front_stability
from qllm_helpers.results.contrasts import (
    kinds,
    match_heads,
    paired_table,
    pooled_table,
    study_rows,
    verdict,
)

SEEDS = range(12)
NOISE = {name: np.random.default_rng(k).normal(0, 0.004, 12) for k, name in enumerate("abcdef")}
COMMON = np.random.default_rng(9).normal(0, 0.01, 12)


def head_rows(head, values, *, family="photonic", cost=10, **columns):
    """Rows of one head, one per seed."""
    configuration = {"n_encoders": columns.pop("n_encoders")} if "n_encoders" in columns else {}
    base = {
        "head": head,
        "family": family,
        "estimator": "PhotonicClassifier",
        "protocol": "paper",
        "fine_tuned": False,
        "readout": None,
        "twin": None,
        "n_modes": pd.NA,
        "n_photons": pd.NA,
        "n_test": 9101,
        "configuration": json.dumps(configuration),
        "n_parameters": cost,
        "n_effective_parameters": cost,
    }
    return [
        base | columns | {"seed": seed, "test_accuracy": value, "validation_accuracy": value}
        for seed, value in zip(SEEDS, values, strict=True)
    ]


@pytest.fixture
def rows():
    """Four modes equal their linear map; eight modes are two points better; a cheap baseline."""
    base = 0.76 + COMMON
    size4, size8 = {"n_modes": 4, "n_photons": 2}, {"n_modes": 8, "n_photons": 2}
    table = [
        *head_rows("LogisticRegression", base, family="linear", estimator="Logistic", cost=5),
        *head_rows("4m", base + 0.2 * NOISE["a"], cost=20, **size4),
        *head_rows("8m", base + 0.02 + NOISE["b"], cost=40, **size8),
        *head_rows("rank 4", base, family="twin", twin="identity", cost=12, n_modes=4),
        *head_rows("rank 8", base + NOISE["c"], family="twin", twin="identity", cost=24, n_modes=8),
        *head_rows("4m cosine", base, family="twin", twin="cosine", cost=20, **size4),
        *head_rows("4m occupation", base, readout="occupation", cost=18, **size4),
        *head_rows("4m stages", base, n_encoders=2, cost=50, **size4),
        *head_rows("kernel", base, estimator="PhotonicKernelClassifier", **size4),
    ]
    return pd.DataFrame(table).astype({"n_modes": "Int64", "n_photons": "Int64"})


def test_every_kind_of_head_has_its_name(rows):
    found = dict(zip(rows["head"], kinds(rows), strict=True))
    assert found == {
        "LogisticRegression": "linear",
        "4m": "photonic",
        "8m": "photonic",
        "rank 4": "linear map",
        "rank 8": "linear map",
        "4m cosine": "cosine twin",
        "4m occupation": "occupation",
        "4m stages": "two-stage",
        "kernel": "fidelity kernel",
    }


def test_heads_are_matched_by_size(rows):
    assert match_heads(rows, "photonic", "linear map") == [("4m", "rank 4"), ("8m", "rank 8")]
    assert match_heads(rows, "photonic", "cosine twin") == [("4m", "4m cosine")]
    assert match_heads(rows, "two-stage", "photonic") == [("4m stages", "4m")]
    with pytest.raises(ValueError, match="no head of kind 'photonic' has a 'frozen twin'"):
        match_heads(rows, "photonic", "frozen twin")
    twice = pd.concat([rows, rows[rows["head"] == "rank 4"].assign(head="again")])
    with pytest.raises(ValueError, match="same size"):
        match_heads(twice, "photonic", "linear map")


def test_a_pair_is_tested_as_the_general_functions_do(rows):
    pair = rows[rows["head"].isin(["8m", "rank 8"])]
    ours = paired_table(pair, [("8m", "rank 8")]).iloc[0]
    theirs = paired_differences(pair, "rank 8").iloc[0]
    for name in ("difference", "low", "high", "std", "p_value"):
        assert ours[name] == pytest.approx(theirs[name])
    bound = equivalence(pair, "rank 8", margin=0.01).iloc[0]
    assert ours["p_equivalence"] == pytest.approx(bound["p_value"])


def test_verdicts_follow_the_tests(rows):
    table = paired_table(rows, match_heads(rows, "photonic", "linear map"))
    same, better = table.to_dict("records")
    assert same["equivalent"]
    assert "12 seeds: the same within 1 point" in verdict(same)
    assert verdict(better).endswith("seeds: better")
    assert verdict(better).startswith(f"{100 * better['difference']:+.2f} points [")
    scattered = {**better, "p_corrected": 0.2}
    assert "undecided" in verdict(scattered)
    assert verdict({**same, "p_corrected": 0.01, "difference": -0.003}).endswith("measurably worse")


def test_p_values_are_corrected_for_the_table(rows):
    table = paired_table(rows, [("8m", "rank 8"), ("4m", "rank 4"), ("rank 8", "rank 4")])
    assert (table["p_corrected"] >= table["p_value"]).all()
    assert table.loc[0, "p_corrected"] == pytest.approx(min(1, 3 * table.loc[0, "p_value"]))


def test_a_pool_has_one_number_a_seed(rows):
    pairs = match_heads(rows, "photonic", "linear map")
    pool = pooled_table(rows, {"linear map": pairs}).iloc[0]
    each = paired_table(rows, pairs)
    assert pool["difference"] == pytest.approx(each["difference"].mean())
    assert (pool["n_seeds"], pool["n_pairs"]) == (12, 2)


def test_differences_without_spread_have_sure_answers():
    table = difference_tests({"none": np.zeros(3), "large": np.full(3, 0.02)})
    assert table["p_value"].tolist() == [1, 0]
    assert table["equivalent"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("pairs", "match"), [([], "no pairs"), ([("4m", "lost")], "lost"), ([("4m", "4m")], "")]
)
def test_impossible_pairs_are_refused(rows, pairs, match):
    if match:
        with pytest.raises(ValueError, match=match):
            paired_table(rows, pairs)
    else:
        with pytest.raises(ValueError, match="two seeds"):
            paired_table(rows[rows["seed"] == 0], [("4m", "8m")])


def test_a_budget_buys_the_best_head_on_validation(rows):
    table = budget_gain(rows, [11, 20, 1000])
    assert table["budget"].tolist() == [20, 1000]  # 11 buys no circuit
    assert table[["n_candidates", "n_references"]].to_numpy().tolist() == [[1, 2], [2, 3]]
    assert table.loc[1, "difference"] == pytest.approx(0.02, abs=0.006)
    with pytest.raises(ValueError, match="no budget"):
        budget_gain(rows, [1])


def test_budget_ignores_heads_without_a_count(rows):
    unknown = rows.assign(
        n_effective_parameters=rows["n_effective_parameters"]
        .astype("Int64")
        .mask(rows["head"] == "8m")
    )
    assert budget_gain(unknown, [1000]).loc[0, "n_candidates"] == 1


def test_front_is_the_one_of_the_means_and_its_shares_are_certain_where_nothing_varies(rows):
    chosen = rows[rows["head"].isin(["LogisticRegression", "4m", "8m", "rank 8"])]
    table = front_stability(chosen, n_resamples=200)
    assert table["head"].tolist() == ["LogisticRegression", "4m", "rank 8", "8m"]
    share = table.set_index("head")["share"]
    assert share["LogisticRegression"] == 1  # the cheapest head is always on it
    assert share["8m"] == 1  # far above the others on every seed
    means = summarise(chosen)
    front = set(means.loc[pareto_front(means), "head"])
    assert set(share[share > 0.5].index) <= front | {"rank 8", "4m"}
    assert table.equals(front_stability(chosen, n_resamples=200))


def test_front_needs_counts_and_common_seeds(rows):
    with pytest.raises(ValueError, match="no head has a count"):
        front_stability(rows.assign(n_parameters=pd.NA))
    apart = rows[(rows["head"] == "4m") == (rows["seed"] < 6)]
    with pytest.raises(ValueError, match="no seed is common"):
        front_stability(apart)


def test_rows_can_be_computed_again(monkeypatch):
    from qllm_helpers.studies import run as study
    from qllm_helpers.studies.table import COLUMNS

    row = dict.fromkeys(COLUMNS) | {
        **{"study": "paper", "head": "h", "seed": 0, "fine_tuned": False},
        **{"test_accuracy": 0.75, "n_train": 435, "n_test": 9101, "samples_per_class": 256},
    }
    monkeypatch.setattr(study, "run_study", lambda units, n_jobs: [row])
    table = study_rows("paper", recompute=True)
    assert table["test_accuracy"].tolist() == [0.75]
    assert not table["fine_tuned"].any()
