"""The study of noise as the chapter on hardware sweeps it: its own cells, on invented rows."""

import json
import math
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from qllm_helpers import figures
from qllm_helpers.photons.machines import (
    ASCELLA,
    PUBLISHED,
    SOURCES,
    mesh_deviation,
    phase_error_for,
)
from qllm_helpers.photons.noise import Noise
from qllm_helpers.results.intervals import summarise
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
                | {"fine_tuned": unit.fine_tuned}
            )
    return pd.DataFrame(table).astype(dict.fromkeys(["n_modes", "n_photons"], "Int64"))


@pytest.fixture(scope="module")
def chapter(rows, repository):
    """What the chapter's cells that fill and sweep the rows define."""
    text = (repository / "notebooks" / "15_hardware.ipynb").read_text(encoding="utf-8")
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(text)["cells"]}
    known = {"study_rows": lambda *_, **__: rows, "summarise": summarise, "np": np}
    known |= {"asdict": asdict, "Noise": Noise, "PROFILE": "quick"}
    for name in ("noise-settings", "noise-sweep"):
        exec(cells[name], known)
    return SimpleNamespace(**known)


def test_the_grid_holds_what_the_chapter_sweeps(chapter):
    units = load_units("noise")
    assert {len(unit.seeds) for unit in units} == {20}
    table = chapter.noisy
    frozen = [unit for unit in units if not unit.fine_tuned]
    assert set(table["head"]) == {u.head for u in frozen if "Photonic" in u.estimator}
    for setting in ("indistinguishability", "phase_error", "phase_imprecision", "n_shots"):
        values = chapter.sweep(setting)[setting]
        assert chapter.perfect[setting] in set(values)
        assert len(values) >= 4
    for source in SOURCES.to_dict("records"):
        brightness = source["brightness"]
        mine = table[table["brightness"] == brightness]
        assert set(mine["n_shots"]) == {1000, 10_000, 100_000}
        assert set(mine["g2"]) == {source["g2"]}
        assert set(mine["indistinguishability"]) == {source["indistinguishability"]}


def test_sweeps_hold_everything_else_fixed(chapter):
    shots = chapter.sweep("n_shots")
    assert list(shots["n_shots"]) == [10, 100, 1000, 10_000, 100_000, math.inf]
    assert (shots["n_seeds"] == 3).all()
    assert shots["mean"].is_monotonic_increasing
    both = chapter.sweep("n_shots", n_photons=[1, 2, 3])
    assert set(both["n_photons"]) == {1, 2, 3}
    lossy = chapter.sweep("transmittance", n_shots=1000)
    assert list(lossy["transmittance"]) == [0.0, 0.02, 0.05, 0.1, 0.3, 0.5, 1.0]
    with pytest.raises(ValueError, match="no rows"):
        chapter.sweep("g2", n_modes=5)


def test_a_figure_has_a_line_a_circuit_and_leaves_infinity_out(chapter):
    table = chapter.sweep("n_shots", n_photons=[1, 2])
    ideal = table.tail(1).assign(head="ideal")
    figure = figures.lines(table, "n_shots", by="n_photons", reference=ideal, log="x")
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["1", "2", "ideal"]
    xs = [bar.lines[0].get_xdata() for bar in axes.containers]
    assert [len(x) for x in xs] == [5, 5]
    assert all(np.isfinite(np.asarray(x, dtype=float)).all() for x in xs)


def test_the_rows_of_a_published_machine_are_its_figures(chapter):
    table = chapter.noisy
    settings = asdict(ASCELLA)
    named = table[table["head"].str.contains("Ascella, ")]
    for name, value in settings.items():
        assert set(named[name]) == {value}, name
    assert set(PUBLISHED.loc[PUBLISHED["machine"] == "Ascella", "setting"]) - {""} == {
        name for name, value in settings.items() if value != chapter.perfect[name]
    }
    budgets = chapter.sweep("n_shots", **settings, space="unbunched", n_photons=[1, 2])
    assert list(budgets["n_shots"]) == [n for n in (1e3, 1e4, 1e5, 1e6) for _ in range(2)]
    for name in ("transmittance", "indistinguishability", "g2", "phase_error"):
        around = settings | {"space": "unbunched", "n_shots": 100_000}
        values = chapter.sweep(name, **around)[name]
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


def test_a_mark_is_a_line_with_a_name(chapter):
    shots = chapter.sweep("phase_error")
    shots = shots.assign(head="here")
    figure = figures.lines(shots, "phase_error", marks={"there": 0.045})
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(names) == {"here", "there"}
    line = next(line for line in figure.axes[0].lines if line.get_label() == "there")
    assert list(line.get_xdata()) == [0.045, 0.045]
