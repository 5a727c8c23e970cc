"""Sweeps: the published figures, paired contrasts with known answers, and the live sweep."""

import numpy as np
import pandas as pd
import pytest

from qllm_helpers.heads.photonic import PhotonicHead
from qllm_helpers.results import steps as sweeps_contrasts
from qllm_helpers.results import sweeps
from qllm_helpers.results.contrasts import verdict_lines
from qllm_helpers.results.sweeps import KINDS

CIRCUITS = [(2, 1), (4, 1), (4, 2), (6, 1), (6, 2), (6, 3)]


def made_rows(effect, noise=0.002, n_seeds=20, circuits=CIRCUITS):
    """Rows in which a circuit's accuracy is 0.6, plus an effect, plus what its seed brings."""
    draw = np.random.default_rng(0)
    shared = draw.normal(0, 0.03, n_seeds)  # the splits: the same for all circuits
    return pd.DataFrame(
        {
            "head": f"{m} modes, {n} photon{'s' if n > 1 else ''}",
            "n_modes": m,
            "n_photons": n,
            "seed": seed,
            "test_accuracy": 0.6 + effect(m, n) + shared[seed] + draw.normal(0, noise),
        }
        for m, n in circuits
        for seed in range(n_seeds)
    )


@pytest.mark.parametrize(("n_modes", "used"), [(2, 1), (4, 2), (6, 3), (8, 3)])
def test_features_that_the_subset_encoding_reads(n_modes, used):
    subsets = sweeps.read_features(n_modes)
    encoder = PhotonicHead(5, 2, n_modes, 1, encoding="subset").encoder
    assert len(subsets) == n_modes - 1
    assert len({feature for subset in subsets for feature in subset}) == used
    for phase, subset in enumerate(subsets):
        assert encoder._member[:, phase].nonzero().ravel().tolist() == list(subset)


def test_plain_sweep_leaves_out_variants_and_twins():
    heads = ["2 modes, 1 photon", "4 modes, 2 photons", "4 modes, 2 photons, cosine", "NN[0]"]
    rows = pd.DataFrame({"head": heads, "n_modes": [2, 4, 4, np.nan], "n_photons": [1, 2, 2, None]})
    chosen = sweeps.plain_sweep(rows)
    assert chosen["head"].tolist() == heads[:2]
    assert chosen["n_modes"].tolist() == [2, 4]
    with pytest.raises(ValueError, match="no head is called"):
        sweeps.plain_sweep(rows.iloc[2:])


def test_beside_published_counts_the_seeds_that_reach_the_report():
    rows = made_rows(lambda m, n: 0.0, n_seeds=4, circuits=[(2, 1), (8, 4)])
    rows.loc[rows["n_modes"] == 2, "test_accuracy"] = [0.5, 0.5691, 0.57, 0.58]
    table = sweeps.beside_published(rows)
    assert table["reached"].iloc[0] == 0.75
    assert np.isnan(table["reached"].iloc[1])  # the last circuit has no reported accuracy
    assert table[["least", "most"]].iloc[0].tolist() == [0.5, 0.58]


def test_a_step_is_seen_through_much_larger_noise_of_the_splits():
    steps = sweeps_contrasts.size_steps(made_rows(lambda m, n: 0.02 * (m >= 4)))
    found = {(row.n_photons, row.before): row.conclusion for row in steps.itertuples()}
    assert found[1, 2] == "higher"
    assert found[1, 4] == found[2, 4] == "the same within the margin"
    first = steps.iloc[0]
    assert first["low"] < 0.02 < first["high"]
    assert first["n_seeds"] == 20


def test_a_trend_is_the_change_over_the_whole_range():
    rows = made_rows(lambda m, n: 0.01 * m, noise=1e-9)
    trends = sweeps_contrasts.size_trends(rows).set_index("n_photons")
    assert trends.index.tolist() == [1, 2]  # three photons have one size only
    np.testing.assert_allclose(trends["difference"], [0.04, 0.02], atol=1e-6)
    assert trends["before"].tolist() == [2, 4]
    by_photons = sweeps_contrasts.size_trends(rows, size="n_photons", fixed="n_modes")
    np.testing.assert_allclose(by_photons["difference"], 0, atol=1e-6)


def test_seeds_without_a_row_are_left_out_in_pairs():
    rows = made_rows(lambda m, n: 0.0).iloc[1:]  # the smallest circuit has no seed 0
    assert sweeps_contrasts.size_steps(rows)["n_seeds"].tolist()[:2] == [19, 20]
    assert sweeps_contrasts.size_trends(rows)["n_seeds"].tolist() == [19, 20]


def test_nothing_to_compare_is_an_error():
    rows = made_rows(lambda m, n: 0.0, circuits=[(2, 1), (4, 2)])
    for function in (sweeps_contrasts.size_steps, sweeps_contrasts.size_trends):
        with pytest.raises(ValueError, match="no two values of n_modes"):
            function(rows)


def test_kinds_of_photons_in_results_and_in_landscapes():
    results = pd.DataFrame(
        {
            "n_modes": [6, 6, 6, None],
            "n_photons": [1, 1, 1, None],
            "space": ["fock", "unbunched", "fock", None],
            "twin": [None, None, "distinguishable", None],
        }
    )
    kinds = sweeps.photon_kinds(results)["kind"].tolist()
    assert kinds == ["identical", "identical, unbunched", "distinguishable"]
    table = pd.DataFrame(
        {"n_modes": [6], "n_photons": [2], "space": ["unbunched"], "distinguishable": [True]}
    )
    assert sweeps.photon_kinds(table)["kind"].tolist() == [KINDS[True, True]]


def test_a_circuit_with_one_output_leaves_no_choice():
    rows = pd.DataFrame({"n_modes": [6, 6, 6], "n_photons": [6, 6, 5]})
    rows["space"] = ["unbunched", "fock", "unbunched"]
    assert sweeps.with_a_choice(rows).index.tolist() == [1, 2]


def test_intervals_of_the_losses_are_those_of_twenty_seeds():
    circuit = {"n_modes": 6, "n_photons": 2, "space": "fock", "distinguishable": True}
    table = pd.DataFrame([circuit | {"train_loss": 0.5, "train_loss_sem": 0.01}])
    row = sweeps.budget_losses(table).iloc[0]
    assert row["kind"] == "distinguishable"
    assert row["mean"] == 0.5
    np.testing.assert_allclose([row["low"], row["high"]], [0.47907, 0.52093], atol=1e-5)


def test_contrasts_of_kinds_are_paired_and_corrected_together():
    rows = made_rows(lambda m, n: 0.0, noise=0.001)
    other = rows.assign(test_accuracy=rows["test_accuracy"] - 0.02 * (rows["n_photons"] > 1))
    both = pd.concat([rows.assign(kind="identical"), other.assign(kind="distinguishable")])
    table = sweeps_contrasts.kind_contrasts(both, "identical", "distinguishable")
    expected = [0.02 * (n > 1) for _, n in CIRCUITS]
    np.testing.assert_allclose(table["difference"], expected, atol=1e-12)
    assert set(table["conclusion"]) == {"higher", "the same within the margin"}
    assert sweeps_contrasts.count_conclusions(table).to_dict() == {
        "higher": 3,
        "the same within the margin": 3,
    }
    with pytest.raises(ValueError, match="no circuit has rows of both"):
        sweeps_contrasts.kind_contrasts(both, "identical", "identical, unbunched")


def test_verdicts_in_words():
    rows = made_rows(lambda m, n: -0.05 * (m == 6), circuits=[(4, 1), (6, 1)])
    text = verdict_lines(sweeps_contrasts.size_steps(rows), "{before} to {after} modes")
    assert text.startswith("4 to 6 modes: -4.9")
    assert text.endswith("20 seeds: worse")
    named = sweeps_contrasts.labelled(sweeps_contrasts.size_steps(rows), "to {after} modes")
    assert named[["head", "family"]].iloc[0].tolist() == ["to 6 modes", "photonic"]


def test_a_small_but_certain_difference_is_called_small():
    rows = made_rows(lambda m, n: 0.003 * (m == 6), noise=1e-4, circuits=[(4, 1), (6, 1)])
    steps = sweeps_contrasts.size_steps(rows)
    assert steps["conclusion"].tolist() == ["higher, within the margin"]
    wide = made_rows(lambda m, n: 0.0, noise=0.05, n_seeds=4, circuits=[(4, 1), (6, 1)])
    assert sweeps_contrasts.size_steps(wide)["conclusion"].tolist() == ["undecided"]


def test_live_sweep_gives_rows_of_the_study(monkeypatch):
    from dataclasses import replace

    from qllm_helpers.studies import run as study

    whole = study.load_units

    def short(*arguments, **options):
        units = whole(*arguments, **options)
        assert len(units) == 20  # ten circuits, two states of the body
        few = [unit for unit in units if unit.parameters["n_modes"] == 4]
        return [replace(unit, parameters=unit.parameters | {"epochs": 2}) for unit in few]

    monkeypatch.setattr(study, "load_units", short)
    rows = sweeps.live_sweep([3, 7])
    assert list(zip(rows["n_modes"], rows["n_photons"], rows["seed"], strict=True)) == [
        (4, 1, 3), (4, 1, 7), (4, 2, 3), (4, 2, 7),
    ]  # fmt: skip
    assert rows["test_accuracy"].between(0, 1).all()
    alone = sweeps.live_sweep([7])
    joined = rows[rows["seed"] == 7].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, joined, atol=0.005)
