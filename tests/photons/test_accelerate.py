"""MerLin's models give the same numbers on this book's engine, and what it cannot do is left."""

import merlin
import perceval as pcvl
import pytest
import torch

from qllm_helpers import accelerate, restore

FOCK, UNBUNCHED = merlin.ComputationSpace.FOCK, merlin.ComputationSpace.UNBUNCHED


def _simple():
    return merlin.QuantumLayer.simple(4)


def _built(space=FOCK, **options):
    """A trained circuit on both sides of an encoding, with MerLin's own builder."""
    builder = merlin.CircuitBuilder(n_modes=6)
    builder.add_entangling_layer(trainable=True, name="first")
    builder.add_angle_encoding(modes=[0, 1, 2, 3], name="input")
    builder.add_rotations(trainable=True, name="phase")
    builder.add_superpositions(trainable=True, depth=1)
    builder.add_entangling_layer(trainable=True, name="last")
    strategy = merlin.MeasurementStrategy.probs(space)
    return merlin.QuantumLayer(
        input_size=4, builder=builder, n_photons=3, measurement_strategy=strategy, **options
    )


def _reservoir():
    """Fixed matrices, a permutation, and beam splitters of every convention."""
    circuit = pcvl.Circuit(5).add(0, pcvl.Unitary(pcvl.Matrix.random_unitary(5)))
    for mode in range(4):
        circuit.add(mode, pcvl.PS(pcvl.P(f"x{mode}")))
    circuit.add(0, pcvl.Barrier(5)).add(1, pcvl.PERM([2, 0, 1])).add(0, pcvl.BS.Rx(theta=0.3))
    for mode, kind in enumerate((pcvl.BS.Rx, pcvl.BS.Ry, pcvl.BS.H)):
        corners = {name: pcvl.P(f"w{mode}_{name}") for name in ("theta", "phi_tl", "phi_br")}
        circuit.add(mode, kind(**corners, phi_bl=0.4, phi_tr=-0.7))
    return merlin.QuantumLayer(
        input_size=4,
        circuit=circuit.add(1, pcvl.Unitary(pcvl.Matrix.random_unitary(3))),
        input_state=[1, 0, 2, 0, 0],
        trainable_parameters=["w"],
        input_parameters=["x"],
        measurement_strategy=merlin.MeasurementStrategy.probs(FOCK),
        dtype=torch.float64,
    )


def _mode_numbers():
    builder = merlin.CircuitBuilder(n_modes=4)
    builder.add_entangling_layer(trainable=True, name="only")
    builder.add_angle_encoding(modes=[0, 1, 2, 3], name="input")
    builder.add_entangling_layer(trainable=True, name="other")
    strategy = merlin.MeasurementStrategy.mode_expectations(UNBUNCHED)
    return merlin.QuantumLayer(
        input_size=4, builder=builder, n_photons=2, measurement_strategy=strategy
    )


def _losses(model, inputs, steps=6):
    """A few steps of training towards fixed targets, from the weights as they are."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    width = model(inputs).shape[-1]
    target = torch.rand(len(inputs), width, generator=torch.Generator().manual_seed(3))
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(inputs) - target.to(inputs.dtype)).square().sum()
        loss.backward()
        optimizer.step()
        yield loss.item()


MODELS = {
    "simple": _simple,
    "builder": _built,
    "unbunched": lambda: _built(UNBUNCHED),
    "reservoir": _reservoir,
    "mode numbers": _mode_numbers,
    "loss": lambda: _built(noise=pcvl.NoiseModel(brightness=0.9)),
}


@pytest.mark.parametrize("name", MODELS)
def test_outputs_gradients_and_training_are_merlins(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    dtype = next(model.parameters()).dtype
    inputs = torch.rand(7, 4, dtype=dtype).requires_grad_()
    start = {key: value.clone() for key, value in model.state_dict().items()}
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10

    def everything():
        outputs = model(inputs)
        direction = torch.linspace(-1, 1, outputs.shape[-1], dtype=dtype)
        wanted = [inputs, *model.parameters()]
        slopes = torch.autograd.grad((outputs @ direction).sum(), wanted, allow_unused=True)
        model.load_state_dict(start)
        losses = torch.tensor(list(_losses(model, inputs.detach())))
        model.load_state_dict(start)
        return outputs, model(inputs[0]), *slopes, losses

    theirs = everything()
    assert set(accelerate(model).values()) == {"accelerated"}
    for ours, expected in zip(everything(), theirs, strict=True):
        torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)
    restore(model)
    assert all(map(torch.equal, everything(), theirs))


def test_layers_are_found_anywhere_and_named():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), _simple(), torch.nn.ModuleList([_built()]))
    assert list(accelerate(model)) == ["1.quantum_layer", "2.0"]
    graph = model[2][0].computation_process.simulation_graph
    first = graph.compute
    assert accelerate(model)["2.0"] == "accelerated" and graph.compute is not first
    restore(model)
    assert "compute" not in vars(graph)  # also after two calls
    assert accelerate(torch.nn.Linear(2, 2)) == {}


def test_shots_are_still_drawn():
    layer = _built().eval()
    accelerate(layer)
    drawn = layer(torch.rand(2, 4), shots=50) * 50
    torch.testing.assert_close(drawn, drawn.round(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: _built(noise=pcvl.NoiseModel(indistinguishability=0.9)), "noisy"),
        (lambda: _built(noise=pcvl.NoiseModel(phase_imprecision=0.1)), "noisy"),
        (lambda: _built(noise=pcvl.NoiseModel(phase_error=0.1)), "noisy"),
        (lambda: _built(merlin.ComputationSpace.DUAL_RAIL), "not the Fock states"),
    ],
)
def test_what_cannot_be_accelerated_is_left_and_named(layer, reason):
    layer = layer()
    (said,) = accelerate(layer).values()
    assert reason in said
    process = layer.computation_process
    assert "to_tensor" not in vars(process.converter)
    assert "compute" not in vars(process.simulation_graph)


def test_a_wrong_input_state_is_merlins_error():
    layer = _simple()
    accelerate(layer)
    graph = layer.quantum_layer.computation_process.simulation_graph
    matrix = torch.eye(graph.m, dtype=torch.complex64)
    with pytest.raises(ValueError, match="[Pp]hoton"):
        graph.compute(matrix, [0] * graph.m)


def test_a_sample_is_the_same_alone_and_in_a_batch():
    layer = _built()
    accelerate(layer)
    inputs = torch.rand(40, 4)
    alone = [layer(one[None])[0] for one in inputs]
    torch.testing.assert_close(layer(inputs), torch.stack(alone), rtol=0, atol=1e-6)
