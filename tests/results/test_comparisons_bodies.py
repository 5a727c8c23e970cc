"""Bodies and heads: effects that were put into the rows come out, and nothing is mixed up."""

import numpy as np
import pandas as pd
import pytest
from qllm_helpers.figures.bodies import bodies_by_head
from scipy import stats

from qllm_helpers.results.bodies import (
    body_contrasts,
    both_bodies,
    chosen_by_family,
    label_similarity,
    twin_effects,
    two_way_table,
    variance_shares,
)

N_SEEDS = 12
DRAW = np.random.default_rng(0)
LUCK = DRAW.normal(0.75, 0.02, N_SEEDS)
# head: family, twin, accuracy above the seed's luck, what tuning adds
HEADS = {
    "LogisticRegression": ("linear", None, 0.0, 0.03),
    "SVC": ("svc", None, -0.01, 0.03),
    "8 modes, 2 photons": ("photonic", None, 0.0, 0.03),
    "4 modes, 1 photon": ("photonic", None, -0.02, 0.05),
    "8 modes, 2 photons, cosine": ("twin", "cosine", -0.01, 0.03),
    "4 modes, 1 photon, cosine": ("twin", "cosine", -0.01, 0.03),
}


def size(head, word):
    found = [part.split()[0] for part in head.split(", ") if part.split()[-1].startswith(word)]
    return int(found[0]) if found else pd.NA


@pytest.fixture(scope="module")
def rows():
    table = [
        {
            "head": head,
            "family": family,
            "twin": twin,
            "estimator": "",
            "readout": None,
            "configuration": "{}",
            "n_modes": size(head, "mode"),
            "n_photons": size(head, "photon"),
            "fine_tuned": tuned,
            "seed": seed,
            "validation_accuracy": 0.8 + 0.01 * (head.startswith("4") == tuned),
            "validation_loss": 0.5,
            "test_accuracy": LUCK[seed] + level + tuned * gain + DRAW.normal(0, 0.002),
        }
        for head, (family, twin, level, gain) in HEADS.items()
        for tuned in (False, True)
        for seed in range(N_SEEDS)
    ]
    return pd.DataFrame(table).astype({"n_modes": "Int64", "n_photons": "Int64"})


@pytest.fixture(scope="module")
def wide(rows):
    return rows.pivot(index="seed", columns=["head", "fine_tuned"], values="test_accuracy")


def check(table, key, values):
    """A row of contrasts is the paired t-test of these values."""
    head, body = key
    row = table[(table["head"] == head) & (table["body"] == body)].iloc[0]
    assert row["difference"] == pytest.approx(values.mean())
    low, high = stats.t.interval(0.95, N_SEEDS - 1, values.mean(), stats.sem(values))
    assert [row["low"], row["high"]] == pytest.approx([low, high])
    assert row["p_value"] == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    return row


def test_tuning_is_measured_within_seeds(rows, wide):
    table = body_contrasts(rows, "body")
    assert table["head"].tolist() == list(HEADS)
    for head, (family, _, _, gain) in HEADS.items():
        row = check(table, (head, "tuned - frozen"), wide[head, True] - wide[head, False])
        assert row["difference"] == pytest.approx(gain, abs=0.002)
        assert row["p_corrected"] < 0.05
        assert row["family"] == family


def test_heads_are_compared_on_the_same_body(rows, wide):
    table = body_contrasts(rows, "head")
    assert len(table) == 2 * (len(HEADS) - 1)
    for tuned, body in ((False, "frozen"), (True, "tuned")):
        values = wide["4 modes, 1 photon", tuned] - wide["LogisticRegression", tuned]
        check(table, ("4 modes, 1 photon", body), values)
    equal = table[table["head"] == "8 modes, 2 photons"]
    assert equal["equivalent"].all()
    worse = table[(table["head"] == "4 modes, 1 photon") & (table["body"] == "frozen")].iloc[0]
    assert worse["p_corrected"] < 0.05
    holm = np.sort(table["p_value"]) * np.arange(len(table), 0, -1)
    assert sorted(table["p_corrected"]) == pytest.approx(np.maximum.accumulate(holm).clip(max=1))


def test_an_interaction_is_a_difference_of_differences(rows, wide):
    table = body_contrasts(rows, "interaction")
    gains = {head: wide[head, True] - wide[head, False] for head in HEADS}
    values = gains["4 modes, 1 photon"] - gains["LogisticRegression"]
    found = check(table, ("4 modes, 1 photon", "tuned - frozen"), values)
    assert found["difference"] == pytest.approx(0.02, abs=0.002)
    assert found["p_corrected"] < 0.05
    others = table[table["head"] != "4 modes, 1 photon"]
    assert others["equivalent"].all()
    assert (others["p_corrected"] > 0.05).all()


def test_an_unequal_comparison_adds_the_body_to_the_head(rows, wide):
    table = body_contrasts(rows, "unequal", "SVC")
    values = wide["8 modes, 2 photons", True] - wide["SVC", False]
    assert check(table, ("8 modes, 2 photons", "tuned"), values)["difference"] > 0.035
    assert "SVC" not in set(table["head"])


def test_the_two_way_table_holds_means_and_the_paired_difference(rows, wide):
    table = two_way_table(rows)
    assert table.index.tolist() == list(HEADS)
    assert table.loc["SVC", ("tuned", "mean")] == pytest.approx(wide["SVC", True].mean())
    values = wide["SVC", False]
    low, high = stats.t.interval(0.95, N_SEEDS - 1, values.mean(), stats.sem(values))
    assert table.loc["SVC", ("frozen", "low")] == pytest.approx(low)
    assert table.loc["SVC", ("frozen", "high")] == pytest.approx(high)
    gain = table["tuned", "mean"] - table["frozen", "mean"]
    assert table["tuned - frozen", "mean"].tolist() == pytest.approx(gain.tolist())
    # pairs share the luck of their seed, so the difference is known better than either mean
    width = {
        name: table[name, "high"] - table[name, "low"] for name in ("frozen", "tuned - frozen")
    }
    assert (width["tuned - frozen"] < width["frozen"] / 3).all()


def test_a_family_chooses_on_validation_for_each_body(rows):
    chosen = chosen_by_family(rows)
    photonic = chosen[chosen["head"] == "photonic"].groupby("body")["chosen"].unique()
    assert photonic["frozen"].tolist() == ["8 modes, 2 photons"]
    assert photonic["tuned"].tolist() == ["4 modes, 1 photon"]
    assert two_way_table(chosen).index.tolist() == ["linear", "svc", "photonic", "twin"]


def test_twins_are_matched_by_size_and_averaged_within_seeds(rows, wide):
    table = twin_effects(rows, ["cosine twin"])
    assert table["head"].tolist() == ["cosine twin"] * 2
    for tuned, body in ((False, "frozen"), (True, "tuned")):
        pairs = [
            wide[head, tuned] - wide[f"{head}, cosine", tuned]
            for head in ("8 modes, 2 photons", "4 modes, 1 photon")
        ]
        check(table, ("cosine twin", body), sum(pairs) / 2)


def test_shares_of_the_variation_follow_from_the_sums_of_squares(rows, wide):
    shares = variance_shares(rows)
    assert shares.sum() == pytest.approx(1)
    centred = wide - wide.to_numpy().mean()
    total = (centred**2).to_numpy().sum()
    by_body = centred.T.groupby("fine_tuned").mean().mean(axis=1)
    assert shares["body"] == pytest.approx((by_body**2).sum() * wide.size / 2 / total)
    by_seed = centred.mean(axis=1)
    assert shares["seed"] == pytest.approx((by_seed**2).sum() * len(HEADS) * 2 / total)
    by_head = centred.mean().groupby("head").mean()
    assert shares["head"] == pytest.approx((by_head**2).sum() * N_SEEDS * 2 / total)
    assert shares["body x seed"] < 0.01


def test_heads_on_one_body_only_are_left_out_and_none_is_an_error(rows):
    frozen = rows[~rows["fine_tuned"]]
    some = rows[(rows["head"] != "SVC") | ~rows["fine_tuned"]]
    assert "SVC" not in set(both_bodies(some)["head"])
    with pytest.raises(ValueError, match="no head has rows on a frozen and on a tuned body"):
        both_bodies(frozen)
    with pytest.raises(ValueError, match="no rows of the reference 'SVC' on both bodies"):
        body_contrasts(some, "head", "SVC")
    with pytest.raises(ValueError, match="unknown question 'colour'"):
        body_contrasts(rows, "colour")
    short = rows[(rows["head"] != "SVC") | (rows["seed"] > 0)]
    with pytest.raises(ValueError, match="balanced"):
        variance_shares(short)


def test_the_figure_shows_both_bodies_of_every_head(rows):
    table = two_way_table(rows)
    axes = bodies_by_head(rows, reference="LogisticRegression").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(HEADS)
    assert len(axes.containers) == 2 * len(HEADS)
    means = [bar.lines[0].get_xdata()[0] for bar in axes.containers]
    assert means == pytest.approx(table[["frozen", "tuned"]].xs("mean", axis=1, level=1).stack())
    assert axes.get_legend_handles_labels()[1] == ["frozen body", "tuned body"]
    with pytest.raises(ValueError, match="no row of the reference 'NN'"):
        bodies_by_head(rows, reference="NN")


def test_similarity_within_and_between_labels():
    vectors = np.array([[2.0, 0.0], [3.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    half = np.sqrt(0.5)
    found = label_similarity(vectors, [0, 0, 1, 1])
    assert found == pytest.approx({"within": (1 + half) / 2, "between": half / 2})
    for labels in ([0, 0, 0, 0], [0, 1, 2, 3]):
        with pytest.raises(ValueError, match="two sentences of one label and two labels"):
            label_similarity(vectors, labels)
