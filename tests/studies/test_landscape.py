"""The landscape's measures against what is known exactly."""

import numpy as np
import pytest

from qllm_helpers.studies.landscape import (
    Circuit,
    budget_losses,
    gradient_variance,
    span_dimension,
    standard_circuits,
)


def test_standard_circuits_have_a_distinguishable_partner_each():
    circuits = standard_circuits()
    assert len(set(circuits)) == len(circuits)
    assert 2 * sum(circuit.distinguishable for circuit in circuits) == len(circuits)


def test_one_photon_spans_as_many_functions_as_modes():
    """m probabilities of one photon, which are independent but for random interferometers' sum."""
    assert span_dimension(Circuit(4, 1, "fock", False)) == 4


def test_more_photons_span_more_functions_and_unbunched_outputs_fewer():
    one, two = (span_dimension(Circuit(4, n, "fock", False)) for n in (1, 2))
    unbunched = span_dimension(Circuit(4, 2, "unbunched", False))
    assert one < two == 10 and unbunched == 6


def test_one_photon_does_not_see_distinguishability_but_four_do():
    one = [gradient_variance(Circuit(4, 1, "fock", d), n_draws=50) for d in (False, True)]
    four = [gradient_variance(Circuit(4, 4, "fock", d), n_draws=200) for d in (False, True)]
    assert one[0] == pytest.approx(one[1])
    # Interference spreads single probabilities widely; classical particles average out.
    assert four[0]["mesh_gradient_variance"] > 2 * four[1]["mesh_gradient_variance"]


def test_losses_fall_with_the_budget_and_are_reproducible():
    circuit = Circuit(2, 1, "fock", False)
    losses = budget_losses(circuit, epochs=2)
    assert budget_losses(circuit, epochs=10).mean() < losses.mean()
    assert losses.shape == (20,)
    assert np.array_equal(losses, budget_losses(circuit, epochs=2))
