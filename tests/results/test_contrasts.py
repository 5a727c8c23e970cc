"""Intervals, paired tests and verdicts against SciPy and on tables whose answer is known."""

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
