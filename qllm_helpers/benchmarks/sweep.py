"""The earlier reproduction's whole mode sweep: 20 seeds here against one seed in MerLin."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch

from qllm_helpers.heads.merlin import MerlinHead
from qllm_helpers.heads.photonic import PhotonicHead
from qllm_helpers.text.embeddings import load_embeddings
from qllm_helpers.text.protocols import few_shot_split
from qllm_helpers.training.loop import TrainingOptions, train

# Modes and photons, epochs and step of the MerLin reproduction (its notebook QLLM_fine_tuning).
SWEEP = ((2, 1), (4, 1), (4, 2), (6, 1), (6, 2), (6, 3), (8, 1), (8, 2), (8, 3), (8, 4))
EPOCHS = 200
SEEDS = tuple(range(20))


def _merlin_head(ours: PhotonicHead, *sizes: int) -> MerlinHead:
    """The first replica of `ours` on `merlin.QuantumLayer`, its subset encoding put in."""
    theirs = MerlinHead(*sizes, space="unbunched")
    theirs.encoder, theirs.readout = ours.encoder, ours.readout
    with torch.no_grad():
        theirs.quantum.left.copy_(ours.quantum.left[0])
        theirs.quantum.right.copy_(ours.quantum.right[0])
    return theirs


def _timed_training(head, data, splits, seeds) -> tuple[float, float]:
    """Seconds of one replicated run, and the first replica's validation accuracy (fraction)."""
    options = TrainingOptions(epochs=EPOCHS, lr=1e-3, batch_size=32, weight_decay=1e-5)
    index, validation = (
        np.stack([getattr(split, part) for split in splits]) for part in ("train", "validation")
    )
    start = time.perf_counter()
    result = train(head, data.X, data.y, index, validation, seeds=seeds, options=options)
    return time.perf_counter() - start, result.best_validation_accuracy[0]


def sweep_benchmark(n_threads: int, progress: bool = False) -> pd.DataFrame:
    """Train the ten circuits on the few-shot protocol: 20 seeds at once here, one seed in MerLin.

    Both use the same training loop, splits, weights and options (200 epochs over 16 sentences,
    validation on 250 after each), so that only the layer differs. One row per circuit:
    `ours_seconds` (all 20 seeds), `ours_seconds_per_seed`, `merlin_seconds` (one seed), `ratio` per
    seed, and the validation accuracies of seed 0 on both sides.
    """
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
        ours, our_accuracy = _timed_training(head, data, splits, SEEDS)
        merlin, merlin_accuracy = _timed_training(
            _merlin_head(single, *sizes), data, splits[:1], SEEDS[:1]
        )
        rows.append(
            {
                "n_modes": n_modes,
                "n_photons": n_photons,
                "ours_seconds": ours,
                "ours_seconds_per_seed": ours / len(SEEDS),
                "merlin_seconds": merlin,
                "ratio": merlin * len(SEEDS) / ours,
                "ours_validation_accuracy": our_accuracy,
                "merlin_validation_accuracy": merlin_accuracy,
            }
        )
    return pd.DataFrame(rows)
