"""Heads along the tuning of their body: steps of two recipes as an axis."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from qllm_helpers.studies.data import UnitData, corpus_part, one_thread, outside_pool, study_split
from qllm_helpers.studies.grid import Unit
from qllm_helpers.studies.run import shipped_units
from qllm_helpers.studies.unit import chosen_fits
from qllm_helpers.text.corpora import load_embeddings, load_texts
from qllm_helpers.text.protocols import Split
from qllm_helpers.text.tuning import PAPER_OPTIONS, tuned_stages

#: Losses on as many sentences a step.
RECIPES = {
    "triplets": PAPER_OPTIONS,
    "pairs": replace(PAPER_OPTIONS, loss="cosine_pairs"),
}
#: Steps behind a quarter, a half, one, two and four passes through the training sentences.
STAGES = {0.25: 4, 0.5: 7, 1.0: 14, 2.0: 28, 4.0: 56}
SEEDS = tuple(range(10))
#: Test sentences of each seed: encoding all of them would take nine tenths of the time.
N_TEST = 1000
#: Heads of two studies, with the settings that the pool chose on a frozen and on a tuned body.
CLASSICAL = ("LogisticRegression, C = 1", "SVC RBF, C = 1", "MLP")
PHOTONIC = ("8 modes, 2 photons", "8 modes, 2 photons, distinguishable")
HEADS = {"finetune": CLASSICAL + PHOTONIC, "qubits": ("10 qubits, single, with a constant",)}


def _units() -> list[Unit]:
    """Every head as two units, one for the frozen and one for the tuned body."""
    pairs = [(study, head) for study, heads in HEADS.items() for head in heads]
    return [one for study, head in pairs for one in shipped_units(study) if one.head == head]


def _parts(unit: Unit, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training sentences of a seed, and of some that decide verdicts."""
    split = study_split(*corpus_part(unit), seed)
    test = split.test[outside_pool(*corpus_part(unit)[:3])[split.test]]
    return split.train, np.random.default_rng(seed).permutation(test)[:N_TEST]


def _bodies(unit: Unit, seed: int, recipe: str) -> dict[float, np.ndarray]:
    """Vectors of both parts after every number of passes; those of no pass are the shipped ones."""
    train, test = _parts(unit, seed)
    texts, labels = load_texts(unit.dataset).texts, load_embeddings(unit.dataset).y
    known, asked = ([texts[i] for i in part] for part in (train, test))
    options = {"seed": seed, "options": RECIPES[recipe], "encoder": unit.encoder}
    with one_thread():
        tuned = tuned_stages(known, labels[train], asked, tuple(STAGES.values()), **options)
    frozen = load_embeddings(unit.dataset, unit.encoder).X[np.concatenate([train, test])]
    return {0.0: frozen} | dict(zip(STAGES, tuned, strict=True))


def _rows(units: list[Unit], seed: int, recipe: str) -> list[tuple]:
    """Accuracy of every head on every stage of one body."""
    first, rows = units[0], []
    train, test = _parts(first, seed)
    y = load_embeddings(first.dataset).y[np.concatenate([train, test])]
    ends = np.split(np.arange(len(y)), [len(train)])
    split = Split(train=ends[0], validation=ends[0], test=ends[1])
    for passes, X in _bodies(first, seed, recipe).items():
        for unit in (one for one in units if one.fine_tuned == (passes > 0)):
            data = UnitData(X, y, [split])
            with one_thread():
                (one,) = chosen_fits(replace(unit, seeds=(seed,)), data)
                accuracy = float(np.mean(one.fit.predict(X[split.test]) == y[split.test]))
            rows.append((recipe, passes, unit.head, unit.family, seed, len(test), accuracy))
    return rows


def tuning_table(
    seeds: Iterable[int] = SEEDS, *, n_jobs: int = -1, progress: bool = False
) -> pd.DataFrame:
    """Test accuracy (fraction) of heads against passes of tuning, for both recipes.

    Tuned vectors are kept in the cache: what was interrupted goes on where it was.
    """
    units = _units()
    jobs = [delayed(_rows)(units, seed, recipe) for seed in seeds for recipe in RECIPES]
    done = Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    rows = [*tqdm(done, desc="bodies", total=len(jobs), disable=not progress)]
    names = ["recipe", "passes", "head", "family", "seed", "n_sentences", "test_accuracy"]
    return pd.DataFrame([row for part in rows for row in part], columns=names)
