"""The benchmarks measure what they say, at a scale that takes seconds."""

import itertools
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from qllm_helpers.benchmarks import cases as bench_cases
from qllm_helpers.benchmarks import rivals, timing
from qllm_helpers.benchmarks.cases import CIRCUITS, Case, QubitCase, layer_cases, qubit_cases
from qllm_helpers.benchmarks.timing import (
    arithmetic,
    copy_speed,
    machine_limits,
    measure,
    output_bytes,
    run_benchmark,
    run_qubit_benchmark,
    state_bytes,
    with_bandwidth,
    with_bounds,
    with_ratios,
)
from qllm_helpers.cli import main
from qllm_helpers.files import UnknownNameError
from qllm_helpers.studies.table import load_measurements


def test_standard_cases_cover_every_circuit_engine_and_size():
    cases = layer_cases()
    assert len(set(cases)) == len(cases)
    steps = {
        (c.n_modes, c.n_photons, c.engine, c.n_replicas)
        for c in cases
        if c.series == "circuits" and c.task == "training step"
    }
    for circuit in CIRCUITS:
        assert {(*circuit, "ours", 1), (*circuit, "ours", 20), (*circuit, "merlin", 1)} <= steps
    series = {"circuits", "large", "modes", "photons", "replicas", "batch"}
    assert {c.series for c in cases} == series
    assert not any(c.engine == "perceval" and c.task != "inference" for c in cases)
    large = {(c.space, c.batch) for c in cases if c.series == "large" and c.engine == "ours"}
    assert large == {(space, batch) for space in ("fock", "unbunched") for batch in (1, 8, 32)}


def test_rivals_that_are_not_installed_are_left_out(monkeypatch):
    monkeypatch.setattr(bench_cases, "find_spec", lambda name: name == "merlin")
    assert {case.engine for case in layer_cases()} == {"ours", "merlin"}


def test_a_small_run_measures_every_engine_and_bounds_ours():
    cases = [
        Case("circuits", engine, "inference", 4, 2, replicas, batch=4)
        for engine, replicas in (("ours", 1), ("ours", 3), ("merlin", 1), ("perceval", 1))
    ]
    table = run_benchmark(cases, n_threads=1, min_seconds=0.05)
    assert (table[["peak_mebibytes", "build_seconds"]] >= 0).all(axis=None)
    assert (table["seconds"] > 0).all() and (table["gap"] < 1e-6).all()
    assert table.loc[table["engine"] == "merlin", "ratio"].item() == 1
    assert table["seconds_per_replica"].iloc[1] == table["seconds"].iloc[1] / 3
    bounded = with_bounds(table, machine_limits())
    ours = bounded["engine"] == "ours"
    assert bounded.loc[ours, "bound"].isin(["launch", "arithmetic", "memory"]).all()
    assert bounded.loc[~ours, "bound"].isna().all()
    stored = list(load_measurements("benchmark").columns)
    assert list(bounded.columns) == stored[: len(bounded.columns)]


@pytest.mark.parametrize("engine", rivals.ENGINES)
@pytest.mark.parametrize("task", ["inference", "training step"])
def test_every_rival_computes_the_same_probabilities(engine, task):
    pytest.importorskip(engine)
    if task == "training step" and (engine == "merlin" or not rivals.ENGINES[engine][-1]):
        pytest.skip("no derivatives, or no outputs of a step")
    outputs = Case("circuits", engine, task, 4, 2, batch=3).prepare()()
    ours = Case("circuits", "ours", "inference", 4, 2, batch=3).prepare()()[0]
    torch.testing.assert_close(torch.as_tensor(outputs).float(), ours, rtol=0, atol=1e-6)


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_outputs_are_compared_with_permanents(space):
    case = Case("large", "ours", "inference", 5, 3, batch=2, space=space)
    outputs = case.prepare()()
    assert case.check(outputs)["gap"] < 1e-6
    assert case.check(outputs.roll(1, -1))["gap"] > 1e-3
    matrix = np.random.default_rng(0).normal(size=(3, 3)).astype(complex)
    orders = itertools.permutations(range(3))
    expected = sum(np.prod([matrix[i, j] for i, j in enumerate(order)]) for order in orders)
    np.testing.assert_allclose(rivals.permanents(matrix, np.ones((1, 3), int)), expected)


def test_counted_work_of_a_circuit():
    # 2 modes, 1 photon: two output states with one parent each.
    case = Case("circuits", "ours", "inference", 2, 1, n_replicas=3, batch=5)
    assert arithmetic(case) == 8 * 2 * 15
    assert output_bytes(case) == 4 * 5 * 2 * 15


def test_unknown_table_and_the_command_line():
    with pytest.raises(UnknownNameError, match="unknown table"):
        load_measurements("speed")
    result = CliRunner().invoke(main, ["bench", "--help"])
    assert result.exit_code == 0 and "MerLin" in result.output


def test_standard_cases_compare_both_registers_with_pennylane():
    cases = {(c.n_qubits, c.n_blocks, c.engine, c.n_replicas) for c in qubit_cases()}
    for register in ((10, 10), (14, 56)):
        assert {(*register, "ours", 20), (*register, "default.qubit", 1)} <= cases
    for register in ((10, 10), (14, 56), (16, 16), (18, 18)):
        assert {(*register, "ours", 1), (*register, "lightning.qubit", 1)} <= cases
    assert {c.batch for c in qubit_cases()} == {32}


def test_a_small_run_measures_both_engines():
    pytest.importorskip("pennylane")
    engines = (*QubitCase.rivals, "ours")
    rows = [measure(QubitCase(engine, 9, 1, batch=2), 1, 0.01) for engine in engines]
    assert all(row["seconds"] > 0 and row["n_blocks"] == 9 for row in rows)
    assert copy_speed(32 << 4) > 0


def test_both_engines_take_the_same_step(monkeypatch):
    pytest.importorskip("pennylane")
    values = []

    def keep(module, parameters, X):
        parameters = list(parameters)
        value = module(X)
        slopes = torch.autograd.grad(value.sum(), parameters)
        values.append((value.detach().reshape(2, -1), slopes[0].reshape(-1)))

    monkeypatch.setattr(bench_cases, "training_step", keep)
    for engine in ("ours", *QubitCase.rivals):
        QubitCase(engine, 9, 2, batch=2).prepare()
    for ours, *others in zip(*values, strict=True):
        for theirs in others:
            torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=0, atol=1e-5)


def test_ratios_and_bounds():
    case = QubitCase("ours", 10, 1, 20)
    assert state_bytes(case) == 6 * 10 * 4 * 1024 * 20 * 32
    table = pd.DataFrame([asdict(QubitCase("lightning.qubit", 10, 1)), asdict(case)])
    table = table.assign(n_blocks=10, peak_mebibytes=1.0, seconds=[1.0, 0.4])
    table["seconds_per_replica"] = table["seconds"] / table["n_replicas"]
    ratios = with_ratios(table, QubitCase)
    bounded = with_bandwidth(ratios, state_bytes(case), {10: 10 * state_bytes(case)})
    assert bounded["ratio"].tolist() == [1.0, 50.0]
    assert bounded["bound_memory"].tolist() == [1 / 20, 1.0]
    assert bounded["over_memory"][1] == pytest.approx(0.4)
    assert bounded["over_cache"][1] == pytest.approx(4)


def test_without_pennylane_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(timing, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="install the extra `test`"):
        run_qubit_benchmark(qubit_cases(), n_threads=1)
    refused = CliRunner().invoke(main, ["bench"])
    assert refused.exit_code == 1 and "--no-qubits" in refused.output
    result = CliRunner().invoke(main, ["bench", "--help"])
    assert "--no-qubits" in result.output and "PennyLane" in result.output
