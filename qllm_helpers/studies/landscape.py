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
_INTERFEROMETERS = 5
_RANK_TOLERANCE = 1e-9


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


def _random_layer(circuit: Circuit, n_replicas: int) -> PhotonicLayer:
    """Random interferometers side by side, in double precision."""
    layer = PhotonicLayer(**asdict(circuit), n_replicas=n_replicas).double()
    layer.reset_parameters([torch.Generator().manual_seed(seed) for seed in range(n_replicas)])
    return layer


def _random_phases(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return 2 * math.pi * torch.rand(shape, generator=generator, dtype=torch.float64)


def gradient_variance(circuit: Circuit, n_draws: int = 400) -> dict[str, float]:
    """Variance of the derivative of an output by a mesh phase and by an encoding phase.

    The output gives every probability a random sign, drawn anew with each of `n_draws` random
    interferometers (it lies in [-1, 1] for every number of outputs; the mean photon number of a
    mode would be the same for distinguishable photons). The variances, in 1 / radian^2, are
    averaged over the inner phases of the left mesh, and over the encoded phases.
    """
    layer = _random_layer(circuit, n_draws)
    generator = torch.Generator().manual_seed(0)
    phases = _random_phases((n_draws, 1, circuit.n_modes), generator).requires_grad_()
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

    The numerical rank (singular values above 1e-9 of the largest) of the outputs at random phases,
    more of them than there are outputs; mean of five random interferometers.
    """
    layer = _random_layer(circuit, _INTERFEROMETERS)
    shape = (_INTERFEROMETERS, layer.n_outputs + 32, circuit.n_modes)
    phases = _random_phases(shape, torch.Generator().manual_seed(0))
    ranks = torch.linalg.matrix_rank(layer(phases), rtol=_RANK_TOLERANCE)
    return float(ranks.double().mean())


def budget_losses(circuit: Circuit, epochs: int = 30) -> np.ndarray:
    """Training loss of a dense head after some epochs on the paper's protocol, for 20 seeds.

    Mean cross-entropy (nats) over the last epoch; Adam with lr 5e-3.
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
    """Measure the circuits: one row each, with all three measures.

    The circuit's fields, `n_outputs`, the two gradient variances, `span_dimension`, and
    `train_loss` with `train_loss_sem` (mean over 20 seeds and its standard error, in nats).
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
