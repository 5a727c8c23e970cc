"""What finite shots and depolarising noise do to heads that were trained exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from qllm_helpers import checks
from qllm_helpers.heads.qubit import QubitHead
from qllm_helpers.qubits.states import noisy_expectations, sampled_expectations
from qllm_helpers.studies.data import one_thread, unit_data
from qllm_helpers.studies.run import shipped_units
from qllm_helpers.studies.unit import chosen_fits

SEEDS = tuple(range(20))
#: The head that is read: the circuit that `QubitClassifier` has by default.
HEAD = "10 qubits, single, with a constant"


@dataclass(frozen=True)
class Device:
    """How <Z> are read: `shots` of each module (None: exact), noise as in `noisy_expectations`."""

    shots: int | None = None
    rate: float = 0.0
    n_trajectories: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        checks.real("rate", self.rate, 0, 1)
        checks.integer("n_trajectories", self.n_trajectories)
        if self.shots is not None:
            checks.integer("shots", self.shots)


@torch.no_grad()
def head_outputs(
    head: QubitHead, X: torch.Tensor, device: Device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latent vectors (R, B, Qc) and logits (R, B, C) of X (R, B, d) on a device; default: exact."""
    first, second = head.quantum.first, head.quantum.second
    if second is None or not len(first):
        raise ValueError("shots and noise are implemented for heads with both modules.")
    device = device or Device()
    generator = torch.Generator().manual_seed(device.seed)
    noise = {"rate": device.rate, "n_trajectories": device.n_trajectories, "generator": generator}

    def read(module, **start) -> torch.Tensor:
        exact = noisy_expectations(module.circuit, module.angles, **start, **noise)
        return sampled_expectations(exact, device.shots, generator) if device.shots else exact

    X = head.encoder(X) if hasattr(head, "encoder") else X
    latent = head.quantum.merged([read(one, amplitudes=one.amplitudes(X)) for one in first])
    last = read(second, given=latent * second.angle_scale)[..., :1]
    return latent, head.readout(torch.cat([latent, last], dim=-1))


def trained_heads(seeds: Iterable[int] = SEEDS) -> list[tuple]:
    """Train the head on each body that it has shipped rows of: (fine_tuned, seed, head, X, y).

    Its setting is the shipped one; X (1, n, d) and y (n,) are a thousand test sentences.
    """
    trained, units = [], [unit for unit in shipped_units("qubits") if unit.head == HEAD]
    for unit in units:
        unit = replace(unit, seeds=tuple(seeds))
        with one_thread():
            data = unit_data(unit)
            fits = chosen_fits(unit, data)
        for replica, (seed, split, one) in enumerate(zip(seeds, data.splits, fits, strict=True)):
            test = split.test[:1000]
            X = torch.as_tensor(data.features(replica, test), dtype=torch.float32)[None]
            trained.append((unit.fine_tuned, seed, one.fit.module_.eval(), X, data.y[test]))
    return trained


def standard_devices() -> list[Device]:
    """Exact, then every number of shots, then every rate of noise."""
    with_shots = [Device(shots=shots) for shots in (10, 100, 1000, 10_000)]
    return [Device(), *with_shots, *(Device(rate=rate) for rate in (0.001, 0.003, 0.01, 0.03))]


def noise_table(
    trained: Sequence[tuple], devices: Sequence[Device], *, progress: bool = False
) -> pd.DataFrame:
    """Accuracy of `trained_heads` on devices, to whose seeds those of the heads are added.

    Also `agreement` with the exact head's classes and the root mean square `latent_error`.
    """
    rows = []
    for tuned, seed, head, X, y in tqdm(trained, disable=not progress, desc="heads"):
        exact, logits = head_outputs(head, X)
        exact_class = logits[0].argmax(-1)
        for device in devices:
            latent, logits = head_outputs(head, X, replace(device, seed=device.seed + seed))
            found = logits[0].argmax(-1)
            accuracy = np.mean(found.numpy() == y)
            agreement = (found == exact_class).double().mean().item()
            error = (latent - exact).square().mean().sqrt().item()
            n_trajectories = device.n_trajectories if device.rate else 1
            set_up = (tuned, seed, device.shots, device.rate, n_trajectories, len(y))
            rows.append((*set_up, accuracy, agreement, error))
    names = ["fine_tuned", "seed", "shots", "rate", "n_trajectories", "n_sentences"]
    names += ["test_accuracy", "agreement", "latent_error"]
    return pd.DataFrame(rows, columns=names).astype({"shots": "Int64"})
