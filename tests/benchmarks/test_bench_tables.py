"""Tables about speed: ratios and growth with known answers, memory kept, agreement with MerLin."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from qllm_helpers.benchmarks import tables as bench_tables
from qllm_helpers.benchmarks.bounds import with_bounds
from qllm_helpers.benchmarks.layer import Case, standard_cases, with_ratios
from qllm_helpers.figures import speed as figures_speed
from qllm_helpers.figures.style import save
from qllm_helpers.photons.kernels import fock_tables, product_of_forms, product_of_forms_reference


@pytest.fixture(scope="module")
def measured():
    """A benchmark as if MerLin took 80 ms, and ours 1 ms and 0.2 ms a replica."""
    rows = []
    for case in standard_cases():
        seconds = {"merlin": 0.08, "perceval": 0.4}.get(case.engine)
        if seconds is None:
            seconds = 0.0008 + 0.0002 * case.n_replicas * case.batch / 32
        rows.append(
            {name: getattr(case, name) for name in Case.__dataclass_fields__}
            | {
                "n_outputs": math.comb(case.n_modes + case.n_photons - 1, case.n_photons),
                "seconds": seconds,
                "seconds_per_replica": seconds / case.n_replicas,
                "peak_mebibytes": 10.0,
            }
        )
    limits = {"flops": 2e10, "bytes_per_second": 1e10}
    return with_bounds(with_ratios(pd.DataFrame(rows)), limits)


def test_ratios_are_per_replica(measured):
    table = bench_tables.speed_ratios(measured)
    np.testing.assert_allclose(table["ratio_1"], 0.08 / 0.001)
    np.testing.assert_allclose(table["ratio_20"], 0.08 / (0.0048 / 20))
    np.testing.assert_allclose(table["ms_20"], 0.24)
    assert len(table) == 8
    assert "perceval_ms" not in table
    np.testing.assert_allclose(bench_tables.speed_ratios(measured, "inference").perceval_ms, 400)
    with pytest.raises(ValueError, match="no circuit was measured"):
        bench_tables.speed_ratios(measured, "compilation")


def test_growth_finds_the_exponent_of_the_large_sizes(measured):
    table = bench_tables.growth(measured).set_index("grows")
    assert table.loc["replicas", ["from", "to"]].tolist() == [1, 50]
    assert table.loc["modes", "exponent"] == pytest.approx(0)
    assert 0.7 < table.loc["replicas", "exponent"] < 1
    assert table.loc["batch", "time_factor"] == pytest.approx(0.0136 / 0.00085)


def test_bounds_of_our_circuits(measured):
    shares = bench_tables.bound_shares(measured)
    assert len(shares) == 16
    assert set(shares["bound"]) <= set(bench_tables.BOUNDS)
    total = shares[["launch_ms", "arithmetic_ms", "memory_ms"]].sum(axis=1)
    np.testing.assert_allclose(shares["ms"] / total, shares["over_bound"])


@pytest.mark.parametrize(
    ("space", "dtype", "limit"),
    [("fock", torch.float64, 1e-10), ("unbunched", torch.float32, 1e-5)],
)
def test_agreement_with_merlin(space, dtype, limit):
    table = bench_tables.agreement([(2, 1), (4, 2)], space=space, dtype=dtype)
    assert table["n_outputs"].tolist() == ([2, 10] if space == "fock" else [2, 6])
    assert (table["probabilities"] < limit).all()
    assert (table["gradients"] < 10 * limit).all()


def test_only_the_forms_are_kept_for_the_backward_pass():
    tables = fock_tables(6, 3, False)
    forms = torch.randn(8, 18, dtype=torch.complex64, requires_grad=True)
    kept = bench_tables.saved_bytes(lambda: product_of_forms(forms, tables))
    assert kept == forms.numel() * 8
    indexed = bench_tables.saved_bytes(lambda: product_of_forms_reference(forms, tables))
    assert indexed > 10 * kept


def test_figures_draw_what_they_are_given_and_repeat(measured, tmp_path):
    for attempt in ("first", "second"):
        drawn = {
            "ratios": figures_speed.ratio_bars(bench_tables.speed_ratios(measured)),
            "growth": figures_speed.growth_panels(measured),
            "bounds": figures_speed.time_and_bounds(bench_tables.bound_shares(measured)),
        }
        for name, figure in drawn.items():
            save(figure, tmp_path / f"{attempt}-{name}.svg")
    for first in tmp_path.glob("first-*.svg"):
        second = first.with_name(first.name.replace("first", "second"))
        assert first.read_bytes() == second.read_bytes(), first.name
    assert [text.get_text() for text in drawn["ratios"].axes[0].texts][:8] == ["80"] * 8
    assert len(drawn["growth"].axes) == 4
    assert len(drawn["bounds"].axes) == 2
    with pytest.raises(ValueError, match="no column ratio"):
        figures_speed.ratio_bars(pd.DataFrame({"n_modes": [2]}))
