"""The photonic layer is MerLin's and Perceval's function, and obeys the physics."""

import itertools
import math

import numba
import numpy as np
import perceval as pcvl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qllm_helpers.photons.interferometer import mesh_unitary
from qllm_helpers.photons.kernels import LARGE
from qllm_helpers.photons.layer import PhotonicLayer, default_input_state
from qllm_helpers.photons.merlin import perceval_circuit

TABLE = [(2, 1), (4, 2), (6, 3), (8, 1), (8, 2), (8, 4), (10, 5), (12, 4)]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def _layer(n_modes, n_photons, dtype=torch.float64, seed=0, **options):
    layer = PhotonicLayer(n_modes, n_photons, **options)
    generators = [torch.Generator().manual_seed(seed + r) for r in range(layer.n_replicas)]
    layer.reset_parameters(generators)
    return layer.to(dtype)


def _phases(layer, n_samples=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    shape = (layer.n_replicas, n_samples, layer.n_modes)
    return 2 * math.pi * torch.rand(shape, generator=generator, dtype=layer.left.dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize(("n_modes", "n_photons"), TABLE)
def test_probabilities_and_gradients_are_merlins(n_modes, n_photons, space, dtype):
    layer = _layer(n_modes, n_photons, dtype, space=space, n_replicas=2)
    phases = _phases(layer).requires_grad_()
    merlin_layer = layer.to_merlin(replica=1)
    merlin_phases = phases[1].detach().clone().requires_grad_()
    ours, theirs = layer(phases)[1], merlin_layer(merlin_phases)
    assert [tuple(key) for key in merlin_layer.output_keys] == layer.basis
    assert (ours - theirs).abs().max() < TOLERANCE[dtype]
    direction = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    (ours * direction).sum().backward()
    (theirs * direction).sum().backward()
    for mine, other in (
        (layer.left.grad[1], merlin_layer.left.grad),
        (layer.right.grad[1], merlin_layer.right.grad),
        (phases.grad[1], merlin_phases.grad),
    ):
        assert (mine - other).abs().max() < 1e-4
    assert layer.left.grad[0].abs().max() == 0  # the other replica is not touched


@pytest.mark.parametrize("state", [(0, 2, 0, 0), (1, 0, 3, 0), (0, 1, 1, 1), (2, 0, 0, 1)])
def test_any_input_state_matches_merlin(state):
    layer = _layer(4, sum(state), input_state=state)
    assert layer.input_state == state
    phases = _phases(layer)
    assert (layer(phases)[0] - layer.to_merlin()(phases[0])).abs().max() < 1e-10


@pytest.mark.parametrize(("n_modes", "n_photons"), [(2, 1), (4, 2), (6, 3), (8, 4), (10, 5)])
def test_probabilities_are_those_of_percevals_slos(n_modes, n_photons):
    layer = _layer(n_modes, n_photons)
    phases = _phases(layer, n_samples=1)
    circuit = perceval_circuit(n_modes)
    values = torch.cat([layer.left[0], phases[0, 0], layer.right[0]]).tolist()
    for parameter, value in zip(circuit.get_parameters(), values, strict=True):
        parameter.set_value(value)
    backend = pcvl.BackendFactory.get_backend("SLOS")
    backend.set_circuit(circuit)
    backend.set_input_state(pcvl.BasicState(list(layer.input_state)))
    expected = {tuple(state): value for state, value in backend.prob_distribution().items()}
    ours = dict(zip(layer.basis, layer(phases)[0, 0].tolist(), strict=True))
    assert max(abs(ours[state] - expected.get(state, 0.0)) for state in ours) < 1e-10


def test_a_replica_is_the_same_alone_and_among_others():
    many = _layer(6, 3, torch.float32, n_replicas=4)
    phases = _phases(many)
    alone = PhotonicLayer(6, 3)
    with torch.no_grad():
        alone.left.copy_(many.left[2:3])
        alone.right.copy_(many.right[2:3])
    assert torch.allclose(many(phases)[2:3], alone(phases[2:3]), atol=1e-6)


circuits = st.integers(2, 6).flatmap(
    lambda m: st.tuples(st.just(m), st.integers(1, min(m, 4)), st.integers(0, 2**31))
)


@settings(max_examples=30, deadline=None)
@given(circuits, st.sampled_from(["fock", "unbunched"]), st.booleans())
def test_probabilities_are_normalised(circuit, space, distinguishable):
    n_modes, n_photons, seed = circuit
    layer = _layer(
        n_modes, n_photons, seed=seed, space=space, distinguishable=distinguishable, n_replicas=2
    )
    probabilities = layer(_phases(layer, n_samples=18, seed=seed))
    assert probabilities.min() >= 0
    assert torch.allclose(probabilities.sum(-1), torch.ones(2, 18, dtype=torch.float64))


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 2 * math.pi), st.booleans())
def test_hong_ou_mandel(angle, distinguishable):
    """Two photons on a splitter of reflectivity cos^2: coincidences vanish at 1/2 by interference.

    A single Mach-Zehnder interferometer with inner phase a is a splitter with transmission
    T = cos^2(a / 2). Coincidences: (2T - 1)^2 for identical, T^2 + (1 - T)^2 for distinct photons.
    """
    layer = _layer(2, 2, distinguishable=distinguishable)
    with torch.no_grad():
        layer.left.zero_()
        layer.left[0, 0] = angle
        layer.right.zero_()
        layer.right[0, 0] = math.pi  # a mirror: it passes the photons on unmixed
    coincidence = layer(torch.zeros(1, 1, 2, dtype=torch.float64))[0, 0, layer.basis.index((1, 1))]
    split = math.cos(angle / 2) ** 2
    expected = split**2 + (1 - split) ** 2 if distinguishable else (2 * split - 1) ** 2
    assert coincidence.item() == pytest.approx(expected, abs=1e-12)


def test_one_photon_does_not_care_whether_photons_are_distinguishable():
    layer, twin = _layer(5, 1), _layer(5, 1, distinguishable=True)
    assert torch.allclose(layer(_phases(layer)), twin(_phases(twin)), atol=1e-12)


def test_distinguishable_photons_match_the_permanent_of_the_squared_moduli():
    layer = _layer(4, 3, distinguishable=True)
    phases = _phases(layer, n_samples=1)
    squared = layer.transfer(phases)[0, 0].abs().square().detach().numpy()  # (photon, mode)
    for state, probability in zip(layer.basis, layer(phases)[0, 0].tolist(), strict=True):
        modes = np.repeat(np.arange(4), state)
        permanent = sum(
            np.prod([squared[k, modes[p]] for k, p in enumerate(order)])
            for order in itertools.permutations(range(3))
        )
        expected = permanent / math.prod(math.factorial(photons) for photons in state)
        assert probability == pytest.approx(expected, abs=1e-12)


def test_phases_after_the_last_splitters_are_dead_and_the_encoding_is_periodic():
    layer = _layer(6, 2)
    phases = _phases(layer)
    probabilities = layer(phases)
    probabilities.square().sum().backward()
    assert layer.right.grad[0, -6:].abs().max() < 1e-12
    assert layer.right.grad[0, :-6].abs().max() > 1e-3
    assert torch.allclose(layer(phases + 2 * math.pi), probabilities)


def test_no_amplitude_is_kept_for_the_backward_pass():
    n_bytes = {}
    for n_photons, name in itertools.product((1, 4), ("forward", "reference")):
        layer = PhotonicLayer(6, n_photons)
        kept = []  # held, or an address could be given to the next one
        hooks = torch.autograd.graph.saved_tensors_hooks
        with hooks(lambda saved, kept=kept: kept.append(saved.untyped_storage()), lambda _: None):
            getattr(layer, name)(torch.zeros(1, 32, 6))
        storages = {storage.data_ptr(): storage.nbytes() for storage in kept}
        n_bytes[n_photons, name] = sum(storages.values())
    # cosines and sines of all phases, in single and double precision, and both meshes
    phases, meshes = 2 * 32 * 6 * 4 + 2 * 2 * 36 * 8, 2 * 36 * 2 * 8
    assert n_bytes[1, "forward"] == n_bytes[4, "forward"] == phases + meshes
    assert n_bytes[4, "reference"] > 10 * n_bytes[4, "forward"]


def test_mesh_is_unitary_and_its_derivative_right():
    phases = torch.rand(2, 16, dtype=torch.float64, requires_grad=True)
    unitary = mesh_unitary(phases, 4)
    identity = torch.eye(4, dtype=torch.complex128).expand(2, 4, 4)
    assert torch.allclose(unitary @ unitary.mH, identity)
    assert torch.autograd.gradcheck(lambda p: torch.view_as_real(mesh_unitary(p, 4)), phases)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((1, 1), {}, "n_modes must be a whole number, at least 2, not 1"),
        ((4, 0), {}, "n_photons must be a whole number, at least 1, not 0"),
        ((4, 2.5), {}, "n_photons must be a whole number, at least 1, not 2.5"),
        ((4, 5), {}, "5 photons do not fit into 4 modes"),
        ((4, 5), {"space": "unbunched"}, "always bunch"),
        ((4, 2), {"space": "bunched"}, "space must be one of fock, unbunched, not 'bunched'"),
        ((4, 2), {"input_state": (1, 0, 0, 0)}, "must hold 2 photons in 4 modes"),
        ((4, 2), {"input_state": (1, 1)}, "must hold 2 photons in 4 modes"),
        ((4, 2), {"n_replicas": 0}, "n_replicas must be a whole number, at least 1, not 0"),
        ((4, 2), {"n_replicas": True}, "n_replicas must be a whole number, at least 1, not True"),
    ],
)
def test_impossible_circuits_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        PhotonicLayer(*arguments, **options)


FOCK = f"{math.comb(59, 20):,} Fock states of 20 photons in 40 modes .* GiB"
UNBUNCHED = r"1.01e\+29 Fock states of 50 photons in 100 modes .* GiB"


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((40, 20), {}, FOCK),
        ((100, 50), {"space": "unbunched"}, UNBUNCHED),
        ((2000, 1000), {}, "inf Fock states of 1,000 photons in 2,000 modes"),
        ((2, 10**12), {"input_state": (10**12, 0)}, "1,000,000,000,001 Fock states"),
        ((8, 2), {"n_replicas": 10**9}, r"n_replicas = 1,000,000,000 circuits .* 476.8 GiB"),
        ((10**9, 2), {}, r"circuits of 1,000,000,000 modes"),
    ],
)
def test_circuits_that_do_not_fit_into_memory_are_refused_at_once(
    refused_at_once, arguments, options, message
):
    with refused_at_once(message):
        PhotonicLayer(*arguments, **options)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("ask", ["forward", "amplitudes"])
def test_batches_whose_outputs_do_not_fit_are_refused_at_once(refused_at_once, ask):
    layer = PhotonicLayer(12, 4)
    phases = torch.zeros(1, 1, 12).expand(1, 10**9, 12)  # one row of numbers, seen often
    with refused_at_once("1,365 Fock states for 1 x 1,000,000,000 samples"):
        getattr(layer, ask)(phases)


def test_wrong_phases_and_replicas_are_refused():
    layer = _layer(4, 2)
    with pytest.raises(ValueError, match="phases must have shape"):
        layer(torch.zeros(1, 3, 5, dtype=torch.float64))
    with pytest.raises(ValueError, match="the layer is torch.float64"):
        layer(torch.zeros(1, 3, 4))
    with pytest.raises(ValueError, match="replica must be a whole number, 0 to 0, not 1"):
        layer.to_merlin(replica=1)
    with pytest.raises(ValueError, match="no joint amplitude"):
        _layer(4, 2, distinguishable=True).amplitudes(torch.zeros(1, 3, 4, dtype=torch.float64))


def test_default_input_state_is_the_earlier_reproductions():
    assert default_input_state(8, 1) == (1, 0, 0, 0, 0, 0, 0, 0)
    assert default_input_state(8, 4) == (1, 0, 1, 0, 1, 0, 1, 0)
    assert default_input_state(4, 3) == (1, 1, 1, 0)


def _with_gradients(layer, compute, n_samples):
    """Probabilities, and derivatives of a fixed sum of them."""
    generator = torch.Generator().manual_seed(n_samples)
    shape = (layer.n_replicas, n_samples, layer.n_modes)
    phases = 6 * torch.rand(shape, generator=generator, dtype=torch.float64)
    slopes = torch.randn(*shape[:2], layer.n_outputs, generator=generator, dtype=torch.float64)
    output = compute(phases.requires_grad_())
    inputs = (phases, layer.left, layer.right)
    return output, *torch.autograd.grad((output * slopes).sum(), inputs)


@pytest.mark.parametrize("distinguishable", [False, True])
@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize("n_samples", [3, 32, 45])
def test_compiled_pass_equals_torchs_own_operations(space, distinguishable, n_samples):
    options = {"space": space, "n_replicas": 2, "distinguishable": distinguishable}
    layer = PhotonicLayer(5, 3, input_state=(2, 0, 1, 0, 0), **options).double()
    results = (_with_gradients(layer, f, n_samples) for f in (layer.forward, layer.reference))
    for compiled, reference in zip(*results, strict=True):
        torch.testing.assert_close(compiled, reference, rtol=1e-10, atol=1e-12)


def test_parts_of_a_large_circuit_give_the_same_bits_on_any_number_of_threads():
    layer = PhotonicLayer(12, 5).double()
    assert layer.n_outputs >= LARGE
    reference = _with_gradients(layer, layer.reference, 20)
    before, results = numba.get_num_threads(), []
    try:
        for n_threads in (1, before):
            numba.set_num_threads(n_threads)
            results.append(_with_gradients(layer, layer.forward, 20))
    finally:
        numba.set_num_threads(before)
    for one, other, expected in zip(*results, reference, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, expected, rtol=1e-9, atol=1e-12)
