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
_DRAWS = 400
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


def gradient_variance(circuit: Circuit, n_draws: int = _DRAWS, seed: int = 0) -> dict[str, float]:
    """Variance of the derivative of an output by a mesh phase and by an encoding phase.

    Parameters
    ----------
    circuit : Circuit
    n_draws : int
        Random interferometers with one random input each.
    seed : int

    Returns
    -------
    dict
        `mesh_gradient_variance`, `encoding_gradient_variance`: variances, in 1 / radian^2, of the
        derivative of a readout that gives every output a random sign, drawn anew with each
        interferometer (so that it lies in
        [-1, 1] for every number of outputs), averaged over the inner phases of the left mesh, and
        over the encoded phases. The mean photon number of a mode would not do: it is the same for
        distinguishable photons.
    """
    layer = PhotonicLayer(**asdict(circuit), n_replicas=n_draws).double()
    layer.reset_parameters([torch.Generator().manual_seed(seed + r) for r in range(n_draws)])
    generator = torch.Generator().manual_seed(seed)
    shape = (n_draws, 1, circuit.n_modes)
    phases = 2 * math.pi * torch.rand(shape, generator=generator, dtype=torch.float64)
    phases.requires_grad_()
    signs = torch.randint(2, (n_draws, 1, layer.n_outputs), generator=generator).double() * 2 - 1
    (layer(phases) * signs).sum().backward()
    inner = layer.left.grad[:, : circuit.n_modes * (circuit.n_modes - 1) : 2]
    return {
        "mesh_gradient_variance": float(inner.var(dim=0).mean()),
        "encoding_gradient_variance": float(phases.grad.var(dim=0).mean()),
    }


@torch.no_grad()
def span_dimension(circuit: Circuit, n_interferometers: int = 5, seed: int = 0) -> float:
    """Number of linearly independent functions of the phases among the outputs.

    Parameters
    ----------
    circuit : Circuit
    n_interferometers : int
        Random interferometers; their mean dimension is returned.
    seed : int

    Returns
    -------
    float
        Numerical rank (singular values above 1e-9 of the largest) of the outputs at random phases,
        more of them than there are outputs.
    """
    layer = PhotonicLayer(**asdict(circuit), n_replicas=n_interferometers).double()
    layer.reset_parameters(
        [torch.Generator().manual_seed(seed + r) for r in range(n_interferometers)]
    )
    shape = (n_interferometers, layer.n_outputs + 32, circuit.n_modes)
    generator = torch.Generator().manual_seed(seed)
    phases = 2 * math.pi * torch.rand(shape, generator=generator, dtype=torch.float64)
    ranks = torch.linalg.matrix_rank(layer(phases), rtol=_RANK_TOLERANCE)
    return float(ranks.double().mean())


def budget_losses(circuit: Circuit, epochs: int = 30) -> np.ndarray:
    """Training loss of a dense head after a fixed number of epochs on the paper's protocol.

    Parameters
    ----------
    circuit : Circuit
    epochs : int

    Returns
    -------
    ndarray, shape (20,)
        Mean cross-entropy (nats) over the last epoch, per seed; Adam with lr 5e-3.
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
    """Measure the circuits.

    Parameters
    ----------
    circuits : iterable of Circuit
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    DataFrame
        One row per circuit: its fields, `n_outputs`, the two gradient variances,
        `span_dimension`, and `train_loss` with `train_loss_sem` (mean over 20 seeds and its
        standard error, in nats).
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
