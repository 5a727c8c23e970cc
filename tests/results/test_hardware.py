"""The study of noise as sweeps."""

import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from qllm_helpers import figures
from qllm_helpers.results import hardware
from qllm_helpers.results.hardware import ASCELLA, PUBLISHED, mesh_deviation, phase_error_for
from qllm_helpers.studies.run import load_units


@pytest.fixture(scope="module")
def rows():
    """An invented table: accuracy depends on the configuration only, and on the seed."""
    table = []
    for unit in load_units("noise"):
        for seed in range(3):
            shots = unit.parameters.get("n_shots", math.inf)
            accuracy = 0.76 - 1 / (shots + 10) + 0.001 * seed
            known = {"twin": None, "space": "fock"} | unit.parameters
            if "Photonic" not in unit.estimator:
                known["space"] = None
            names = ("n_modes", "n_photons", "space", "twin")
            table.append(
                unit.parameters
                | {name: known.get(name) for name in names}
                | {"head": unit.head, "estimator": unit.estimator, "family": unit.family}
                | {"seed": seed, "test_accuracy": accuracy, "protocol": "paper"}
            )
    return pd.DataFrame(table)


def test_the_grid_holds_what_the_chapter_sweeps(rows):
    units = load_units("noise")
    assert {len(unit.seeds) for unit in units} == {20}
    table = hardware.noise_rows(rows)
    assert set(table["head"]) == {u.head for u in units if "Photonic" in u.estimator}
    for setting in ("indistinguishability", "phase_error", "phase_imprecision", "n_shots"):
        values = hardware.sweep(table, setting)[setting]
        assert hardware.PERFECT[setting] in set(values)
        assert len(values) >= 4
    for source in hardware.SOURCES.to_dict("records"):
        brightness = source["brightness"]
        mine = table[table["brightness"] == brightness]
        assert set(mine["n_shots"]) == {1000, 10_000, 100_000}
        assert set(mine["g2"]) == {source["g2"]}
        assert set(mine["indistinguishability"]) == {source["indistinguishability"]}


def test_sweeps_hold_everything_else_fixed(rows):
    table = hardware.noise_rows(rows)
    shots = hardware.sweep(table, "n_shots")
    assert list(shots["n_shots"]) == [10, 100, 1000, 10_000, 100_000, math.inf]
    assert (shots["n_seeds"] == 3).all()
    assert shots["mean"].is_monotonic_increasing
    both = hardware.sweep(table, "n_shots", n_photons=[1, 2, 3])
    assert set(both["n_photons"]) == {1, 2, 3}
    coins = hardware.sweep(table, "n_shots", twin="distinguishable")
    assert len(coins) == 6
    lossy = hardware.sweep(table, "transmittance", n_shots=1000)
    assert list(lossy["transmittance"]) == [0.0, 0.02, 0.05, 0.1, 0.3, 0.5, 1.0]
    free = hardware.sweep(table, "transmittance", n_shots=None)
    assert free["n_seeds"].max() > 3
    with pytest.raises(ValueError, match="no rows of a sweep"):
        hardware.sweep(table, "g2", n_modes=5)


def test_a_figure_has_a_line_a_circuit_and_leaves_infinity_out(rows):
    table = hardware.sweep(hardware.noise_rows(rows), "n_shots", n_photons=[1, 2])
    ideal = table.tail(1).assign(head="ideal")
    figure = figures.lines(table, "n_shots", by="n_photons", reference=ideal, log="x")
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["1", "2", "ideal"]
    xs = [bar.lines[0].get_xdata() for bar in axes.containers]
    assert [len(x) for x in xs] == [5, 5]
    assert all(np.isfinite(np.asarray(x, dtype=float)).all() for x in xs)


def test_the_rows_of_a_published_machine_are_its_figures(rows):
    table = hardware.noise_rows(rows)
    settings = asdict(ASCELLA)
    named = table[table["head"].str.contains("Ascella, ")]
    for name, value in settings.items():
        assert set(named[name]) == {value}, name
    assert set(PUBLISHED.loc[PUBLISHED["machine"] == "Ascella", "setting"]) - {""} == {
        name for name, value in settings.items() if value != hardware.PERFECT[name]
    }
    budgets = hardware.sweep(table, "n_shots", **settings, space="unbunched", n_photons=[1, 2])
    assert list(budgets["n_shots"]) == [n for n in (1e3, 1e4, 1e5, 1e6) for _ in range(2)]
    for name in ("transmittance", "indistinguishability", "g2", "phase_error"):
        around = settings | {"space": "unbunched", "n_shots": 100_000}
        values = hardware.sweep(table, name, **around)[name]
        assert settings[name] in set(values)
        assert len(values) == 4


def test_the_phase_error_of_a_machine_reproduces_what_was_published():
    assert round(phase_error_for(0.030), 3) == ASCELLA.phase_error
    assert mesh_deviation(ASCELLA.phase_error)["distance"] == pytest.approx(0.030, abs=1e-3)
    # other settings of the phases, and the other way round
    other = [mesh_deviation(ASCELLA.phase_error, seed=seed)["distance"] for seed in (1, 2)]
    assert other == pytest.approx([0.030] * 2, abs=1e-3)
    chip = phase_error_for(0.974, "fidelity", 20)
    assert mesh_deviation(chip, 20)["fidelity"] == pytest.approx(0.974, abs=1e-4)
    assert mesh_deviation(0.0).tolist() == pytest.approx([0.0, 1.0])
    with pytest.raises(ValueError, match="no phase error up to one radian"):
        phase_error_for(0.999_999, "distance")


def test_a_deviation_is_what_the_formula_of_one_interferometer_says():
    # sin(phase / 2) squared leaves by one output: off by |sin(phase)| / 2 times the error
    assert mesh_deviation(0.01, 2)["distance"] == pytest.approx(0.01 / (2 * math.pi), rel=0.05)


def test_a_mark_is_a_line_with_a_name(rows):
    shots = hardware.sweep(hardware.noise_rows(rows), "phase_error")
    shots = shots.assign(head="here")
    figure = figures.lines(shots, "phase_error", marks={"there": 0.045})
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(names) == {"here", "there"}
    line = next(line for line in figure.axes[0].lines if line.get_label() == "there")
    assert list(line.get_xdata()) == [0.045, 0.045]
