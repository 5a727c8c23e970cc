"""What is timed: our circuits beside other simulators, and the mode sweep.

A case is a frozen dataclass with `prepare`, which returns the call that is timed.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from qllm_helpers import __version__
from qllm_helpers.benchmarks import rivals
from qllm_helpers.heads.photonic import MerlinHead, PhotonicHead
from qllm_helpers.photons.layer import PhotonicLayer
from qllm_helpers.qubits.states import SimulatedEncoder
from qllm_helpers.text.corpora import load_embeddings
from qllm_helpers.text.protocols import few_shot_split
from qllm_helpers.training.loop import TrainingOptions, train

CIRCUITS = ((2, 1), (4, 2), (6, 3), (8, 1), (8, 2), (8, 4), (10, 5), (12, 4))
# Modes and photons of the MerLin reproduction (its notebook QLLM_fine_tuning).
SWEEP = ((2, 1), (4, 1), (4, 2), (6, 1), (6, 2), (6, 3), (8, 1), (8, 2), (8, 3), (8, 4))
SEEDS = tuple(range(20))
# Where all simulators are compared, and where circuits get large.
COMPARED = ((4, 2), (8, 2), (8, 4))
LARGE = ((10, 5), (12, 6), (16, 8))
# Qubits and connectivity of the encoders, one layer each: 10 to 56 blocks of CNOT + RY.
REGISTERS = ((10, 1), (14, 4), (16, 1), (18, 1))


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
    """Engine ("ours" or one of `rivals`), circuit, batch, task; `series`: the question."""

    rivals: ClassVar = ("merlin",)
    smallest: ClassVar = {"n_modes": 2, "n_photons": 1, "n_replicas": 1, "batch": 1}
    derived: ClassVar = ("n_outputs", "precision", "version")
    series: str
    engine: str
    task: str
    n_modes: int
    n_photons: int
    n_replicas: int = 1
    batch: int = 32
    space: str = "fock"

    @property
    def n_outputs(self) -> int:
        """Fock states of the circuit."""
        more = 0 if self.space == "unbunched" else self.n_photons - 1
        return math.comb(self.n_modes + more, self.n_photons)

    @property
    def precision(self) -> str:
        """Number type that the engine computes in."""
        return "float32" if self.engine == "ours" else rivals.ENGINES[self.engine][1]

    @property
    def version(self) -> str:
        """Version of the engine's package."""
        return __version__ if self.engine == "ours" else version(rivals.ENGINES[self.engine][0])

    def _circuit(self) -> tuple[PhotonicLayer, torch.Tensor]:
        sizes = self.n_modes, self.n_photons
        layer = PhotonicLayer(*sizes, space=self.space, n_replicas=self.n_replicas)
        generator = torch.Generator().manual_seed(0)
        shape = (self.n_replicas, self.batch, self.n_modes)
        return layer, 2 * math.pi * torch.rand(shape, generator=generator)

    def prepare(self) -> Callable[[], object]:
        """What is timed."""
        layer, phases = self._circuit()
        if self.engine not in ("ours", "merlin"):
            engine = getattr(rivals, self.engine)
            return engine(layer, phases[0], self.task == "training step")
        if self.engine == "merlin":
            layer, phases = layer.to_merlin(), phases[0]
        if self.task == "inference":
            return torch.no_grad()(lambda: layer(phases))
        # In a head the phases come from a trained encoder, so their derivative is part of the step.
        return training_step(layer, list(layer.parameters()), phases.requires_grad_())

    def check(self, outputs) -> dict[str, float]:
        """Distance of an inference's outputs from permanents."""
        if self.task != "inference":
            return {}
        layer, phases = self._circuit()
        outputs = outputs[0] if self.engine == "ours" else outputs
        return {"gap": rivals.permanent_gap(layer, phases[0], outputs)}


def layer_cases() -> list[Case]:
    """The table's circuits, all simulators on some of them, large ones, then our growth."""
    tasks = ("training step", "inference")
    cases = [
        Case("circuits", engine, task, *circuit, replicas)
        for circuit in CIRCUITS
        for task in tasks
        for engine, replicas in (("ours", 1), ("ours", 20), ("merlin", 1))
    ]
    cases += [
        Case("circuits", engine, task, *circuit)
        for circuit in COMPARED
        for engine, (_, _, derivatives) in rivals.ENGINES.items()
        for task in tasks
        if engine != "merlin" and (derivatives or task == "inference")
    ]
    cases += [
        Case("large", engine, task, *circuit, 1, batch, space)
        for circuit in LARGE
        for space in ("fock", "unbunched")
        for task in tasks
        for engine, batch in (("ours", 1), ("ours", 8), ("ours", 32), ("merlin", 8))
    ]
    step = ("ours", "training step")
    cases += [Case("modes", *step, m, 2, 20) for m in (2, 4, 6, 8, 10, 12, 16)]
    cases += [Case("photons", *step, 8, n, 20) for n in range(1, 7)]
    cases += [Case("replicas", *step, 8, 2, replicas) for replicas in (1, 2, 5, 10, 20, 50)]
    cases += [Case("batch", *step, 8, 2, 1, batch) for batch in (8, 32, 128, 512, 2048)]
    return [case for case in cases if case.engine == "ours" or find_spec(case.engine)]


@dataclass(frozen=True)
class QubitCase:
    """One measurement: "ours" or a device of PennyLane's, a circuit and a batch."""

    rivals: ClassVar = ("default.qubit", "lightning.qubit")
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
        if self.engine in self.rivals:
            return _pennylane_step(self.engine, encoder, X[0])
        return training_step(encoder, encoder.parameters(), X)

    def check(self, outputs) -> dict[str, float]:
        """Nothing: a training step has no outputs, and the tests compare them."""
        return {}


def _pennylane_step(name: str, encoder: SimulatedEncoder, X: torch.Tensor) -> Callable[[], None]:
    """A step of the circuit of the encoder's first replica, on a device with its best method."""
    import pennylane as qml

    wires = range(encoder.circuit.n_qubits)
    angles = torch.nn.Parameter(encoder.angles.detach()[0].clone())
    device = qml.device(name, wires=len(wires))
    method = "adjoint" if name == "lightning.qubit" else "backprop"

    @qml.qnode(device, interface="torch", diff_method=method)
    def circuit(x):
        qml.AmplitudeEmbedding(x, wires=wires, pad_with=0.0, normalize=True)
        for control, target, source in encoder.circuit.gates:
            qml.CNOT([control, target])
            qml.RY(angles[source], target)
        return [qml.expval(qml.PauliZ(wire)) for wire in wires]

    return training_step(lambda x: torch.stack(circuit(x), dim=-1).float(), [angles], X)


def qubit_cases() -> list[QubitCase]:
    """Every register on PennyLane, and on ours with 1 and 20 replicas; large ones with one."""
    devices = ("lightning.qubit", "default.qubit")
    return [
        QubitCase(engine, *register, replicas)
        for register in REGISTERS
        for engine, replicas in (*zip(devices, (1, 1), strict=True), ("ours", 1), ("ours", 20))
        # With more qubits it keeps gigabytes, and twenty circuits would.
        if register[0] < 16 or (engine, replicas) in (("ours", 1), ("lightning.qubit", 1))
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
