"""Intervals, tests and selection effects against closed forms."""

import numpy as np
import pandas as pd
import pytest
from qllm_helpers.results.statistics import (
    equivalence,
    interval,
    paired_differences,
    paired_values,
    pareto_front,
    reported_gain,
    seeds_needed,
    select_best,
    selection_effect,
    summarise,
)
from scipy import stats


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


def test_bootstrap_interval_is_near_the_t_interval_and_repeats():
    values = np.random.default_rng(0).normal(0.76, 0.01, size=60)
    first = interval(values, method="bootstrap", n_resamples=2000)
    assert first == pytest.approx(interval(values), abs=5e-4)
    assert first == interval(values, method="bootstrap", n_resamples=2000)


def test_interval_of_one_value_is_unknown_and_of_equal_values_a_point():
    assert np.isnan(interval([0.5])).all()
    assert interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


@pytest.mark.parametrize(("values", "method"), [([0.1, np.nan], "t"), ([0.1, 0.2], "magic")])
def test_interval_refuses_bad_input(values, method):
    with pytest.raises(ValueError, match=r"finite|method"):
        interval(values, method=method)


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


def test_paired_t_test_matches_scipy_and_holm_by_hand():
    draw = np.random.default_rng(1)
    base = draw.normal(0.76, 0.02, size=20)
    better, same = base + draw.normal(0.02, 0.01, 20), base + draw.normal(0, 0.01, 20)
    table = paired_differences(
        make_rows(reference=base, better=better, same=same), "reference"
    ).set_index("head")
    expected = stats.ttest_rel(better, base)
    assert table.loc["better", "p_value"] == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert table.loc["better", ["low", "high"]].tolist() == pytest.approx([low, high])
    # Holm: the smaller of two p-values doubled, the larger as it is (and not below it)
    assert table.loc["better", "p_corrected"] == pytest.approx(2 * expected.pvalue)
    assert table.loc["same", "p_corrected"] == pytest.approx(table.loc["same", "p_value"])


def test_wilcoxon_matches_scipy():
    draw = np.random.default_rng(2)
    base, other = draw.random(12), draw.random(12)
    table = paired_differences(make_rows(a=base, b=other), "a", test="wilcoxon")
    assert table["p_value"].iloc[0] == pytest.approx(stats.wilcoxon(other - base).pvalue)


def test_several_columns_can_name_a_configuration():
    frozen = make_rows(a=[0.1, 0.2, 0.4], b=[0.2, 0.2, 0.3]).assign(fine_tuned=False)
    tuned = make_rows(a=[0.3, 0.2, 0.5], b=[0.2, 0.5, 0.3]).assign(fine_tuned=True)
    table = paired_differences(pd.concat([frozen, tuned]), ("a", False), by=["head", "fine_tuned"])
    assert table["head"].tolist() == ["b", "a", "b"]
    assert table["fine_tuned"].tolist() == [False, True, True]


def test_equivalence_agrees_with_its_interval():
    draw = np.random.default_rng(3)
    base = draw.normal(0.76, 0.02, size=20)
    rows = make_rows(
        reference=base,
        near=base + draw.normal(0.001, 0.005, 20),
        far=base + draw.normal(0.02, 0.005, 20),
    )
    table = equivalence(rows, "reference", margin=0.01).set_index("head")
    assert table["equivalent"].to_dict() == {"near": True, "far": False}
    inside = (table["low"] > -0.01) & (table["high"] < 0.01)
    assert (inside == (table["p_value"] < 0.05)).all()


def test_equal_heads_are_equivalent_and_not_different():
    rows = make_rows(a=[0.7, 0.8, 0.9], b=[0.7, 0.8, 0.9])
    assert paired_differences(rows, "a")["p_value"].iloc[0] == 1.0
    assert equivalence(rows, "a")["equivalent"].iloc[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rows: paired_differences(rows, "c"), "no rows of the reference"),
        (lambda rows: paired_differences(rows[rows["head"] == "a"], "a"), "only the reference"),
        (lambda rows: paired_differences(rows, "a", test="z"), "test must be"),
        (lambda rows: equivalence(rows, "a", margin=0), "margin must be a positive"),
        (lambda rows: paired_differences(rows[rows["seed"] == 0], "a"), "fewer than two seeds"),
    ],
)
def test_comparisons_refuse_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(make_rows(a=[0.1, 0.2], b=[0.3, 0.4]))


def test_selection_effect_of_one_against_one_is_centred():
    gain = selection_effect(n_candidates=1, n_test=622, accuracy=0.78)
    assert gain.mean() == pytest.approx(0, abs=2e-4)
    expected = np.sqrt(2 * 0.78 * 0.22 / 622)
    assert gain.std() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_selection_effect_of_two_has_the_mean_of_the_larger_of_two(correlation):
    gain = selection_effect(
        n_candidates=2, n_test=622, accuracy=0.78, correlation=correlation, training_std=0.01
    )
    spread = np.sqrt((1 - correlation) * 0.78 * 0.22 / 622 + 0.01**2)
    assert gain.mean() == pytest.approx(spread / np.sqrt(np.pi), abs=2e-4)


def test_selection_effect_matches_a_drawing_of_every_configuration():
    spread = np.sqrt(0.25 / 100)
    values = np.random.default_rng(0).normal(size=(20_000, 12)) * spread
    drawn = values[:, :9].max(axis=1) - values[:, 9:].max(axis=1)
    gain = selection_effect(n_candidates=9, n_references=3, n_test=100, accuracy=0.5)
    assert np.quantile(gain, [0.05, 0.5, 0.95]) == pytest.approx(
        np.quantile(drawn, [0.05, 0.5, 0.95]), abs=2e-3
    )


def test_selection_effect_refuses_bad_input():
    with pytest.raises(ValueError, match="0 < accuracy < 1"):
        selection_effect(n_candidates=2, n_test=622, accuracy=78.0)
    with pytest.raises(ValueError, match="at least 1"):
        selection_effect(n_candidates=0, n_test=622, accuracy=0.78)


def sweep_rows():
    return pd.DataFrame(
        {
            "head": ["4m1p", "4m2p", "6m1p"] * 2,
            "n_modes": [4, 4, 6] * 2,
            "seed": [0, 0, 0, 1, 1, 1],
            "validation_accuracy": [0.8, 0.7, 0.6, 0.7, 0.7, 0.9],
            "test_accuracy": [0.5, 0.9, 0.6, 0.4, 0.8, 0.7],
        }
    )


def test_select_best_by_validation_and_by_test():
    honest = select_best(sweep_rows())
    assert honest["head"].tolist() == ["4m1p", "6m1p", "4m1p", "6m1p"]
    assert select_best(sweep_rows(), on="test_accuracy")["test_accuracy"].tolist() == [
        0.9,
        0.6,
        0.8,
        0.7,
    ]


def test_reported_gain_by_hand():
    rows = sweep_rows()
    photonic, reference = rows[rows["n_modes"] == 4], rows[rows["n_modes"] == 6]
    assert reported_gain(photonic, reference).tolist() == pytest.approx([0.3, 0.1])
    honest = reported_gain(photonic, reference, on="validation_accuracy")
    assert honest.tolist() == pytest.approx([-0.1, -0.3])


def test_seeds_needed_gives_the_power_it_promises():
    needed = seeds_needed(0.01, 0.02)
    assert needed == 34  # the value of every power table for an effect of 0.5, paired
    assert seeds_needed(0.5, 0.01) == 2
    with pytest.raises(ValueError, match="non-zero difference"):
        seeds_needed(0, 0.02)


def test_pareto_front_by_hand():
    table = pd.DataFrame(
        {"n_parameters": [10, 20, 20, 30, np.nan], "mean": [0.7, 0.8, 0.75, 0.8, 0.9]}
    )
    assert pareto_front(table).tolist() == [True, True, False, False, False]
