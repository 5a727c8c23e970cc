"""What finite shots and depolarising noise do to trained heads with the paper's circuits.

Heads are trained with exact expectations and evaluated with others; nothing is trained again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from qllm_helpers.heads.qubit import QubitHead
from qllm_helpers.qubits.noise import noisy_expectations, require_rate, sampled_expectations

#: The head of the measured table: a label of the study ``qubits``, with the larger of its steps.
HEAD = "10 qubits, single"
LR = 3e-2
SEEDS = tuple(range(20))
#: Test sentences of every seed.
N_SENTENCES = 1000
SHOTS = (10, 100, 1000, 10_000)
RATES = (0.001, 0.003, 0.01, 0.03)


@dataclass(frozen=True)
class Device:
    """How expectations are read.

    Attributes
    ----------
    shots : int or None
        Shots of each of the two modules; None for exact expectations.
    rate : float
        Depolarising noise behind every gate, see `qubits_noise.noisy_expectations`.
    n_trajectories : int
        Random runs over which noisy expectations are averaged, for every sentence.
    seed : int
    """

    shots: int | None = None
    rate: float = 0.0
    n_trajectories: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        require_rate(self.rate)
        for name in ("shots", "n_trajectories"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value!r}.")


@torch.no_grad()
def head_outputs(
    head: QubitHead, X: torch.Tensor, device: Device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latent vectors and logits of a head on a device.

    Parameters
    ----------
    head : QubitHead
        With both modules.
    X : tensor, shape (R, B, d)
    device : Device, optional
        Default: exact.

    Returns
    -------
    tuple of tensor
        Latent vectors (R, B, Qc) and logits (R, B, C).

    Raises
    ------
    ValueError
        If the head lacks a module.
    """
    first, second = head.quantum.first, head.quantum.second
    if second is None or not len(first):
        raise ValueError("shots and noise are implemented for heads with both modules.")
    device = device or Device()
    generator = torch.Generator().manual_seed(device.seed)

    def read(module, **start) -> torch.Tensor:
        noise = {"n_trajectories": device.n_trajectories, "generator": generator}
        exact = noisy_expectations(
            module.circuit, module.angles, rate=device.rate, **start, **noise
        )
        return sampled_expectations(exact, device.shots, generator) if device.shots else exact

    options = head.quantum.options
    X = head.encoder(X) if hasattr(head, "encoder") else X
    parts = [read(one, amplitudes=one.amplitudes(X))[..., : options.measured] for one in first]
    mean = options.merge == "mean"
    latent = torch.stack(parts).mean(0) if mean else torch.cat(parts, -1)
    last = read(second, given=latent * second.angle_scale)[..., :1]
    return latent, head.readout(torch.cat([latent, last], dim=-1))


def trained_heads(seeds: Iterable[int]) -> list[tuple]:
    """Train the table's head on the paper's protocol, all seeds side by side.

    Parameters
    ----------
    seeds : iterable of int

    Returns
    -------
    list of (seed, head, X, y)
        With the first `N_SENTENCES` test sentences of the seed's split, X of shape (1, n, d).
    """
    from dataclasses import replace

    from qllm_helpers.classifiers.replicated import fit_many
    from qllm_helpers.studies.registry import registered
    from qllm_helpers.studies.run import load_units
    from qllm_helpers.studies.unit import one_thread, unit_data

    (unit,) = (unit for unit in load_units("qubits", heads=HEAD) if not unit.fine_tuned)
    unit = replace(unit, seeds=tuple(seeds))
    data = unit_data(unit)
    with one_thread():
        estimator = registered(unit.estimator).build(unit.parameters | {"lr": LR})
        fits = fit_many(estimator, data.X, data.y, data.splits, unit.seeds)
    trained = []
    for seed, split, fit in zip(unit.seeds, data.splits, fits, strict=True):
        test = split.test[:N_SENTENCES]
        X = torch.as_tensor(data.X[test], dtype=torch.float32)[None]
        trained.append((seed, fit.module_.eval(), X, np.asarray(data.y[test])))
    return trained


def standard_devices() -> list[Device]:
    """Exact, then every number of shots, then every rate of noise."""
    return [
        Device(),
        *(Device(shots=shots) for shots in SHOTS),
        *(Device(rate=rate) for rate in RATES),
    ]


def noise_table(
    trained: Sequence[tuple], devices: Sequence[Device], *, progress: bool = False
) -> pd.DataFrame:
    """Accuracy of trained heads on devices.

    Parameters
    ----------
    trained : sequence of (seed, head, X, y)
        From `trained_heads`.
    devices : sequence of Device
        The seed of a head is added to theirs.
    progress : bool

    Returns
    -------
    DataFrame
        seed, shots (missing: exact), rate, n_trajectories, n_sentences, test_accuracy,
        agreement (share of sentences with the class of the exact head), and latent_error (root
        mean square of the change of the latent values).
    """
    from dataclasses import replace

    from tqdm.auto import tqdm

    rows = []
    for seed, head, X, y in tqdm(trained, disable=not progress, desc="heads"):
        exact, logits = head_outputs(head, X)
        exact_class = logits[0].argmax(-1)
        for device in devices:
            latent, logits = head_outputs(head, X, replace(device, seed=device.seed + seed))
            found = logits[0].argmax(-1)
            rows.append(
                {
                    "seed": seed,
                    "shots": device.shots,
                    "rate": device.rate,
                    "n_trajectories": device.n_trajectories if device.rate else 1,
                    "n_sentences": len(y),
                    "test_accuracy": float(np.mean(found.numpy() == y)),
                    "agreement": (found == exact_class).double().mean().item(),
                    "latent_error": (latent - exact).square().mean().sqrt().item(),
                }
            )
    return pd.DataFrame(rows).astype({"shots": "Int64"})


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """Change of every head's accuracy to its exact evaluation.

    Parameters
    ----------
    table : DataFrame
        From `noise_table`.

    Returns
    -------
    DataFrame
        Its rows without the exact ones, with `change` (fraction) and `device`, in words.
    """
    exact = table["shots"].isna() & (table["rate"] == 0)
    before = table[exact].set_index("seed")["test_accuracy"]
    rest = table[~exact]
    shots = rest["shots"].map("{:,.0f} shots".format, na_action="ignore")
    words = shots.fillna(rest["rate"].map("rate {:g}".format))
    return rest.assign(
        change=rest["test_accuracy"] - rest["seed"].map(before), device=words.astype(str)
    )
