"""Intervals, paired tests and verdicts: against SciPy, and on tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from qllm_helpers.results.contrasts import (
    VERDICTS,
    compare,
    difference_tests,
    verdict,
    verdict_lines,
)
from qllm_helpers.results.intervals import interval, paired_values, summarise
from qllm_helpers.results.selection import select_best
from qllm_helpers.studies.table import load_results


def make_rows(**accuracies):
    """Tidy table from ``head=[accuracy of seed 0, 1, ...]``."""
    return pd.DataFrame(
        [
            {"head": head, "seed": seed, "test_accuracy": accuracy, "n_parameters": 10}
            for head, values in accuracies.items()
            for seed, accuracy in enumerate(values)
        ]
    )


def test_t_interval_is_the_closed_form():
    values = np.array([0.75, 0.77, 0.76, 0.79])
    half = stats.t.ppf(0.975, 3) * values.std(ddof=1) / 2
    assert interval(values) == pytest.approx((values.mean() - half, values.mean() + half))


def test_interval_of_one_value_is_unknown_and_of_equal_values_a_point():
    assert np.isnan(interval([0.5])).all()
    assert interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_interval_refuses_what_was_not_fitted():
    with pytest.raises(ValueError, match="finite"):
        interval([0.1, np.nan])


def test_summarise_keeps_order_and_configuration_columns():
    table = summarise(make_rows(zeta=[0.5, 0.7], alpha=[0.2, 0.2]))
    assert list(table["head"]) == ["zeta", "alpha"]
    assert table["mean"].tolist() == pytest.approx([0.6, 0.2])
    assert table["n_seeds"].tolist() == [2, 2]
    assert table["n_parameters"].tolist() == [10, 10]


def test_summarise_names_a_missing_column():
    with pytest.raises(ValueError, match="no column body"):
        summarise(make_rows(a=[0.1]), by="body")


def test_paired_values_refuses_two_rows_of_one_seed():
    rows = pd.concat([make_rows(a=[0.1, 0.2])] * 2)
    with pytest.raises(ValueError, match="two rows of one seed"):
        paired_values(rows)


def test_paired_tests_match_scipy_and_holm_by_hand():
    draw = np.random.default_rng(1)
    base = draw.normal(0.76, 0.02, size=20)
    better, same = base + draw.normal(0.02, 0.01, 20), base + draw.normal(0, 0.01, 20)
    rows = make_rows(reference=base, better=better, same=same)
    table = compare(rows, "reference").set_index("head")
    expected = stats.ttest_rel(better, base)
    assert table.loc["better", "p_value"] == pytest.approx(expected.pvalue)
    for level, names in ((0.95, ["low", "high"]), (0.9, ["low_90", "high_90"])):
        ends = expected.confidence_interval(level)
        assert table.loc["better", names].tolist() == pytest.approx(list(ends))
    # Holm: the smaller of two p-values doubled, the larger as it is (and not below it)
    assert table.loc["better", "p_corrected"] == pytest.approx(2 * expected.pvalue)
    assert table.loc["same", "p_corrected"] == pytest.approx(table.loc["same", "p_value"])
    alone = compare(rows, [("same", "reference")]).iloc[0]
    sides = [
        stats.ttest_1samp(same - base, bound, alternative=side).pvalue
        for bound, side in ((-0.01, "greater"), (0.01, "less"))
    ]
    assert alone["p_equivalence"] == pytest.approx(max(sides))


def test_verdicts_follow_from_the_tests():
    draw = np.random.default_rng(3)
    base, noise = draw.normal(0.76, 0.02, size=20), draw.normal(0, 0.005, 20)
    rows = make_rows(
        reference=base,
        equivalent=base + 0.2 * noise,
        measurably=base + 0.003 + 0.1 * noise,
        better=base + 0.02 + noise,
        worse=base - 0.02 + noise,
        inconclusive=base + 0.004 + 6 * noise,
    )
    table = compare(rows, "reference").set_index("head")
    found = table["verdict"].to_dict()
    # a difference that is seen but smaller than the margin is none that matters
    assert found.pop("measurably") == "equivalent"
    assert found == {word: word for word in VERDICTS}
    assert (table["low_90"] > table["low"]).all()
    inside = (table["low_90"] > -0.01) & (table["high_90"] < 0.01)
    assert (inside == (table["verdict"] == "equivalent")).all()
    line = verdict(table.loc["better"])
    assert line.startswith(f"{100 * table.loc['better', 'difference']:+.2f} points [")
    assert line.endswith("20 seeds: better")
    assert verdict_lines(table.reset_index(), "{head}").splitlines()[2].startswith("better: +")


def test_several_columns_can_name_a_head():
    frozen = make_rows(a=[0.1, 0.2, 0.4], b=[0.2, 0.2, 0.3]).assign(fine_tuned=False)
    tuned = make_rows(a=[0.3, 0.2, 0.5], b=[0.2, 0.5, 0.3]).assign(fine_tuned=True)
    table = compare(pd.concat([frozen, tuned]), ("a", False), by=["head", "fine_tuned"])
    assert table["head"].tolist() == [("b", False), ("a", True), ("b", True)]


def test_pairs_within_parts_are_corrected_together():
    parts = [make_rows(a=[0.1, 0.2, 0.4], b=[0.2, 0.2, 0.3]).assign(size=s) for s in (4, 8)]
    parts.append(make_rows(a=[0.3, 0.2, 0.5], c=[0.2, 0.5, 0.3]).assign(size=16))
    rows = pd.concat(parts).assign(family="mlp")
    table = compare(rows, [("b", "a")], within="size")
    assert table[["size", "head", "reference"]].to_numpy().tolist() == [
        [4, "b", "a"],
        [8, "b", "a"],
    ]
    assert table["family"].tolist() == ["mlp", "mlp"]
    first = compare(rows[rows["size"] == 4], [("b", "a")]).iloc[0]
    assert table["p_corrected"].tolist() == pytest.approx([min(1, 2 * first["p_value"])] * 2)
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(rows, [("b", "lost")], within="size")


def test_differences_without_spread_have_sure_answers():
    table = difference_tests({"none": np.zeros(3), "large": np.full(3, 0.02)})
    assert table["p_value"].tolist() == [1, 0]
    assert table["verdict"].tolist() == ["equivalent", "better"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rows: compare(rows, "c"), "no rows of 'c'"),
        (lambda rows: compare(rows[rows["head"] == "a"], "a"), "nothing to compare"),
        (lambda rows: compare(rows, []), "nothing to compare"),
        (lambda rows: compare(rows, [("a", "lost")]), "no rows of 'lost'"),
        (lambda rows: compare(rows, "a", margin=0), "margin must be a finite number above 0"),
        (lambda rows: compare(rows[rows["seed"] == 0], "a"), "fewer than two seeds"),
    ],
)
def test_comparisons_refuse_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(make_rows(a=[0.1, 0.2], b=[0.3, 0.4]))


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


CIRCUITS = [(2, 1), (4, 1), (4, 2), (6, 1), (6, 2), (6, 3)]
STEPS = [(4, 2), (6, 4)]


def made_rows(effect, noise=0.002, n_seeds=20):
    """Rows in which a circuit's accuracy is 0.6, plus an effect, plus what its seed brings."""
    draw = np.random.default_rng(0)
    shared = draw.normal(0, 0.03, n_seeds)  # the splits: the same for all circuits
    return pd.DataFrame(
        {
            "n_modes": m,
            "n_photons": n,
            "seed": seed,
            "test_accuracy": 0.6 + effect(m, n) + shared[seed] + draw.normal(0, noise),
        }
        for m, n in CIRCUITS
        for seed in range(n_seeds)
    )


def test_a_step_is_seen_through_much_larger_noise_of_the_splits():
    rows = made_rows(lambda m, n: 0.02 * (m >= 4))
    steps = compare(rows, STEPS, by="n_modes", within="n_photons").set_index(["n_photons", "head"])
    assert steps["verdict"].to_dict() == {
        (1, 4): "better",
        (1, 6): "equivalent",
        (2, 6): "equivalent",
    }
    first = steps.iloc[0]
    assert first["low"] < 0.02 < first["high"]
    # the spread of a difference is much smaller than that of single seeds
    assert first["std"] < 0.2 * rows.loc[rows["n_modes"] == 2, "test_accuracy"].std()


def test_seeds_without_a_row_are_left_out_in_pairs():
    rows = made_rows(lambda m, n: 0.0).iloc[1:]  # the smallest circuit has no seed 0
    steps = compare(rows, STEPS, by="n_modes", within="n_photons")
    assert steps["n_seeds"].tolist() == [19, 20, 20]


@pytest.mark.parametrize("study", ["few_shot", "paper"])
def test_rows_of_kind_photonic_differ_in_modes_and_photons_only(study):
    rows = load_results(study)
    plain = rows["head"].str.fullmatch(r"\d+ modes?, \d+ photons?")
    assert (plain == (rows["kind"] == "photonic")).all()
    circuits = rows[plain & ~rows["fine_tuned"]]
    place = ["encoder", "selection", "n_modes", "n_photons", "seed"]
    assert not circuits.duplicated(place).any()
