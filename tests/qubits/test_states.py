"""The circuits of the paper: equal to PennyLane with and without noise; replicas agree."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qllm_helpers.heads.qubit import QubitHead
from qllm_helpers.qubits import states as qubits_states
from qllm_helpers.qubits.states import (
    Circuit,
    ReuploadingCircuit,
    SimulatedEncoder,
    ansatz,
    encoder_circuit,
    expectations_of,
    final_state,
    noisy_expectations,
    reuploading_circuit,
    run_circuit,
    sampled_expectations,
)

SIZES = st.integers(2, 6).flatmap(lambda Q: st.tuples(st.just(Q), st.integers(1, Q - 1)))


def draw(seed, *shape, dtype=torch.float64):
    """Normal numbers from a seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def pennylane_expectations(circuit, angles, samples, amplitudes):
    """The same circuit of one replica on PennyLane's default.qubit: (B, Q)."""
    qml = pytest.importorskip("pennylane")

    @qml.qnode(qml.device("default.qubit", wires=circuit.n_qubits), interface="torch")
    def run():
        if amplitudes is not None:
            qml.StatePrep(amplitudes, wires=range(circuit.n_qubits), pad_with=0.0)
        for control, target, source in circuit.gates:
            if control >= 0:
                qml.CNOT([control, target])
            qml.RY(angles[source] if source >= 0 else samples[:, -1 - source], target)
        return [qml.expval(qml.PauliZ(qubit)) for qubit in range(circuit.n_qubits)]

    return torch.stack(run(), dim=-1)


def slopes(compute, leaves):
    """Value, and derivatives of a random readout of it by the leaves."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    value = compute(*leaves)
    readout = draw(99, value.shape[-1], dtype=value.dtype)
    (value @ readout).sum().backward()
    return [value.detach(), *(leaf.grad for leaf in leaves)]


def assert_close(ours, theirs, tolerance):
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other.to(one.dtype), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("boundary", ["ring", "open"])
@pytest.mark.parametrize("size", [(2, 1, 3), (3, 2, 2), (4, 3, 1), (5, 2, 2), (7, 4, 1)])
def test_module_1_equals_pennylane(size, boundary, dtype):
    n_qubits, connectivity, n_layers = size
    circuit = encoder_circuit(n_qubits, connectivity, n_layers, boundary)
    angles, X = draw(1, circuit.n_angles, dtype=dtype), draw(2, 5, 2**n_qubits - 1, dtype=dtype)
    amplitudes = X / X.norm(dim=-1, keepdim=True)
    ours = slopes(
        lambda a, x: run_circuit(circuit, a[None], amplitudes=x[None])[0], [angles, amplitudes]
    )
    theirs = slopes(
        lambda a, x: pennylane_expectations(circuit, a, None, x),
        [angles.double(), amplitudes.double() / amplitudes.double().norm(dim=-1, keepdim=True)],
    )
    # PennyLane checks the norm and keeps the state as it is: its derivative is the plain one too.
    assert_close(ours, theirs, 1e-5 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("reuploads", ["own", "shared"])
@pytest.mark.parametrize("size", [(2, 1, 0, 1), (3, 2, 2, 1), (4, 1, 3, 2), (6, 3, 1, 0)])
def test_module_2_equals_pennylane(size, reuploads, dtype):
    circuit = reuploading_circuit(*size, "ring", reuploads)
    angles, latent = draw(3, circuit.n_angles, dtype=dtype), draw(4, 5, size[0], dtype=dtype)
    ours = slopes(lambda a, z: run_circuit(circuit, a[None], given=z[None])[0], [angles, latent])
    theirs = slopes(
        lambda a, z: pennylane_expectations(circuit, a, z, None), [angles.double(), latent.double()]
    )
    assert_close(ours, theirs, 1e-5 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize("n_qubits", [10, 14])
def test_the_papers_registers_equal_pennylane(n_qubits):
    encoder = SimulatedEncoder(n_qubits)
    X = draw(5, 3, 384, dtype=torch.float32)
    ours = slopes(lambda x: encoder(x[None])[0], [X])
    angles = encoder.angles.detach().double()[0]
    theirs = slopes(
        lambda x: pennylane_expectations(
            encoder.circuit, angles, None, x / x.norm(dim=-1, keepdim=True)
        ),
        [X.double()],
    )
    assert_close(ours, theirs, 1e-5)


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(1, 3), st.sampled_from(["ring", "open"]), st.integers(0, 2**20))
def test_norm_is_preserved_and_expectations_are_bounded(size, n_layers, boundary, seed):
    encoder = SimulatedEncoder(*size, n_layers, boundary, n_replicas=2)
    X = draw(seed, 2, 3, 2 ** size[0], dtype=torch.float32)
    amplitudes = X / X.norm(dim=-1, keepdim=True)
    state = final_state(encoder.circuit, encoder.angles, amplitudes=amplitudes)
    torch.testing.assert_close(state.norm(dim=-1), torch.ones(2, 3))
    expectations = encoder(X)
    assert expectations.abs().max() <= 1 + 1e-5
    torch.testing.assert_close(expectations, expectations_of(state), rtol=0, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(0, 2**20), st.floats(0.1, 10))
def test_outputs_are_quadratic_forms_with_eigenvalues_of_one(size, seed, factor):
    n_qubits, connectivity = size
    encoder = SimulatedEncoder(n_qubits, connectivity).double()
    # Column i of U is what the circuit makes of the i-th basis vector.
    basis = torch.eye(2**n_qubits, dtype=torch.float64)[None]
    U = final_state(encoder.circuit, encoder.angles, amplitudes=basis)[0].mT
    signs = expectations_of(torch.eye(2**n_qubits, dtype=torch.float64)[None].sqrt())[0]
    forms = torch.einsum("ki,kq,kj->qij", U, signs, U)
    x = draw(seed, 4, 2**n_qubits)
    wanted = torch.einsum("bi,qij,bj->bq", x, forms, x) / x.square().sum(-1, keepdim=True)
    torch.testing.assert_close(encoder(x[None] * factor)[0], wanted)
    eigenvalues = torch.linalg.eigvalsh(forms)
    half = 2 ** (n_qubits - 1)
    torch.testing.assert_close(eigenvalues[:, :half], -torch.ones(n_qubits, half).double())
    torch.testing.assert_close(eigenvalues[:, half:], torch.ones(n_qubits, half).double())


@pytest.mark.parametrize("batch", [1, 5, 20])
@pytest.mark.parametrize("kind", ["encoder", "own", "shared"])
def test_a_replica_alone_is_the_same_to_the_bit_among_others(kind, batch):
    def build(seeds):
        if kind == "encoder":
            module = SimulatedEncoder(5, 2, 2, n_replicas=len(seeds))
        else:
            module = ReuploadingCircuit(5, 2, 2, reuploads=kind, n_replicas=len(seeds))
        module.reset_parameters([torch.Generator().manual_seed(seed) for seed in seeds])
        return module

    X = draw(0, 3, batch, 32 if kind == "encoder" else 5, dtype=torch.float32)
    results = []
    for module, x in ((build([8]), X[1:2]), (build([3, 8, 1]), X)):
        x = x.clone().requires_grad_()
        value = module(x)
        value.square().sum().backward()
        results.append([t[-2 if len(t) > 1 else 0] for t in (value, module.angles.grad, x.grad)])
    for alone, among in zip(*results, strict=True):
        assert torch.equal(alone, among)


def test_several_derivatives_of_one_forward_pass():
    encoder = SimulatedEncoder(4).double()
    x = draw(7, 1, 3, 16).requires_grad_()
    value = encoder(x)
    first, again = (
        torch.autograd.grad(value[..., 1].sum(), x, retain_graph=True)[0] for _ in range(2)
    )
    assert torch.equal(first, again)


def test_memory_for_the_backward_pass_does_not_grow_with_depth(monkeypatch):
    kept, forward = [], qubits_states.circuit_forward

    def spy(gates, trained, given, amplitudes, batch, states, *rest):
        kept.append(states.nbytes)
        forward(gates, trained, given, amplitudes, batch, states, *rest)

    monkeypatch.setattr(qubits_states, "circuit_forward", spy)
    X = draw(6, 1, 40, 16, dtype=torch.float32)
    shallow, deep = SimulatedEncoder(4, 3, 1), SimulatedEncoder(4, 3, 20)
    shallow(X), deep(X)
    with torch.no_grad():
        deep(X)
    block = 16 * 16 * 4
    assert kept == [3 * block, 3 * block, block]


def test_padding_is_zeros_or_the_values_again():
    encoder = SimulatedEncoder(4, n_replicas=2)
    x = draw(8, 2, 3, 11, dtype=torch.float32)
    padded = torch.nn.functional.pad(x, (0, 5))
    torch.testing.assert_close(encoder(x), encoder(padded))
    repeated = SimulatedEncoder(4, n_replicas=2, padding="repeat")
    torch.testing.assert_close(repeated(x), encoder(torch.cat([x, x[..., :5]], -1)))


def test_a_constant_beside_the_values_tells_x_from_minus_x():
    x, size = draw(8, 2, 3, 11), {"n_qubits": 4, "connectivity": 3, "n_layers": 2, "n_replicas": 2}
    encoder = SimulatedEncoder(**size, padding="constant", constant=0.5).double()
    beside = torch.nn.functional.pad(x, (0, 1), value=0.5)
    torch.testing.assert_close(encoder(x), SimulatedEncoder(**size).double()(beside))

    def form(x):  # x^T A x + 2 c b x + c^2 a, of which the odd part is linear
        return encoder(x) * (x.square().sum(-1, keepdim=True) + 0.25)

    odd = form(x) - form(-x)
    assert odd.abs().min() > 1e-3
    torch.testing.assert_close(form(2 * x) - form(-2 * x), 2 * odd)
    for padding in ("zeros", "repeat"):
        even = SimulatedEncoder(**size, padding=padding).double()
        assert torch.equal(even(x), even(-x))
    # It takes an amplitude, and is one where all values are zero.
    assert SimulatedEncoder(4, padding="constant")(torch.zeros(1, 2, 15)).abs().max() <= 1 + 1e-6
    head = QubitHead(15, 3, 4, padding="constant", constant=0.5)
    X = draw(9, 1, 5, 15, dtype=torch.float32)
    assert not torch.allclose(head(X), head(-X))
    assert QubitHead(99, 3, 4, reduction="linear", padding="constant").options.width == 15


@pytest.mark.parametrize("scale", [0.0, 1e-40])
def test_a_sample_without_a_direction_is_refused(scale):
    X = draw(8, 2, 3, 11, dtype=torch.float32)
    X[1, 2] = scale
    with pytest.raises(ValueError, match=r"sample 2 of the batch \(replica 1\) has no amplitudes"):
        SimulatedEncoder(4, n_replicas=2)(X)


def many(n_samples, width):
    """Samples that take no memory."""
    return torch.ones(1, 1, width).expand(1, n_samples, width)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SimulatedEncoder(40), "1,099,511,627,776 amplitudes of 40 qubits"),
        (lambda: ReuploadingCircuit(10**9), "more than 18,446,744,073,709,551,616 amplitudes"),
        (lambda: QubitHead(16, 2, 40), "1,099,511,627,776 amplitudes"),
        (lambda: SimulatedEncoder(10, n_replicas=10**9), "1,024,000,000,000 amplitudes"),
        (lambda: SimulatedEncoder(4, n_layers=10**12), "4,000,000,000,000 gates"),
        (lambda: ReuploadingCircuit(4, 1, 10**12), "8,000,000,000,000 gates"),
        (lambda: SimulatedEncoder(10)(many(10**9, 384)), "1,024,000,000,000 amplitudes"),
        (lambda: ReuploadingCircuit(10)(many(10**9, 10)), "1,024,000,000,000 amplitudes"),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_at_once(refused_at_once, build, message):
    with refused_at_once(f"{message}.* GiB of memory"):
        build()


def test_blocks_of_the_ansatz():
    assert ansatz(4, 2) == [
        *[(0, 1), (1, 2), (2, 3), (3, 0)],
        *[(0, 2), (1, 3), (2, 0), (3, 1)],
    ]
    assert ansatz(4, 2, 2, "open") == 2 * [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3)]
    for n_qubits, connectivity in ((10, 1), (14, 4), (5, 4)):
        ring = ansatz(n_qubits, connectivity, 3)
        stopped = ansatz(n_qubits, connectivity, 3, "open")
        assert len(ring) == 3 * connectivity * n_qubits
        assert len(stopped) == 3 * sum(n_qubits - c for c in range(1, connectivity + 1))


def test_angles_of_the_re_uploading_circuit():
    own = reuploading_circuit(4, 2, 3, 1, "ring", "own")
    shared = reuploading_circuit(4, 2, 3, 1, "ring", "shared")
    assert (own.n_angles, shared.n_angles) == (8 * 4, 8 * 2)
    assert own.n_given == shared.n_given == 4
    assert len(own.gates) == len(shared.gates) == 4 * 4 + 8 * 4
    assert reuploading_circuit(4, 2, 0, 1, "ring", "own").n_angles == 8


def test_starts():
    generator = [torch.Generator().manual_seed(0)]
    uniform, small = SimulatedEncoder(10, 9), SimulatedEncoder(10, 9, start="small")
    uniform.reset_parameters(generator)
    small.reset_parameters(generator)
    assert uniform.angles.min() >= 0 and uniform.angles.max() < 2 * math.pi
    assert uniform.angles.max() > 5 and 0.05 < small.angles.std() < 0.2


BAD_CIRCUITS = [
    (lambda: SimulatedEncoder(1), "n_qubits must be a whole number, at least 2, not 1"),
    (lambda: SimulatedEncoder(21), "n_qubits must be a whole number, 2 to 20, not 21"),
    (lambda: SimulatedEncoder(4, 4), "connectivity 4 reaches beyond a register of 4 qubits"),
    (lambda: SimulatedEncoder(4, 0), "connectivity must be a whole number, at least 1, not 0"),
    (lambda: SimulatedEncoder(4, 1, 1, "torus"), "boundary must be one of"),
    (lambda: SimulatedEncoder(4, padding="noise"), "padding must be one of"),
    (lambda: SimulatedEncoder(4, True), "connectivity must be a whole number"),
    (lambda: SimulatedEncoder(4, padding="constant", constant=0), "constant must be a finite"),
    (lambda: SimulatedEncoder(4, constant=2.0), "belongs to padding='constant'"),
    (lambda: SimulatedEncoder(4, n_replicas=0), "n_replicas must be a whole number"),
    (lambda: SimulatedEncoder(4, start="hot"), "start must be one of"),
    (
        lambda: ReuploadingCircuit(4, 1, -1),
        "n_reuploads must be a whole number, at least 0",
    ),
    (lambda: ReuploadingCircuit(4, reuploads="all"), "reuploads must be one of"),
    (
        lambda: ReuploadingCircuit(4, angle_scale=0.0),
        "angle_scale must be a .* number above 0, not",
    ),
    (lambda: SimulatedEncoder(3)(torch.ones(1, 2, 9)), "9 values do not fit into the 8"),
    (
        lambda: SimulatedEncoder(3, padding="constant")(torch.ones(1, 2, 8)),
        "8 values and the constant do not fit into the 8",
    ),
    (lambda: ReuploadingCircuit(3)(torch.ones(1, 2, 4)), "given must be"),
    (lambda: SimulatedEncoder(3)(torch.ones(1, 2, 8).double()), "angles must be"),
    (lambda: SimulatedEncoder(3)(torch.ones(2, 2, 8)), "angles must be"),
]


@pytest.mark.parametrize("build, message", BAD_CIRCUITS)
def test_impossible_circuits_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_any_sequence_of_gates_and_no_samples():
    # Pairs that cannot share a pass: the same target, and a control that is the next target.
    gates = ((0, 1, 0), (2, 1, 1), (1, 0, 2), (0, 1, 0), (-1, 2, -1), (-1, 2, 3), (2, 0, 1))
    circuit = Circuit(3, gates)
    angles, given_angles = draw(1, 2, 4), draw(2, 2, 5, 1)
    leaves = [angles, given_angles]
    ours = slopes(lambda a, g: run_circuit(circuit, a, given=g), leaves)
    theirs = slopes(lambda a, g: expectations_of(final_state(circuit, a, given=g)), leaves)
    assert_close(ours, theirs, 1e-12)
    empty = run_circuit(circuit, angles, given=given_angles[:, :0])
    assert empty.shape == (2, 0, 3)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def small_case(n_samples=3, copies=1):
    """Three qubits, six blocks; every sample `copies` times."""
    circuit = encoder_circuit(3, 2, 1, "ring")
    angles = torch.rand(1, circuit.n_angles, dtype=torch.float64, generator=drawn()) * 6
    X = torch.randn(1, n_samples, 8, dtype=torch.float64, generator=drawn(1))
    return circuit, angles, (X / X.norm(dim=-1, keepdim=True)).repeat_interleave(copies, 1)


def noisy_pennylane(circuit, angles, amplitudes, rate, given=None):
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
    exact = [noisy_pennylane(circuit, angles[0], x, rate) for x in X[0, ::copies]]
    assert (means - torch.stack(exact)).abs().max() < 5 / copies**0.5


def test_module_2_is_pennylanes_channel():
    copies, rate = 20_000, 0.1
    circuit = reuploading_circuit(3, 1, 1, 1, "ring", "own")
    angles = torch.rand(1, circuit.n_angles, dtype=torch.float64, generator=drawn(2)) * 6
    given = torch.rand(1, 1, 3, dtype=torch.float64, generator=drawn(3))
    options = {"rate": rate, "n_trajectories": 1, "generator": drawn()}
    noisy = noisy_expectations(circuit, angles, given=given.expand(1, copies, 3), **options)
    exact = noisy_pennylane(circuit, angles[0], None, rate, given[0, 0])
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
