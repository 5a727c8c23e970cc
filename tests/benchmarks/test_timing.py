"""Ratios and bounds of known times."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from qllm_helpers.benchmarks.cases import Case, layer_cases
from qllm_helpers.benchmarks.timing import with_bounds, with_ratios


@pytest.fixture(scope="module")
def measured():
    """A benchmark as if MerLin took 80 ms, and ours 1 ms and 0.24 ms a replica."""
    rows = []
    for case in layer_cases():
        ours = 0.0008 + 0.0002 * case.n_replicas * case.batch / 32
        seconds = {"merlin": 0.08, "ours": ours}.get(case.engine, 0.4)
        rows.append(
            {
                **asdict(case),
                "n_outputs": case.n_outputs,
                "seconds": seconds,
                "seconds_per_replica": seconds / case.n_replicas,
            }
        )
    limits = {"flops": 2e10, "bytes_per_second": 1e10}
    return with_bounds(with_ratios(pd.DataFrame(rows), Case), limits)


@pytest.fixture(scope="module")
def steps(measured):
    """Training steps of ours on the table's circuits."""
    return measured.query("series == 'circuits' and task == 'training step' and engine == 'ours'")


def test_ratios_are_per_replica(measured, steps):
    ratios = steps.pivot(index=["n_modes", "n_photons"], columns="n_replicas", values="ratio")
    assert len(ratios) == 8
    np.testing.assert_allclose(ratios[1], 0.08 / 0.001)
    np.testing.assert_allclose(ratios[20], 0.08 / (0.0048 / 20))
    rivals = measured[measured["engine"] != "ours"].groupby("engine")["ratio"]
    np.testing.assert_allclose(rivals.mean()[["merlin", "perceval"]], [1, 0.2])
    assert measured.loc[~measured["series"].isin(["circuits", "large"]), "ratio"].isna().all()


def test_ratios_compare_the_same_task_and_circuit_only():
    row = {"series": "circuits", "task": "inference", "n_modes": 4, "n_photons": 2}
    row |= {"batch": 32, "space": "fock"}
    table = pd.DataFrame(
        [
            row | {"engine": "merlin", "seconds_per_replica": 6.0},
            row | {"engine": "ours", "seconds_per_replica": 2.0},
            row | {"engine": "ours", "seconds_per_replica": 1.0, "task": "training step"},
        ]
    )
    ratios = with_ratios(table, Case)["ratio"]
    assert ratios[:2].tolist() == [1.0, 3.0] and ratios.isna()[2]
    assert with_ratios(table[1:], Case)["ratio"].isna().all()


def test_bounds_of_our_circuits(steps):
    assert len(steps) == 16
    bounds = steps[["bound_launch", "bound_arithmetic", "bound_memory"]]
    assert (steps["bound"] == bounds.idxmax(axis=1).str.removeprefix("bound_")).all()
    np.testing.assert_allclose(steps["seconds"] / bounds.sum(axis=1), steps["over_bound"])
