"""Reporting rules and noise models against closed forms and small cases."""

import re

import numpy as np
import pandas as pd
import pytest
from qllm_helpers.results.statistics import selection_effect

from qllm_helpers.figures import gain as figures_gain
from qllm_helpers.results.gain import (
    GAIN,
    centred_gain,
    mode_optimism,
    reach,
    reporting_rules,
    residual_spread,
    rows_of_the_report,
    screen_curve,
    seeds_table,
    standard_error,
)

HEADS = [
    *(("LogisticRegression", "linear", None), ("SVC", "svc", None), ("MLP", "mlp", None)),
    *((f"{m} modes, {k} photons", "photonic", m) for m in (4, 6, 8) for k in (1, 2, 3)),
]


@pytest.fixture
def rows():
    """Heads that differ in their means, share a seed effect and have noise of one point."""
    draw = np.random.default_rng(0)
    luck = draw.normal(0, 0.05, 400)
    table = [
        {
            "head": head,
            "family": family,
            "n_modes": modes,
            "seed": seed,
            "validation_accuracy": draw.random(),
            "test_accuracy": 0.7 + 0.01 * place + luck[seed] + draw.normal(0, 0.01),
        }
        for place, (head, family, modes) in enumerate(HEADS)
        for seed in range(400)
    ]
    return pd.DataFrame(table)


def test_standard_error_of_the_two_protocols():
    assert standard_error(0.77, 622) == pytest.approx(0.0169, abs=1e-4)
    assert standard_error(0.9, 77) == pytest.approx(0.0342, abs=1e-4)


def test_residual_spread_is_the_noise_without_head_means_and_seed_effects(rows):
    assert residual_spread(rows) == pytest.approx(0.01, rel=0.03)
    few = rows[rows["seed"] < 3]
    spreads = [
        residual_spread(few.assign(test_accuracy=np.random.default_rng(k).normal(size=len(few))))
        for k in range(200)
    ]
    assert np.mean(np.square(spreads)) == pytest.approx(1, rel=0.05)  # unbiased for few seeds too


def test_centred_rows_give_the_gaussian_selection_effect(rows):
    drawn = centred_gain(rows, n_draws=20_000)
    model = selection_effect(
        n_candidates=9,
        n_references=3,
        n_test=622,
        accuracy=0.77,
        correlation=1.0,
        training_std=0.01,
    )
    points = [0.05, 0.5, 0.95]
    assert np.quantile(drawn, points) == pytest.approx(np.quantile(model, points), abs=6e-4)


def test_only_printed_heads_are_in_the_rows_of_the_report():
    classical = ["LogisticRegression", "SVC", "MLP", "SVC RBF, C = 1", "NN[0]"]
    circuits = [(m, n) for m in (2, 4, 6, 8) for n in range(1, m // 2 + 1)]
    rows = pd.DataFrame(
        [{"head": name} for name in classical]
        + [{"head": f"{m}, {n}", "n_modes": m, "n_photons": n} for m, n in circuits]
    ).astype({"n_modes": "Int64", "n_photons": "Int64"})
    kept = rows_of_the_report(rows)["head"].tolist()
    assert kept == classical[:3] + [f"{m}, {n}" for m, n in circuits if n < 4]


def test_rules_by_hand():
    table = pd.DataFrame(
        {
            "head": ["SVC", "MLP", "8 modes, 2 photons", "8 modes, 1 photon"],
            "family": ["svc", "mlp", "photonic", "photonic"],
            "n_modes": [None, None, 8, 8],
            "seed": 0,
            "validation_accuracy": [0.7, 0.8, 0.6, 0.9],
            "test_accuracy": [0.75, 0.70, 0.80, 0.72],
        }
    )
    rules = reporting_rules(table).set_index("head")[GAIN]
    assert rules.tolist() == pytest.approx([0.05, 0.02, 0.05])
    optimism = mode_optimism(table).iloc[0]
    assert optimism[["candidates", "validation", "test", "optimism"]].tolist() == pytest.approx(
        [2, 0.72, 0.80, 0.08]
    )
    with pytest.raises(ValueError, match="photonic and of classical"):
        reporting_rules(table[2:])
    with pytest.raises(ValueError, match="no rows of one of the heads"):
        reporting_rules(table, fixed=("8 modes, 4 photons", "SVC"))


def test_choosing_on_test_is_never_worse(rows):
    rows = rows.assign(head=rows["head"].replace("8 modes, 2 photons", "8m2p"))
    rules = reporting_rules(rows, fixed=("8m2p", "SVC"))
    wide = rules.pivot(index="seed", columns="head", values=GAIN)
    photonic = rows[rows["family"] == "photonic"].groupby("seed")["test_accuracy"].max()
    classical = rows[rows["family"] != "photonic"].groupby("seed")["test_accuracy"].max()
    assert wide["chosen on test"].tolist() == pytest.approx((photonic - classical).tolist())
    assert (mode_optimism(rows)["optimism"] >= 0).all()


def test_screen_of_one_gains_nothing_and_of_many_what_a_simulation_gains():
    sizes = {"accuracy": 0.9, "training_std": 0.005, "reported": 0.01}
    table = screen_curve([1, 30], **sizes)
    gains = ["validation", "chosen_on_validation", "chosen_on_test"]
    assert table.loc[0, gains].tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    draw = np.random.default_rng(0)
    truth, more = (draw.normal(0, 0.005, (20_000, n)) for n in (30, 1))
    validation = truth + draw.normal(0, standard_error(0.9, 77), truth.shape)
    test = truth + draw.normal(0, standard_error(0.9, 9101), truth.shape)
    chosen = np.take_along_axis(test, validation.argmax(1)[:, None], 1)
    expected = [validation.max(1).mean(), chosen.mean(), test.max(1).mean()]
    assert table.loc[1, gains].tolist() == pytest.approx(expected, abs=3e-4)
    other = more[:, 0] + draw.normal(0, standard_error(0.9, 9101), 20_000)
    assert table.loc[1, "share"] == pytest.approx((test.max(1) - other >= 0.01).mean(), abs=0.012)


def test_seeds_table_asks_for_more_seeds_when_the_difference_is_smaller(rows):
    table = seeds_table(rows[rows["seed"] < 20])
    assert list(table.columns) == ["head", "n_seeds", "std", "0.5 points", "1 points", "2 points"]
    assert (table["0.5 points"] > table["1 points"]).all()
    assert (table["1 points"] > table["2 points"]).all()


def test_figure_of_the_screen_names_its_axes():
    table = screen_curve([1, 10, 100], accuracy=0.9, training_std=0.005)
    axes = figures_gain.screen_gain(table, reported=0.0314).axes[0]
    assert "(fraction)" in axes.get_ylabel()
    assert len(axes.get_lines()) == 4


def test_reach_counts_draws():
    table = reach({"noise": np.arange(100) / 1000}, {"four points": 0.04, "ten": 0.1})
    assert table.loc["noise", ["mean", "four points", "ten"]].tolist() == pytest.approx(
        [0.0495, 0.6, 0.0]
    )


def test_the_chapter_names_tests_that_exist(repository):
    chapter = (repository / "notebooks" / "07_where_the_gain_comes_from.ipynb").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", chapter))
    defined = {
        name
        for path in (repository / "tests").glob("test_*.py")
        for name in [path.stem, *re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M)]
    }
    assert len(named) >= 7
    assert named <= defined
