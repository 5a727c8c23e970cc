"""Studies: grids times seeds become rows, resumable, parallel and repeatable.

Every finished unit is a file; workers run through joblib (``joblib.parallel_config`` puts a study
on a cluster), one thread each, so bits do not depend on what runs beside.
"""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Hashable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from qllm_helpers.files import DataError, cache_dir, write_atomic
from qllm_helpers.studies import grid
from qllm_helpers.studies.data import corpus_part, data_digest, one_thread, tune_body
from qllm_helpers.studies.grid import (
    PLACE,
    TOLERANCE,
    Unit,
    digest,
    estimator_class,
    load_units,
    reads_texts,
)
from qllm_helpers.studies.table import format_table, load_results, parse_table
from qllm_helpers.studies.unit import (
    REDRAWS,
    git_revision,
    is_searched_apart,
    redraws,
    run_unit,
    try_settings,
)
from qllm_helpers.text.encoders import DEFAULT_ENCODER


def read_unit(folder: Path, key: str) -> list[dict] | None:
    """Rows of a finished unit, or None. Raises DataError if its file is damaged."""
    path = folder / f"{key}.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
        rows = content["rows"]
        if digest(rows) != content["sha256"] or digest(content["specification"]) != key:
            raise ValueError("the digest differs")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is damaged. Delete it: the unit is computed again when its study runs"
        ) from error
    return rows


def write_unit(folder: Path, specification: dict, rows: list[dict]) -> None:
    """Keep a finished unit, unless another process was first; nobody ever sees a part of it."""
    path = folder / f"{digest(specification)}.json"
    if not path.exists():
        content = {"specification": specification, "sha256": digest(rows), "rows": rows}
        write_atomic(path, json.dumps(content, sort_keys=True).encode())


def _work(name: Hashable, unit: Unit, kind: type, tolerant: bool) -> tuple:
    # a worker process starts with the built-in estimators only
    grid.KNOWN.setdefault(unit.estimator, kind)
    try:
        return name, run_unit(unit)
    except Exception as error:
        if not tolerant:
            raise
        return name, f"{type(error).__name__}: {error}"


def _results(units: dict[Hashable, Unit], n_jobs: int | None, tolerant=False) -> Iterator[tuple]:
    """Name and rows of every unit as they are finished, or why it failed; largest units first."""
    order = sorted(units.items(), key=lambda item: -item[1].cost())
    jobs = [
        delayed(_work)(name, unit, estimator_class(unit.estimator), tolerant)
        for name, unit in order
    ]
    if jobs:
        options = {"return_as": "generator_unordered", "pre_dispatch": "n_jobs"}
        yield from Parallel(n_jobs=n_jobs, **options)(jobs)


def _prepare(units: list[Unit], n_jobs: int | None, progress: bool) -> None:
    """What several units share, side by side: workers then find it in the cache."""
    _tune_bodies(units, n_jobs, progress)
    _try_settings(units, n_jobs, progress)


def _tune_bodies(units: list[Unit], n_jobs: int | None, progress: bool) -> None:
    """Fine-tune every body once, before the heads that share it ask for it in parallel."""
    bodies = {}
    for unit in units:
        if not unit.fine_tuned or reads_texts(unit.estimator):
            continue
        needed = [(seed, False) for seed in unit.seeds]
        if unit.selection == "pool" and len(unit.settings) > 1:
            needed += [(redraw, True) for redraw in range(REDRAWS[True])]
        bodies |= {(*corpus_part(unit), *one): (unit, *one) for one in needed}
    _side_by_side(_tune_body, "bodies", bodies, n_jobs, progress)


def _try_settings(units: list[Unit], n_jobs: int | None, progress: bool) -> None:
    """Long searches, setting by setting and side by side: units find the outcome in the cache."""
    searches = {}
    for unit in units:
        if is_searched_apart(unit):
            apart = replace(unit, seeds=(), study="", head="")
            searches |= {(repr(apart), repr(one)): (unit, one) for one in unit.settings}
    _side_by_side(_try_setting, "settings", searches, n_jobs, progress)


def _side_by_side(compute, what: str, jobs: dict, n_jobs: int | None, progress: bool) -> None:
    """Call a function for every job, whose outcome stays in the cache."""
    if jobs:
        calls = (delayed(compute)(*job) for job in jobs.values())
        done = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(calls)
        for _ in tqdm(done, desc=what, total=len(jobs), disable=not progress):
            pass


def _try_setting(unit: Unit, setting: dict) -> None:
    with one_thread():
        try_settings(unit, [setting], range(redraws(unit)[0]))


def _tune_body(unit: Unit, seed: int, pool: bool) -> None:
    # the result stays in the cache folder: sending it back would only cost time
    tune_body(unit, seed, pool=pool)


def run_study(
    units: list[Unit],
    *,
    n_jobs: int | None = None,
    store: Path | None = None,
    progress: bool = False,
    failures: list | None = None,
) -> list[dict]:
    """Compute what is missing, and return all rows.

    Parameters
    ----------
    units : list of Unit
        From :func:`load_units`.
    n_jobs : int or None
        Processes; None: as in ``joblib.parallel_config`` (outside of one: 1), -1: all cores.
    store : Path or None
        Folder of finished units, one file each; None for ``units`` in the cache folder.
    progress : bool
        Show a bar with the remaining time.
    failures : list or None
        Takes a pair for every unit that raises, the unit and the reason; the others go on, and the
        next run tries it again. None: the first error ends the run.

    Returns
    -------
    list of dict
        One row per head and seed, in the order of the grid; all but ``fit_seconds`` are the same
        whatever the number of jobs and however often the run was interrupted.

    Raises
    ------
    DataError
        If the file of a finished unit is damaged.
    """
    folder = cache_dir() / "units" if store is None else store
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file: finished units need a folder. It was left as it is")
    keys = [unit.key(data_digest(unit.dataset, unit.encoder)) for unit in units]
    by_key = dict(zip(keys, units, strict=True))
    kept = {key: read_unit(folder, key) for key in by_key}
    missing = {key: unit for key, unit in by_key.items() if kept[key] is None}
    _prepare(list(missing.values()), n_jobs, progress)
    revision = git_revision()
    total, left = (sum(one.cost() for one in part.values()) for part in (by_key, missing))
    with tqdm(
        desc=f"{units[0].study}, {len(missing)} of {len(by_key)} units missing",
        total=total,
        initial=total - left,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left",
        disable=not progress,
    ) as bar:
        for key, rows in _results(missing, n_jobs, failures is not None):
            unit = by_key[key]
            bar.update(unit.cost())
            if isinstance(rows, str):
                failures.append((unit, rows))
                continue
            rows = [row | {"git_revision": revision} for row in rows]
            write_unit(folder, unit.specification(rows[0]["data_digest"]), rows)
            # what counts is what was stored, also when another process was first
            kept[key] = read_unit(folder, key)
    return [
        row | {"study": unit.study, "head": unit.head}
        for key, unit in zip(keys, units, strict=True)
        for row in kept[key] or ()
    ]


def shipped_units(study: str, encoder: str = DEFAULT_ENCODER) -> list[Unit]:
    """Units of a study on one body, each with the one setting that its shipped rows have."""
    rows = load_results(study).drop_duplicates([*PLACE]).set_index([*PLACE])
    chosen = rows["hyperparameters"].map(json.loads).to_dict()
    return [
        replace(unit, settings=(chosen[unit.place],), redraws=())
        for unit in load_units(study, encoder=encoder)
        if unit.selection == "pool" and unit.place in chosen
    ]


def study_rows(
    study: str, *, encoder: str = DEFAULT_ENCODER, selection: str = "pool", recompute: bool = False
) -> pd.DataFrame:
    """Rows of a study on one body and by one way of selecting, with ``outside_accuracy``.

    Shipped ones; `recompute`: from finished units, computing those that are missing. That takes up
    to an hour and leaves the shipped table alone; ``qllm study NAME`` writes it.
    """
    if recompute:
        units = [one for one in load_units(study) if one.encoder == encoder]
        rows = run_study([one for one in units if one.selection == selection], n_jobs=-1)
        return parse_table(format_table(rows), study, f"the new rows of {study}")
    rows = load_results(study)
    rows = rows[(rows["encoder"] == encoder) & (rows["selection"] == selection)]
    if rows.empty:
        raise DataError(f"study {study!r} has no rows on {encoder} with selection {selection!r}")
    return rows.reset_index(drop=True)


#: Test accuracy (fraction) of a row, shipped and computed again; no `problem`: they agree.
RowCheck = namedtuple("RowCheck", (*PLACE, "seed", "shipped", "recomputed", "problem"))


def check_rows(
    table: pd.DataFrame,
    units: list[Unit],
    n_rows: int,
    *,
    draw: int = 0,
    tolerance: float = TOLERANCE,
    n_jobs: int | None = None,
) -> list[RowCheck]:
    """Compute `n_rows` of a `table` (or all), drawn with the seed `draw`, again, in its order.

    Accuracies and macro F1 may differ by `tolerance` (fraction). DataError: no head has the row.
    """
    known = {unit.place: unit for unit in units}
    stray = set(table[list(PLACE)].itertuples(index=False, name=None)) - set(known)
    if stray:
        raise DataError(f"the table has rows of {stray.pop()[0]!r}, which the grid does not")
    sample = np.sort(np.random.default_rng(draw).permutation(len(table))[:n_rows])
    rows, singles = {}, {}
    for row in table.iloc[sample].to_dict("records"):
        *place, seed = name = tuple(row[column] for column in (*PLACE, "seed"))
        unit = replace(known[tuple(place)], seeds=(seed,))
        if unit.selection == "pool":  # what the pool chose is not chosen again
            unit = replace(unit, settings=(json.loads(row["hyperparameters"]),))
        rows[name], singles[name] = row, unit
    fresh = dict(_results(singles, n_jobs))
    return [_compare(name, row, *fresh[name], tolerance) for name, row in rows.items()]


def _compare(name: tuple, row: dict, new: dict, tolerance: float) -> RowCheck:
    problems = [
        f"{column} is {new[column]:.4f}, not {row[column]:.4f}"
        for column in ("test_accuracy", "validation_accuracy", "macro_f1")
        if not abs(row[column] - new[column]) <= tolerance
    ]
    same = ["n_train", "n_test", "data_digest"]
    # A kernel machine (no live count) has as many parameters as support vectors: another number
    # for every seed, of which the table holds the first seed's.
    if not pd.isna(row["n_live_parameters"]):
        same.append("n_parameters")
    shipped = {column: None if pd.isna(row[column]) else row[column] for column in same}
    problems += [f"{k} is {new[k]}, not {old}" for k, old in shipped.items() if new[k] != old]
    return RowCheck(*name, row["test_accuracy"], new["test_accuracy"], "; ".join(problems))
