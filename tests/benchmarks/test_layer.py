"""The benchmark of the photonic layer measures what it says."""

import pytest
from click.testing import CliRunner

from qllm_helpers.benchmarks.cases import CIRCUITS, Case, layer_cases
from qllm_helpers.benchmarks.timing import (
    arithmetic,
    machine_limits,
    output_bytes,
    run_benchmark,
    with_bounds,
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
    assert {c.series for c in cases} == {"circuits", "modes", "photons", "replicas", "batch"}
    assert not any(c.engine == "perceval" and c.task != "inference" for c in cases)


def test_a_small_run_measures_every_engine_and_bounds_ours():
    cases = [
        Case("circuits", engine, "inference", 4, 2, replicas, batch=4)
        for engine, replicas in (("ours", 1), ("ours", 3), ("merlin", 1), ("perceval", 1))
    ]
    table = run_benchmark(cases, n_threads=1, min_seconds=0.05)
    assert (table["seconds"] > 0).all() and (table["peak_mebibytes"] >= 0).all()
    assert table.loc[table["engine"] == "merlin", "ratio"].item() == 1
    assert table["seconds_per_replica"].iloc[1] == table["seconds"].iloc[1] / 3
    bounded = with_bounds(table, machine_limits())
    ours = bounded["engine"] == "ours"
    assert bounded.loc[ours, "bound"].isin(["launch", "arithmetic", "memory"]).all()
    assert bounded.loc[~ours, "bound"].isna().all()
    stored = list(load_measurements("benchmark").columns)
    assert list(bounded.columns) == stored[: len(bounded.columns)]


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
