"""Studies: grids times seeds become tables of result rows.

Resumable, parallel and repeatable: finished units are kept in a store, workers run through
joblib (so ``joblib.parallel_config`` puts a study on a cluster), and every unit runs on one
thread, so its bits do not depend on what runs beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from qllm_helpers.files import DataError
from qllm_helpers.studies.grid import STUDY_NAMES, Unit, load_units
from qllm_helpers.studies.provenance import data_digest, git_revision
from qllm_helpers.studies.registry import Registered, register_estimator, registered, remember
from qllm_helpers.studies.store import ResultStore
from qllm_helpers.studies.table import (
    export_table,
    format_table,
    load_results,
    parse_table,
    shipped_table,
)
from qllm_helpers.studies.unit import run_unit, single_seed, tune_body

__all__ = [
    "STUDY_NAMES",
    "RowCheck",
    "check_rows",
    "export_table",
    "load_results",
    "load_units",
    "register_estimator",
    "run_study",
    "shipped_table",
]

#: Largest difference (fraction) of a recomputed accuracy to the shipped one that counts as the
#: same. On one machine it is zero; other processors round differently, and training amplifies it.
TOLERANCE = 0.02
#: Columns that hold a unit's place.
_PLACE = ("head", "dataset", "samples_per_class", "fine_tuned")


def _work(unit: Unit, entry: Registered) -> tuple[Unit, list[dict]]:
    # a worker process starts with the built-in registry only
    remember(unit.estimator, entry)
    return unit, run_unit(unit)


def _results(units: list[Unit], n_jobs: int | None) -> Iterator[tuple[Unit, list[dict]]]:
    """Rows of every unit as they are finished, largest units first."""
    from joblib import Parallel, delayed

    order = sorted(units, key=lambda unit: -unit.cost())
    jobs = (delayed(_work)(unit, registered(unit.estimator)) for unit in order)
    return Parallel(n_jobs=n_jobs, return_as="generator_unordered", pre_dispatch="n_jobs")(jobs)


def _tune_bodies(units: list[Unit], n_jobs: int | None, progress: bool) -> None:
    """Fine-tune every body once, before the heads that share it ask for it in parallel."""
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    bodies = {}
    for unit in units:
        if unit.fine_tuned:
            common = (unit.dataset, unit.encoder, unit.protocol, unit.samples_per_class)
            bodies |= {(*common, seed): (unit, seed) for seed in unit.seeds}
    jobs = (delayed(_tune_body)(*body) for body in bodies.values())
    done = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs) if bodies else ()
    for _ in tqdm(done, desc="bodies", total=len(bodies), disable=not (progress and bodies)):
        pass


def _tune_body(unit: Unit, seed: int) -> None:
    # the result stays in the cache folder: sending it back would only cost time
    tune_body(unit, seed)


def _progress(units: list[Unit], done: float, enabled: bool):
    from tqdm.auto import tqdm

    total = sum(unit.cost() for unit in units)
    layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left{postfix}"
    return tqdm(
        desc=units[0].study, total=total, initial=done, bar_format=layout, disable=not enabled
    )


def run_study(
    units: list[Unit],
    *,
    n_jobs: int | None = None,
    store: Path | None = None,
    progress: bool = False,
) -> list[dict]:
    """Compute what is missing, and return all rows.

    Parameters
    ----------
    units : list of Unit
        From :func:`load_units`.
    n_jobs : int or None
        Processes; None leaves it to ``joblib.parallel_config`` (outside of one: 1), -1 uses all
        cores.
    store : Path or None
        File of finished units; None for the one in the cache folder.
    progress : bool
        Show a bar with the remaining time.

    Returns
    -------
    list of dict
        One row per head and seed, in the order of the grid: equal units give equal rows,
        whatever the number of jobs and however often the run was interrupted (``fit_seconds``
        is what it was when the unit was computed).

    Raises
    ------
    DataError
        If the store is damaged or foreign.
    """
    with ResultStore(store) as kept:
        keys = {id(unit): unit.key(data_digest(unit.dataset, unit.encoder)) for unit in units}
        by_key = {keys[id(unit)]: unit for unit in units}
        missing = [unit for key, unit in by_key.items() if kept.get(key) is None]
        done = sum(unit.cost() for unit in by_key.values() if unit not in missing)
        _tune_bodies(missing, n_jobs, progress)
        revision = {"git_revision": git_revision()}
        with _progress(list(by_key.values()), done, progress) as bar:
            finished = len(by_key) - len(missing)
            for unit, rows in _results(missing, n_jobs) if missing else ():
                digest = rows[0]["data_digest"]
                rows = [row | revision for row in rows]
                kept.add(unit.key(digest), unit.specification(digest), rows)
                finished += 1
                bar.set_postfix_str(f"{finished} of {len(by_key)} heads", refresh=False)
                bar.update(unit.cost())
        return [
            row | {"study": unit.study, "head": unit.head}
            for unit in units
            for row in kept.get(keys[id(unit)])
        ]


def study_rows(study: str, *, recompute: bool = False) -> pd.DataFrame:
    """Rows of a study: the shipped ones, or what the local store of finished fits gives.

    `recompute` computes what the store lacks, which takes up to an hour, and leaves the shipped
    table alone; ``qllm study NAME`` does the same and writes the table.
    """
    if not recompute:
        return load_results(study)
    rows = run_study(load_units(study), n_jobs=-1)
    return parse_table(format_table(rows), study, f"the new rows of {study}")


@dataclass(frozen=True)
class RowCheck:
    """A shipped row next to the same row computed again.

    Attributes
    ----------
    head, dataset : str
    samples_per_class : int
    fine_tuned : bool
    seed : int
    shipped, recomputed : float
        Test accuracy, fractions.
    problem : str
        Empty if they agree within the tolerance.
    """

    head: str
    dataset: str
    samples_per_class: int
    fine_tuned: bool
    seed: int
    shipped: float
    recomputed: float
    problem: str


def check_rows(
    table: pd.DataFrame,
    units: list[Unit],
    n_rows: int,
    *,
    draw: int = 0,
    tolerance: float = TOLERANCE,
    n_jobs: int | None = None,
) -> list[RowCheck]:
    """Compute a random sample of rows again.

    Parameters
    ----------
    table : DataFrame
        Shipped rows.
    units : list of Unit
        The study's grid.
    n_rows : int
        Size of the sample (at most all rows).
    draw : int
        Seed of the sample.
    tolerance : float
        Largest accepted difference of test and validation accuracy (fraction).
    n_jobs : int or None
        As in :func:`run_study`.

    Returns
    -------
    list of RowCheck
        In the order of the table.

    Raises
    ------
    DataError
        If a row belongs to no head of the grid.
    """
    known = {unit.place: unit for unit in units}
    places = list(zip(*(table[name] for name in _PLACE), strict=True))
    stray = [place for place in places if place not in known]
    if stray:
        raise DataError(f"the table has rows of {stray[0][0]!r}, which the grid does not")
    sample = np.sort(np.random.default_rng(draw).permutation(len(table))[:n_rows])
    rows = table.iloc[sample].to_dict("records")
    singles = [
        single_seed(known[places[i]], row["seed"]) for i, row in zip(sample, rows, strict=True)
    ]
    fresh = {}
    for unit, (result,) in _results(singles, n_jobs):
        fresh[*unit.place, unit.seeds[0]] = result
    return [_compare(row, fresh, tolerance) for row in rows]


def _compare(row: dict, fresh: dict, tolerance: float) -> RowCheck:
    name = tuple(row[column] for column in (*_PLACE, "seed"))
    new = fresh[name]
    problems = []
    for column in ("test_accuracy", "validation_accuracy", "macro_f1"):
        if not abs(row[column] - new[column]) <= tolerance:
            problems.append(f"{column} is {new[column]:.4f}, not {row[column]:.4f}")
    same = ["n_train", "n_test", "data_digest"]
    # A kernel machine (no live count) has as many parameters as support vectors: another number
    # for every seed, of which the table holds the first seed's.
    if not pd.isna(row["n_live_parameters"]):
        same.append("n_parameters")
    for column in same:
        shipped = None if pd.isna(row[column]) else row[column]
        if shipped != new[column]:
            problems.append(f"{column} is {new[column]}, not {shipped}")
    return RowCheck(*name, row["test_accuracy"], new["test_accuracy"], "; ".join(problems))
