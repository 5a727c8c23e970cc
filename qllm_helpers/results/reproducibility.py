"""Where the shipped rows come from: how many, with which versions and seeds, at which cost."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from qllm_helpers.studies.grid import STUDY_NAMES, load_units
from qllm_helpers.studies.table import VERSIONS, load_results, shipped_table


def shipped_results() -> dict[str, pd.DataFrame]:
    """Rows of every study that has been run, in the order of the studies."""
    return {name: load_results(name) for name in STUDY_NAMES if shipped_table(name).is_file()}


def study_overview(results: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Size, seeds, cost and origin of every study, one line each.

    ``study``, ``heads`` (a head with a frozen and with a tuned body counts twice), ``seeds``,
    ``rows``, ``settings`` (that every head chooses from), ``core_hours`` (time of all fits on one
    core, without the fine-tuning of bodies), ``revision`` of the code ("+": with changes), and
    ``command``.
    """
    lines = [
        {
            "study": name,
            "heads": len(rows[["head", "fine_tuned"]].drop_duplicates()),
            "seeds": _numbers(rows["seed"]),
            "rows": len(rows),
            "settings": max(len(unit.settings) for unit in load_units(name)),
            "core_hours": rows["fit_seconds"].sum() / 3600,
            "revision": _all(rows["git_revision"]),
            "command": f"qllm study {name}",
        }
        for name, rows in results.items()
    ]
    return pd.DataFrame(lines)


def row_versions(results: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Versions that computed the rows: ``what`` (a package, or the platform), a column a study."""
    table = {name: {what: _all(rows[what]) for what in VERSIONS} for name, rows in results.items()}
    return pd.DataFrame(table).rename_axis("what").reset_index()


def _numbers(values: pd.Series) -> str:
    """Whole numbers as a range, or as a list if some are missing."""
    numbers = sorted(values.unique())
    if len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def _all(values: pd.Series) -> str:
    """The different values, in order of appearance."""
    return ", ".join(str(value) for value in values.dropna().unique())
