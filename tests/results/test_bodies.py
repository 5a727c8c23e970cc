"""Heads on two bodies: effects that were put into the rows come out, and nothing is mixed up."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from qllm_helpers.results.contrasts import compare
from qllm_helpers.results.selection import select_best
from qllm_helpers.studies.run import load_results

N_SEEDS = 12
DRAW = np.random.default_rng(0)
LUCK = DRAW.normal(0.75, 0.02, N_SEEDS)
# head: family, kind, size, accuracy above the seed's luck, what tuning adds
HEADS = {
    "LogisticRegression": ("linear", "linear", (None, None), 0.0, 0.03),
    "SVC": ("svc", "svc", (None, None), -0.01, 0.03),
    "8 modes, 2 photons": ("photonic", "photonic", (8, 2), 0.0, 0.03),
    "4 modes, 1 photon": ("photonic", "photonic", (4, 1), -0.02, 0.05),
    "8 modes, 2 photons, cosine": ("twin", "cosine twin", (8, 2), -0.01, 0.03),
    "4 modes, 1 photon, cosine": ("twin", "cosine twin", (4, 1), -0.01, 0.03),
}


@pytest.fixture(scope="module")
def rows():
    table = [
        {
            "head": head,
            "family": family,
            "kind": kind,
            "n_modes": size[0],
            "n_photons": size[1],
            "body": body,
            "seed": seed,
            "validation_accuracy": 0.8 + 0.01 * (head.startswith("4") == (body == "tuned")),
            "test_accuracy": LUCK[seed] + level + gain * (body == "tuned") + DRAW.normal(0, 0.002),
        }
        for head, (family, kind, size, level, gain) in HEADS.items()
        for body in ("frozen", "tuned")
        for seed in range(N_SEEDS)
    ]
    return pd.DataFrame(table).astype({"n_modes": "Int64", "n_photons": "Int64"})


@pytest.fixture(scope="module")
def wide(rows):
    return rows.pivot(index="seed", columns=["head", "body"], values="test_accuracy")


def check(row, values):
    """A row of contrasts is the paired t-test of these values."""
    assert row["difference"] == pytest.approx(values.mean())
    low, high = stats.t.interval(0.95, N_SEEDS - 1, values.mean(), stats.sem(values))
    assert [row["low"], row["high"]] == pytest.approx([low, high])
    assert row["p_value"] == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_tuning_is_measured_within_seeds(rows, wide):
    pairs = [((head, "tuned"), (head, "frozen")) for head in HEADS]
    table = compare(rows, pairs, by=["head", "body"])
    assert table["head"].str[0].tolist() == list(HEADS)
    for row, (head, (family, _, _, _, gain)) in zip(table.iloc, HEADS.items(), strict=True):
        check(row, wide[head, "tuned"] - wide[head, "frozen"])
        assert row["difference"] == pytest.approx(gain, abs=0.002)
        assert (row["verdict"], row["family"]) == ("better", family)
    # pairs share the luck of their seed, so the difference is known better than either mean
    for head in HEADS:
        ends = stats.t.interval(0.95, N_SEEDS - 1, scale=stats.sem(wide[head, "frozen"]))
        width = (table["high"] - table["low"])[table["head"].str[0] == head].item()
        assert width < (ends[1] - ends[0]) / 3


def test_heads_are_compared_on_the_same_body_and_corrected_together(rows, wide):
    table = compare(rows, within="body")
    assert len(table) == 2 * (len(HEADS) - 1)
    for row in table.iloc:
        check(row, wide[row["head"], row["body"]] - wide["LogisticRegression", row["body"]])
    found = table.set_index(["head", "body"])["verdict"]
    assert (found["8 modes, 2 photons"] == "equivalent").all()
    assert found["4 modes, 1 photon", "frozen"] == "worse"
    holm = np.sort(table["p_value"]) * np.arange(len(table), 0, -1)
    assert sorted(table["p_corrected"]) == pytest.approx(np.maximum.accumulate(holm).clip(max=1))


def test_an_interaction_is_a_difference_of_differences(rows, wide):
    frozen, tuned = (part for _, part in rows.groupby("body"))
    both = frozen.merge(tuned, on=["head", "family", "seed"], suffixes=("", "_tuned"))
    gain = both["test_accuracy_tuned"] - both["test_accuracy"]
    table = compare(both.assign(gain=gain), value="gain").set_index("head")
    gains = {head: wide[head, "tuned"] - wide[head, "frozen"] for head in HEADS}
    check(table.loc["4 modes, 1 photon"], gains["4 modes, 1 photon"] - gains["LogisticRegression"])
    assert table.loc["4 modes, 1 photon", "difference"] == pytest.approx(0.02, abs=0.002)
    assert table["verdict"].value_counts().to_dict() == {"better": 1, "equivalent": 4}


def test_an_unequal_comparison_adds_the_body_to_the_head(rows, wide):
    pair = (("8 modes, 2 photons", "tuned"), ("SVC", "frozen"))
    row = compare(rows, [pair], by=["head", "body"]).iloc[0]
    check(row, wide["8 modes, 2 photons", "tuned"] - wide["SVC", "frozen"])
    assert row["difference"] > 0.035


def test_a_family_chooses_on_validation_for_each_body(rows):
    best = select_best(rows, within=["family", "body"])
    photonic = best[best["family"] == "photonic"].groupby("body")["head"].unique()
    assert photonic["frozen"].tolist() == ["8 modes, 2 photons"]
    assert photonic["tuned"].tolist() == ["4 modes, 1 photon"]


def test_two_bodies_at_once_and_a_head_on_one_body_are_refused(rows):
    with pytest.raises(ValueError, match="fine_tuned"):
        compare(rows)
    some = rows[(rows["head"] != "SVC") | (rows["body"] == "frozen")]
    with pytest.raises(ValueError, match="no rows of"):
        compare(some, [(("SVC", "tuned"), ("SVC", "frozen"))], by=["head", "body"])


def test_two_encoders_of_qubits_are_no_two_stage_photonic_head():
    heads = load_results("qubits").drop_duplicates("head").set_index("head")["kind"]
    assert heads["10 qubits, multi"] == "qubit"
    assert "two-stage" not in set(heads)
