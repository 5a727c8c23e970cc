"""Trainability and expressivity of the photonic layer against the number of photons.

Our choice of measures: variance of a derivative over random interferometers (barren plateaus),
dimension of the span of the outputs, training loss after a budget of epochs.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Iterable
from itertools import product

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from qllm_helpers.classifiers.estimators import PhotonicClassifier
from qllm_helpers.classifiers.replicated import fit_many
from qllm_helpers.photons.layer import PhotonicLayer
from qllm_helpers.text.corpora import load_embeddings
from qllm_helpers.text.protocols import paper_split

SEEDS = tuple(range(20))
_INTERFEROMETERS = 5
#: Arguments of `PhotonicLayer` that a row is about.
Circuit = namedtuple("Circuit", "n_modes n_photons space distinguishable")


def standard_circuits() -> list[Circuit]:
    """More photons at fixed modes, as far as minutes on two cores reach: the table's order."""
    return [*map(Circuit._make, product((6, 8), range(1, 7), ("fock", "unbunched"), (False, True)))]


def _random_layer(circuit: Circuit, n_replicas: int) -> PhotonicLayer:
    """Random interferometers side by side, in double precision."""
    layer = PhotonicLayer(**circuit._asdict(), n_replicas=n_replicas).double()
    layer.reset_parameters([torch.Generator().manual_seed(seed) for seed in range(n_replicas)])
    return layer


def _random_phases(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return 2 * math.pi * torch.rand(shape, generator=generator, dtype=torch.float64)


def gradient_variance(circuit: Circuit, n_draws: int = 400) -> dict[str, float]:
    """Variances (1 / radian^2) of an output's derivative by inner phases of the left mesh, inputs.

    The output is a sum of the probabilities with signs that are random in every interferometer.
    """
    # it lies in [-1, 1] for every number of outputs; the mean photon number of a mode would be
    # the same for distinguishable photons
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
    """Linearly independent outputs, as functions of the phases; mean of five interferometers."""
    layer = _random_layer(circuit, _INTERFEROMETERS)
    shape = (_INTERFEROMETERS, layer.n_outputs + 32, circuit.n_modes)
    phases = _random_phases(shape, torch.Generator().manual_seed(0))
    ranks = torch.linalg.matrix_rank(layer(phases), rtol=1e-9)
    return float(ranks.double().mean())


def budget_losses(circuit: Circuit, epochs: int = 30) -> np.ndarray:
    """Cross-entropy (nats) of the last epoch of a head on the paper's protocol, for 20 seeds."""
    sizes, data = circuit._asdict(), load_embeddings("sst2")
    twin = "distinguishable" if sizes.pop("distinguishable") else None
    head = PhotonicClassifier(**sizes, twin=twin, epochs=epochs, validate_every=epochs)
    splits = [paper_split(data.y, seed) for seed in SEEDS]
    fits = fit_many(head, data.X, data.y, splits, SEEDS)
    return np.array([fit.history_["train_loss"].iloc[-1] for fit in fits])


def landscape(circuits: Iterable[Circuit], *, progress: bool = False) -> pd.DataFrame:
    """All measures of every circuit; `train_loss` (nats) with its standard error over 20 seeds."""
    rows = []
    for circuit in tqdm(list(circuits), disable=not progress, desc="landscape", unit="circuit"):
        row = circuit._asdict() | {"n_outputs": _random_layer(circuit, 1).n_outputs}
        row |= gradient_variance(circuit) | {"span_dimension": span_dimension(circuit)}
        losses = budget_losses(circuit)
        sem = losses.std(ddof=1) / math.sqrt(len(losses))
        rows.append(row | {"train_loss": losses.mean(), "train_loss_sem": sem})
    return pd.DataFrame(rows)
