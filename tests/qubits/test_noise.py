"""Shots and depolarising noise: the limits are exact, the errors have the right size."""

import pytest
import torch

from qllm_helpers.qubits.states import (
    encoder_circuit,
    noisy_expectations,
    reuploading_circuit,
    run_circuit,
    sampled_expectations,
)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def small_case(n_samples=3, copies=1):
    """Three qubits, six blocks; every sample `copies` times."""
    circuit = encoder_circuit(3, 2, 1, "ring")
    angles = torch.rand(1, circuit.n_angles, dtype=torch.float64, generator=drawn()) * 6
    X = torch.randn(1, n_samples, 8, dtype=torch.float64, generator=drawn(1))
    return circuit, angles, (X / X.norm(dim=-1, keepdim=True)).repeat_interleave(copies, 1)


def pennylane_expectations(circuit, angles, amplitudes, rate, given=None):
    qml = pytest.importorskip("pennylane")

    @qml.qnode(qml.device("default.mixed", wires=circuit.n_qubits))
    def run():
        wires = range(circuit.n_qubits)
        if amplitudes is not None:
            qml.StatePrep(amplitudes.numpy(), wires=wires)
        for control, target, source in circuit.gates:
            if control >= 0:
                qml.CNOT([control, target])
                qml.DepolarizingChannel(0.75 * rate, control)
                qml.DepolarizingChannel(0.75 * rate, target)
            angle = angles[source] if source >= 0 else given[-1 - source]
            qml.RY(float(angle), target)
            qml.DepolarizingChannel(0.75 * rate, target)
        return [qml.expval(qml.PauliZ(wire)) for wire in wires]

    return torch.tensor([float(value) for value in run()], dtype=torch.float64)


def test_no_noise_is_the_exact_circuit():
    circuit, angles, X = small_case()
    options = {"amplitudes": X, "n_trajectories": 1, "generator": drawn()}
    noisy = noisy_expectations(circuit, angles, rate=0.0, **options)
    assert torch.equal(noisy, run_circuit(circuit, angles, amplitudes=X))
    # the unrolled circuit itself, with noise that never strikes
    almost = noisy_expectations(circuit, angles, rate=1e-12, **options)
    torch.testing.assert_close(almost, noisy, atol=1e-12, rtol=0)


def test_full_noise_leaves_nothing():
    circuit, angles, X = small_case(copies=2000)
    noisy = noisy_expectations(
        circuit, angles, amplitudes=X, rate=1.0, n_trajectories=4, generator=drawn()
    )
    means = noisy.reshape(3, 2000, 3).mean(1)
    assert means.abs().max() < 5 / (4 * 2000) ** 0.5


@pytest.mark.parametrize("rate", [0.02, 0.2])
def test_module_1_is_pennylanes_channel(rate):
    copies = 20_000
    circuit, angles, X = small_case(copies=copies)
    noisy = noisy_expectations(
        circuit, angles, amplitudes=X, rate=rate, n_trajectories=1, generator=drawn()
    )
    means = noisy.reshape(3, copies, 3).mean(1)
    exact = [pennylane_expectations(circuit, angles[0], x, rate) for x in X[0, ::copies]]
    assert (means - torch.stack(exact)).abs().max() < 5 / copies**0.5


def test_module_2_is_pennylanes_channel():
    copies, rate = 20_000, 0.1
    circuit = reuploading_circuit(3, 1, 1, 1, "ring", "own")
    angles = torch.rand(1, circuit.n_angles, dtype=torch.float64, generator=drawn(2)) * 6
    given = torch.rand(1, 1, 3, dtype=torch.float64, generator=drawn(3))
    options = {"rate": rate, "n_trajectories": 1, "generator": drawn()}
    noisy = noisy_expectations(circuit, angles, given=given.expand(1, copies, 3), **options)
    exact = pennylane_expectations(circuit, angles[0], None, rate, given[0, 0])
    assert (noisy[0].mean(0) - exact).abs().max() < 5 / copies**0.5


def test_shots_converge_as_one_over_their_root():
    exact = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64).expand(4000, 7)
    errors = []
    for shots in (16, 256, 4096):
        estimate = sampled_expectations(exact, shots, drawn(shots))
        errors.append((estimate - exact).square().mean(0).sqrt() * shots**0.5)
        assert (estimate.mean(0) - exact[0]).abs().max() < 6 / (4000 * shots) ** 0.5
    expected = (1 - exact[0].square()).sqrt()
    for scaled in errors:
        torch.testing.assert_close(scaled, expected, rtol=0.08, atol=0)
    many = sampled_expectations(exact[:1], 10**12, drawn())
    torch.testing.assert_close(many, exact[:1], atol=1e-4, rtol=0)


def test_equal_seeds_give_equal_bits():
    circuit, angles, X = small_case()
    options = {"amplitudes": X, "rate": 0.3, "n_trajectories": 3}
    first, again, other = (
        noisy_expectations(circuit, angles, generator=drawn(seed), **options) for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    shots = [sampled_expectations(first, 10, drawn(1)) for _ in range(2)]
    assert torch.equal(*shots)


def test_impossible_options_are_refused():
    circuit, angles, X = small_case()
    options = {"amplitudes": X, "generator": drawn()}
    with pytest.raises(ValueError, match="rate must be .* at most 1, not 1.5"):
        noisy_expectations(circuit, angles, rate=1.5, n_trajectories=1, **options)
    with pytest.raises(ValueError, match="n_trajectories"):
        noisy_expectations(circuit, angles, rate=0.1, n_trajectories=0, **options)
    with pytest.raises(ValueError, match="shots"):
        sampled_expectations(X, 0, drawn())
