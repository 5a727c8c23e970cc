"""Other simulators of the same circuit, each used as its own authors would; none is needed.

An engine turns a `PhotonicLayer` and phases (B, m) into a call that returns probabilities (B, N).
With `gradients` the call takes derivatives as well: by all phases in MerLin, and by the encoded
ones elsewhere, which is less work. Meshes are multiplied beforehand where a tool takes a matrix.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.special import factorial

from qllm_helpers.photons.interferometer import mesh_unitary

#: Package of each engine, its number type here, and whether it has derivatives.
ENGINES = {
    "merlin": ("merlinquantum", "float32", True),
    "perceval": ("perceval-quandela", "float64", False),
    "lightworks": ("lightworks", "float64", False),
    "piquasso": ("piquasso", "float64", True),
    "deepquantum": ("deepquantum", "float64", True),
}


def _meshes(layer) -> list[np.ndarray]:
    """Matrices (m, m) of the first replica's meshes, complex128."""
    with torch.no_grad():
        every = (mesh_unitary(one.double(), layer.n_modes) for one in (layer.left, layer.right))
        return [meshes[0].numpy() for meshes in every]


def _unitaries(layer, phases: torch.Tensor):
    """The whole interferometer of each sample."""
    left, right = _meshes(layer)
    for sample in phases.detach().double().numpy():
        yield right @ (np.exp(1j * sample)[:, None] * left)


def perceval(layer, phases: torch.Tensor, gradients: bool) -> Callable[[], np.ndarray]:
    """One SLOS simulation of a numeric unitary per sample: Perceval has no batch of circuits."""
    import perceval as pcvl

    state = pcvl.BasicState(list(layer.input_state))
    backend = pcvl.BackendFactory.get_backend("SLOS")

    def simulate(unitary: np.ndarray) -> list[float]:
        backend.set_circuit(pcvl.Unitary(pcvl.Matrix(unitary)))
        backend.set_input_state(state)
        return backend.all_prob()

    return lambda: np.array([simulate(one) for one in _unitaries(layer, phases)])


def lightworks(layer, phases: torch.Tensor, gradients: bool) -> Callable[[], np.ndarray]:
    """Distributions of the sampler with the SLOS backend, one sample after the other."""
    import lightworks as lw
    from lightworks import emulator

    backend, state = emulator.Backend("slos"), lw.State(list(layer.input_state))
    basis = [lw.State(list(occupations)) for occupations in layer.basis]

    def simulate(unitary: np.ndarray) -> list[float]:
        task = lw.Sampler(lw.Unitary(unitary), state, 1)
        backend.run(task)
        # outputs that cannot occur are left out
        return [task.probability_distribution.get(one, 0.0) for one in basis]

    return lambda: np.array([simulate(one) for one in _unitaries(layer, phases)])


def piquasso(layer, phases: torch.Tensor, gradients: bool) -> Callable[[], np.ndarray]:
    """The pure Fock simulator on JAX, compiled, with the batch as one more axis."""
    import jax
    import piquasso as pq

    jax.config.update("jax_enable_x64", True)
    config = pq.Config(cutoff=layer.n_photons + 1)
    simulator = pq.PureFockSimulator(layer.n_modes, connector=pq.JaxConnector(), config=config)
    left, right = map(jax.numpy.asarray, _meshes(layer))

    def simulate(sample):
        with pq.Program() as program:
            pq.Q(all) | pq.NumberState(list(layer.input_state))
            pq.Q(all) | pq.Interferometer(right @ (jax.numpy.exp(1j * sample)[:, None] * left))
        return simulator.execute(program).state.fock_probabilities[-layer.n_outputs :]

    def loss(samples):
        outputs = jax.vmap(simulate)(samples)
        return (outputs * outputs).sum(), outputs

    samples = jax.numpy.asarray(phases.detach().double().numpy())
    if not gradients:
        run = jax.jit(jax.vmap(simulate))
        return lambda: np.array(run(samples))
    differentiate = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return lambda: np.array(jax.block_until_ready(differentiate(samples))[0][1])


def deepquantum(layer, phases: torch.Tensor, gradients: bool) -> Callable[[], torch.Tensor]:
    """A Fock-basis circuit with the phases as its data, batched by torch."""
    import deepquantum as dq

    m, initial = layer.n_modes, list(layer.input_state)
    circuit = dq.QumodeCircuit(m, initial, cutoff=layer.n_photons + 1, backend="fock", basis=True)
    left, right = map(torch.from_numpy, _meshes(layer))
    circuit.any(left, wires=list(range(m)))
    for mode in range(m):
        circuit.ps(mode, encode=True)
    circuit.any(right, wires=list(range(m)))
    circuit.to(torch.double)
    samples = phases.detach().double().requires_grad_(gradients)

    def run() -> torch.Tensor:
        found = circuit(data=samples, is_prob=True)
        found = {tuple(state.state.tolist()): value for state, value in found.items()}
        outputs = torch.stack([found[state].reshape(-1) for state in layer.basis], dim=1)
        if gradients:
            samples.grad = None
            outputs.square().sum().backward()
        return outputs.detach()

    return run


def permanents(columns: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Permanents (K,) of the rows `states` (K, m) of a matrix (m, n), by Ryser's formula."""
    n_photons = columns.shape[1]
    subsets = (np.arange(2**n_photons)[:, None] >> np.arange(n_photons)) & 1
    sums, signs = columns @ subsets.T, (-1.0) ** (n_photons - subsets.sum(axis=1))
    products = np.ones((len(states), 2**n_photons), complex)
    for mode, row in enumerate(sums):
        products *= row ** states[:, mode, None]
    return products @ signs


def permanent_gap(layer, phases: torch.Tensor, outputs, n_checked: int = 1000) -> float:
    """Largest difference of the first sample's `outputs` (B, N) to permanents, in double precision.

    Of many outputs `n_checked` are looked at, of unbunched ones, whose sum is needed, all.
    """
    unbunched = layer.space == "unbunched"
    rows = np.arange(0, layer.n_outputs, 1 if unbunched else -(-layer.n_outputs // n_checked))
    columns = next(_unitaries(layer, phases))[:, layer._photon_modes]
    states = layer._tables.states[rows]
    values = np.abs(permanents(columns, states)) ** 2
    values /= factorial(states).prod(axis=1) * factorial(layer.input_state).prod()
    if unbunched:
        values /= values.sum()
    return float(np.abs(values - np.asarray(outputs)[0][rows]).max())
