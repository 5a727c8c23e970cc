"""Sweeps over modes: a step from one size to the next, and the rows that are compared."""

import numpy as np
import pandas as pd
import pytest

from qllm_helpers.results.contrasts import compare
from qllm_helpers.studies.table import load_results

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
