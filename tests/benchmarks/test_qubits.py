"""The benchmark of the qubit circuits measures what it says, at a scale that takes seconds."""

from dataclasses import asdict

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from qllm_helpers.benchmarks import cases as bench_cases
from qllm_helpers.benchmarks import timing
from qllm_helpers.benchmarks.cases import QubitCase, qubit_cases
from qllm_helpers.benchmarks.timing import (
    copy_speed,
    measure,
    run_qubit_benchmark,
    state_bytes,
    with_bandwidth,
    with_ratios,
)
from qllm_helpers.cli import main


def test_standard_cases_compare_both_registers_with_pennylane():
    cases = {(c.n_qubits, c.n_blocks, c.engine, c.n_replicas) for c in qubit_cases()}
    for register in ((10, 10), (14, 56)):
        assert {
            (*register, "ours", 1),
            (*register, "ours", 20),
            (*register, "pennylane", 1),
        } <= cases
    assert {c.batch for c in qubit_cases()} == {32}


def test_a_small_run_measures_both_engines():
    pytest.importorskip("pennylane")
    rows = [measure(QubitCase(engine, 9, 1, batch=2), 1, 0.01) for engine in ("pennylane", "ours")]
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
    for engine in ("pennylane", "ours"):
        QubitCase(engine, 9, 2, batch=2).prepare()
    for theirs, ours in zip(*values, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_ratios_and_bounds():
    case = QubitCase("ours", 10, 1, 20)
    assert state_bytes(case) == 6 * 10 * 4 * 1024 * 20 * 32
    table = pd.DataFrame([asdict(QubitCase("pennylane", 10, 1)), asdict(case)])
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
