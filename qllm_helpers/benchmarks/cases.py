"""What is timed: our circuits beside MerLin, Perceval and PennyLane, and the mode sweep.

A case is a frozen dataclass with `prepare`, which returns the call that is timed.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from qllm_helpers.heads.photonic import MerlinHead, PhotonicHead
from qllm_helpers.photons.layer import PhotonicLayer
from qllm_helpers.photons.merlin import perceval_circuit
from qllm_helpers.qubits.states import SimulatedEncoder
from qllm_helpers.text.corpora import load_embeddings
from qllm_helpers.text.protocols import few_shot_split
from qllm_helpers.training.loop import TrainingOptions, train

CIRCUITS = ((2, 1), (4, 2), (6, 3), (8, 1), (8, 2), (8, 4), (10, 5), (12, 4))
# Modes and photons of the MerLin reproduction (its notebook QLLM_fine_tuning).
SWEEP = ((2, 1), (4, 1), (4, 2), (6, 1), (6, 2), (6, 3), (8, 1), (8, 2), (8, 3), (8, 4))
SEEDS = tuple(range(20))
# Qubits and connectivity of the encoders, one layer each: 10 and 56 blocks of CNOT + RY.
REGISTERS = ((10, 1), (14, 4))


def training_step(module, parameters, x: torch.Tensor) -> Callable[[], None]:
    """Forward, the loss (outputs times fixed random numbers), backward and Adam."""
    width = module(x).shape[-1]
    target = torch.rand(width, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (module(x) @ target).sum().backward()
        optimizer.step()

    return step


@dataclass(frozen=True)
class Case:
    """Engine ("ours", "merlin", "perceval"), circuit, batch, task; `series`: the question."""

    rival: ClassVar = "merlin"
    smallest: ClassVar = {"n_modes": 2, "n_photons": 1, "n_replicas": 1, "batch": 1}
    derived: ClassVar = ("n_outputs",)
    series: str
    engine: str
    task: str
    n_modes: int
    n_photons: int
    n_replicas: int = 1
    batch: int = 32

    @property
    def n_outputs(self) -> int:
        """Fock states of the circuit."""
        return math.comb(self.n_modes + self.n_photons - 1, self.n_photons)

    def prepare(self) -> Callable[[], object]:
        """What is timed."""
        layer = PhotonicLayer(self.n_modes, self.n_photons, n_replicas=self.n_replicas)
        generator = torch.Generator().manual_seed(0)
        shape = (self.n_replicas, self.batch, self.n_modes)
        phases = 2 * math.pi * torch.rand(shape, generator=generator)
        if self.engine == "perceval":
            return _perceval_inference(layer, phases)
        if self.engine == "merlin":
            layer, phases = layer.to_merlin(), phases[0]
        if self.task == "inference":
            return torch.no_grad()(lambda: layer(phases))
        # In a head the phases come from a trained encoder, so their derivative is part of the step.
        return training_step(layer, list(layer.parameters()), phases.requires_grad_())


def _perceval_inference(layer: PhotonicLayer, phases: torch.Tensor) -> Callable[[], None]:
    """One SLOS simulation per sample: Perceval has no batch of circuits."""
    import perceval

    circuit = perceval_circuit(layer.n_modes)
    parameters = circuit.get_parameters()
    state = perceval.BasicState(list(layer.input_state))
    backend = perceval.BackendFactory.get_backend("SLOS")
    left, right = layer.left[0].tolist(), layer.right[0].tolist()

    def infer() -> None:
        for sample in phases[0].tolist():
            for parameter, value in zip(parameters, [*left, *sample, *right], strict=True):
                parameter.set_value(value)
            backend.set_circuit(circuit)
            backend.set_input_state(state)
            backend.all_prob()

    return infer


def layer_cases() -> list[Case]:
    """The table's circuits on every engine, then our growth with each size."""
    engines = (("ours", 1), ("ours", 20), ("merlin", 1), ("perceval", 1))
    cases = [
        Case("circuits", engine, task, *circuit, replicas)
        for circuit in CIRCUITS
        for task in ("training step", "inference")
        for engine, replicas in engines
        # Perceval's SLOS backend has no derivative
        if (engine, task) != ("perceval", "training step")
    ]
    step = ("ours", "training step")
    cases += [Case("modes", *step, m, 2, 20) for m in (2, 4, 6, 8, 10, 12, 16)]
    cases += [Case("photons", *step, 8, n, 20) for n in range(1, 7)]
    cases += [Case("replicas", *step, 8, 2, replicas) for replicas in (1, 2, 5, 10, 20, 50)]
    cases += [Case("batch", *step, 8, 2, 1, batch) for batch in (8, 32, 128, 512, 2048)]
    return cases


@dataclass(frozen=True)
class QubitCase:
    """One measurement: an engine ("ours", "pennylane"), a circuit and a batch."""

    rival: ClassVar = "pennylane"
    smallest: ClassVar = {"n_qubits": 9, "connectivity": 1, "n_replicas": 1, "batch": 2}
    derived: ClassVar = ("n_blocks",)
    engine: str
    n_qubits: int
    connectivity: int
    n_replicas: int = 1
    batch: int = 32
    task: str = "training step"

    @property
    def n_blocks(self) -> int:
        """Blocks of CNOT + RY of one circuit."""
        return self.n_qubits * self.connectivity

    def prepare(self) -> Callable[[], None]:
        """What is timed."""
        generator = torch.Generator().manual_seed(0)
        X = torch.randn(self.n_replicas, self.batch, 384, generator=generator)
        encoder = SimulatedEncoder(self.n_qubits, self.connectivity, n_replicas=self.n_replicas)
        if self.engine == "pennylane":
            return _pennylane_step(encoder, X[0])
        return training_step(encoder, encoder.parameters(), X)


def _pennylane_step(encoder: SimulatedEncoder, X: torch.Tensor) -> Callable[[], None]:
    """A step of the circuit of the encoder's first replica."""
    import pennylane as qml

    wires = range(encoder.circuit.n_qubits)
    angles = torch.nn.Parameter(encoder.angles.detach()[0].clone())
    device = qml.device("default.qubit", wires=len(wires))

    @qml.qnode(device, interface="torch", diff_method="backprop")
    def circuit(x):
        qml.AmplitudeEmbedding(x, wires=wires, pad_with=0.0, normalize=True)
        for control, target, source in encoder.circuit.gates:
            qml.CNOT([control, target])
            qml.RY(angles[source], target)
        return [qml.expval(qml.PauliZ(wire)) for wire in wires]

    return training_step(lambda x: torch.stack(circuit(x), dim=-1).float(), [angles], X)


def qubit_cases() -> list[QubitCase]:
    """Every register on PennyLane, and on ours with 1 and 20 replicas."""
    return [
        QubitCase(engine, *register, replicas)
        for register in REGISTERS
        for engine, replicas in (("pennylane", 1), ("ours", 1), ("ours", 20))
    ]


def _timed_training(head, data, splits, seeds) -> tuple[float, float]:
    """Seconds of one replicated run, and the first replica's validation accuracy (fraction)."""
    options = TrainingOptions(epochs=200, lr=1e-3, batch_size=32, weight_decay=1e-5)
    index, validation = (
        np.stack([getattr(split, part) for split in splits]) for part in ("train", "validation")
    )
    start = time.perf_counter()
    result = train(head, data.X, data.y, index, validation, seeds=seeds, options=options)
    return time.perf_counter() - start, result.best_validation_accuracy[0]


def sweep_benchmark(n_threads: int, progress: bool = False) -> pd.DataFrame:
    """Train ten circuits few-shot, 20 seeds at once here, one seed in MerLin; `ratio`: per seed."""
    from tqdm.auto import tqdm

    torch.set_num_threads(n_threads)
    data = load_embeddings("sst2")
    splits = [few_shot_split(data.y, data.split, seed) for seed in SEEDS]
    rows = []
    for n_modes, n_photons in tqdm(SWEEP, disable=not progress, desc="sweep", unit="circuit"):
        sizes = (data.X.shape[1], 2, n_modes, n_photons)
        head, single = (
            PhotonicHead(*sizes, encoding="subset", space="unbunched", n_replicas=replicas)
            for replicas in (len(SEEDS), 1)
        )
        head.reset_parameters(SEEDS)
        single.reset_parameters(SEEDS[:1])
        ours, accuracy = _timed_training(head, data, splits, SEEDS)
        # The same weights around MerLin's layer
        other = MerlinHead(*sizes, space="unbunched")
        other.encoder, other.readout = single.encoder, single.readout
        other.quantum.load_state_dict(single.quantum.to_merlin().state_dict())
        merlin, merlin_accuracy = _timed_training(other, data, splits[:1], SEEDS[:1])
        each = ours / len(SEEDS)
        rows.append((*sizes[2:], ours, each, merlin, merlin / each, accuracy, merlin_accuracy))
    names = ("n_modes", "n_photons", "ours_seconds", "ours_seconds_per_seed", "merlin_seconds")
    names += ("ratio", "ours_validation_accuracy", "merlin_validation_accuracy")
    return pd.DataFrame(rows, columns=names)
