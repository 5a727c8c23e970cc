"""The earlier reproduction's whole mode sweep: 20 seeds here against one seed in MerLin."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch

# Modes and photons, epochs and step of the MerLin reproduction (its notebook QLLM_fine_tuning).
SWEEP = ((2, 1), (4, 1), (4, 2), (6, 1), (6, 2), (6, 3), (8, 1), (8, 2), (8, 3), (8, 4))
EPOCHS = 200
SEEDS = tuple(range(20))


def _head(n_features: int, n_modes: int, n_photons: int, n_replicas: int):
    from qllm_helpers.heads.photonic import PhotonicHead

    return PhotonicHead(
        n_features, 2, n_modes, n_photons, encoding="subset", space="unbunched",
        n_replicas=n_replicas,
    )  # fmt: skip


def _merlin_head(n_features: int, n_modes: int, n_photons: int, seed: int):
    """The same head on `merlin.QuantumLayer`: MerlinHead with the subset encoding put in."""
    from qllm_helpers.heads.merlin import MerlinHead

    ours = _head(n_features, n_modes, n_photons, 1)
    ours.reset_parameters([seed])
    theirs = MerlinHead(n_features, 2, n_modes, n_photons, space="unbunched")
    theirs.encoder, theirs.readout = ours.encoder, ours.readout
    with torch.no_grad():
        theirs.quantum.left.copy_(ours.quantum.left[0])
        theirs.quantum.right.copy_(ours.quantum.right[0])
    return theirs


def _timed_training(head, data, splits, seeds) -> tuple[float, np.ndarray]:
    """Seconds of one replicated run, and each replica's validation accuracy (fraction)."""
    from qllm_helpers.training.loop import TrainingOptions, train

    options = TrainingOptions(epochs=EPOCHS, lr=1e-3, batch_size=32, weight_decay=1e-5)
    start = time.perf_counter()
    result = train(
        head, data.X, data.y,
        np.stack([split.train for split in splits]),
        np.stack([split.validation for split in splits]),
        seeds=seeds, options=options,
    )  # fmt: skip
    return time.perf_counter() - start, result.best_validation_accuracy


def sweep_benchmark(n_threads: int, progress: bool = False) -> pd.DataFrame:
    """Train the ten circuits on the few-shot protocol: 20 seeds at once here, one seed in MerLin.

    Both use the same training loop, splits, weights and options (200 epochs over 16 sentences,
    validation on 250 after each), so that only the layer differs.

    Parameters
    ----------
    n_threads : int
        Threads of torch.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    DataFrame
        Per circuit: `ours_seconds` (all 20 seeds), `ours_seconds_per_seed`, `merlin_seconds` (one
        seed), `ratio` per seed, and the validation accuracies of seed 0 on both sides.
    """
    from tqdm.auto import tqdm

    from qllm_helpers.text.embeddings import load_embeddings
    from qllm_helpers.text.protocols import few_shot_split

    torch.set_num_threads(n_threads)
    data = load_embeddings("sst2")
    splits = [few_shot_split(data.y, data.split, seed) for seed in SEEDS]
    width, rows = data.X.shape[1], []
    for n_modes, n_photons in tqdm(SWEEP, disable=not progress, desc="sweep", unit="circuit"):
        head = _head(width, n_modes, n_photons, len(SEEDS))
        head.reset_parameters(SEEDS)
        ours, our_accuracy = _timed_training(head, data, splits, SEEDS)
        single = _merlin_head(width, n_modes, n_photons, SEEDS[0])
        merlin, merlin_accuracy = _timed_training(single, data, splits[:1], SEEDS[:1])
        rows.append(
            {
                "n_modes": n_modes,
                "n_photons": n_photons,
                "ours_seconds": ours,
                "ours_seconds_per_seed": ours / len(SEEDS),
                "merlin_seconds": merlin,
                "ratio": merlin * len(SEEDS) / ours,
                "ours_validation_accuracy": our_accuracy[0],
                "merlin_validation_accuracy": merlin_accuracy[0],
            }
        )
    return pd.DataFrame(rows)
