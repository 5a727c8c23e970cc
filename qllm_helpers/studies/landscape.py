"""Trainability and expressivity of the photonic layer against the number of photons.

Three measures, each for indistinguishable and distinguishable photons, Fock and unbunched outputs
(our choice of measures; both reproduced works list the number of photons as an open question):

* the variance of a derivative over random interferometers (a barren plateau would show here);
* the dimension of the space of functions that the outputs span, as functions of the phases;
* the training loss that a head reaches with a fixed budget of epochs on the paper's protocol.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from qllm_helpers.photons.layer import PhotonicLayer

# One family of circuits: more photons at fixed modes, as far as minutes on two cores reach.
MODES = (6, 8)
MOST_PHOTONS = 6
SEEDS = tuple(range(20))


@dataclass(frozen=True)
class Circuit:
    """Arguments of `PhotonicLayer` that a row is about."""

    n_modes: int
    n_photons: int
    space: str
    distinguishable: bool


def standard_circuits() -> list[Circuit]:
    """All circuits of the table, in its order."""
    return [
        Circuit(n_modes, n_photons, space, distinguishable)
        for n_modes in MODES
        for n_photons in range(1, min(n_modes, MOST_PHOTONS) + 1)
        for space in ("fock", "unbunched")
        for distinguishable in (False, True)
    ]


def _random_layers(circuit: Circuit, n: int, n_inputs: int | None = None):
    """Random interferometers, random phases for each, and the generator of the phases."""
    layer = PhotonicLayer(**asdict(circuit), n_replicas=n).double()
    layer.reset_parameters([torch.Generator().manual_seed(r) for r in range(n)])
    generator = torch.Generator().manual_seed(0)
    # without a number there are more inputs than outputs
    shape = (n, n_inputs or layer.n_outputs + 32, circuit.n_modes)
    phases = 2 * math.pi * torch.rand(shape, generator=generator, dtype=torch.float64)
    return layer, phases, generator


def gradient_variance(circuit: Circuit, n_draws: int = 400) -> dict[str, float]:
    """Variance (1 / radian^2) of the derivative of an output by a mesh phase and an encoding phase.

    Over random interferometers with one random input each, averaged over the inner phases of the
    left mesh, and over the encoded phases. The output gives every Fock state a random sign, drawn
    anew with each interferometer, so it lies in [-1, 1] for every number of outputs. The mean
    photon number of a mode would not do: it is the same for distinguishable photons.
    """
    layer, phases, generator = _random_layers(circuit, n_draws, 1)
    phases.requires_grad_()
    signs = torch.randint(2, (n_draws, 1, layer.n_outputs), generator=generator).double() * 2 - 1
    (layer(phases) * signs).sum().backward()
    inner = layer.left.grad[:, : circuit.n_modes * (circuit.n_modes - 1) : 2]
    return {
        "mesh_gradient_variance": float(inner.var(dim=0).mean()),
        "encoding_gradient_variance": float(phases.grad.var(dim=0).mean()),
    }


@torch.no_grad()
def span_dimension(circuit: Circuit) -> float:
    """Number of linearly independent functions of the phases among the outputs.

    Numerical rank (singular values above 1e-9 of the largest) of the outputs at random phases;
    mean over five random interferometers.
    """
    layer, phases, _ = _random_layers(circuit, 5)
    return float(torch.linalg.matrix_rank(layer(phases), rtol=1e-9).double().mean())


def budget_losses(circuit: Circuit, epochs: int = 30) -> np.ndarray:
    """Training loss (nats, mean of the last epoch) of a dense head on the paper's protocol, per seed.

    After a fixed number of epochs of Adam with lr 5e-3; shape (20,).
    """
    from qllm_helpers.heads.photonic import PhotonicHead
    from qllm_helpers.text.embeddings import load_embeddings
    from qllm_helpers.text.protocols import paper_split
    from qllm_helpers.training.loop import TrainingOptions, train

    options = asdict(circuit)
    twin = "distinguishable" if options.pop("distinguishable") else None
    data = load_embeddings("sst2")
    head = PhotonicHead(data.X.shape[1], 2, **options, twin=twin, n_replicas=len(SEEDS))
    head.reset_parameters(SEEDS)
    index = np.stack([paper_split(data.y, seed).train for seed in SEEDS])
    result = train(
        head, data.X, data.y, index, None, seeds=SEEDS, options=TrainingOptions(epochs=epochs)
    )
    last = result.history[result.history["epoch"] == epochs]
    return last.sort_values("replica")["train_loss"].to_numpy()


def landscape(circuits: Iterable[Circuit], *, progress: bool = False) -> pd.DataFrame:
    """Measure the circuits, one row each.

    Columns: the fields of `Circuit`, `n_outputs`, `mesh_gradient_variance`,
    `encoding_gradient_variance`, `span_dimension`, `train_loss` and `train_loss_sem` (mean over 20
    seeds and its standard error, nats).
    """
    from tqdm.auto import tqdm

    rows = []
    for circuit in tqdm(list(circuits), disable=not progress, desc="landscape", unit="circuit"):
        losses = budget_losses(circuit)
        rows.append(
            {
                **asdict(circuit),
                "n_outputs": PhotonicLayer(**asdict(circuit)).n_outputs,
                **gradient_variance(circuit),
                "span_dimension": span_dimension(circuit),
                "train_loss": losses.mean(),
                "train_loss_sem": losses.std(ddof=1) / math.sqrt(len(losses)),
            }
        )
    return pd.DataFrame(rows)
