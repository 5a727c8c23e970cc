"""What choosing does to a reported number, against closed forms and simulations."""

import numpy as np
import pandas as pd
import pytest

from qllm_helpers.results.selection import (
    pareto_front,
    residuals,
    seeds_needed,
    select_best,
    selection_effect,
    standard_error,
)


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
    with pytest.raises(ValueError, match="accuracy must lie between 0 and 1"):
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


def test_a_tie_goes_to_the_row_that_comes_first():
    # sorted by loss, so that the loss decides among equal accuracies; a missing loss comes last
    rows = sweep_rows().assign(validation_accuracy=0.5, validation_loss=[3, np.nan, 1, 4, 2, 5])
    ordered = rows.sort_values("validation_loss", na_position="last")
    best = select_best(ordered.assign(one=0), within="one").set_index("seed")
    assert best["validation_loss"].to_dict() == {0: 1, 1: 2}


def test_a_choice_among_no_rows_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        select_best(sweep_rows()[:0], within=())


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


def test_standard_error_of_the_two_protocols():
    assert standard_error(0.77, 622) == pytest.approx(0.0169, abs=1e-4)
    assert standard_error(0.9, 77) == pytest.approx(0.0342, abs=1e-4)


def noisy_rows(n_heads):
    """Heads that differ in their means, share a seed effect and have noise of one point."""
    draw = np.random.default_rng(0)
    luck = draw.normal(0, 0.03, 400)
    return pd.DataFrame(
        {"head": head, "seed": seed, "test_accuracy": 0.7 + head / 50 + luck[seed] + noise}
        for head in range(n_heads)
        for seed, noise in enumerate(draw.normal(0, 0.01, 400))
    )


def test_residuals_drawn_again_give_the_gaussian_selection_effect():
    left = residuals(noisy_rows(12)).to_numpy()
    chosen = np.random.default_rng(0).integers(len(left), size=(20_000, 12))
    drawn = np.take_along_axis(left, chosen, axis=0)
    sizes = {"n_candidates": 9, "n_references": 3, "n_test": 622, "accuracy": 0.77}
    model = selection_effect(correlation=1.0, training_std=0.01, **sizes)
    points = [0.05, 0.5, 0.95]
    assert np.quantile(drawn[:, :9].max(1) - drawn[:, 9:].max(1), points) == pytest.approx(
        np.quantile(model, points), abs=6e-4
    )
    with pytest.raises(ValueError, match="at least two heads"):
        residuals(noisy_rows(1))


def residual_spread(rows):
    return np.sqrt((residuals(rows) ** 2).to_numpy().mean())


def test_residual_spread_is_the_noise_without_head_means_and_seed_effects():
    rows = noisy_rows(6)
    assert residual_spread(rows) == pytest.approx(0.01, rel=0.03)
    few = rows[rows["seed"] < 3]
    spreads = [
        residual_spread(few.assign(test_accuracy=np.random.default_rng(k).normal(size=len(few))))
        for k in range(200)
    ]
    assert np.mean(np.square(spreads)) == pytest.approx(1, rel=0.05)  # unbiased for few seeds too
