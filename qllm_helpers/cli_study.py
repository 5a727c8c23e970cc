"""``qllm study``: run a study, or compute a sample of its shipped rows again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from qllm_helpers.files import DATA_DIR, UnknownNameError
from qllm_helpers.studies.run import (
    TOLERANCE,
    check_rows,
    export_table,
    load_results,
    load_units,
    run_study,
    shipped_table,
)


def _target(name: str, output: Path | None, partial: bool) -> Path:
    """Where the table goes: a part of a study never replaces the shipped table by itself."""
    if output is not None:
        return output / f"{name}.csv"
    if partial:
        return Path.cwd() / f"{name}-part.csv"
    checkout = (DATA_DIR.parent.parent / "pyproject.toml").is_file()
    return shipped_table(name) if checkout else Path.cwd() / f"{name}.csv"


def _check(name: str, units, count: int, draw: int, tolerance: float, jobs: int) -> None:
    table = load_results(name)
    click.echo(f"{name}: computing {count} of {len(table)} rows again, drawn with seed {draw}")
    wrong = 0
    checks = check_rows(table, units, count, draw=draw, tolerance=tolerance, n_jobs=jobs)
    for row in checks:
        body = "tuned body" if row.fine_tuned else "frozen body"
        verdict = row.problem or f"agrees ({row.recomputed - row.shipped:+.4f})"
        part = f"{row.dataset}, {row.samples_per_class} a label, {body}"
        click.echo(f"  {row.head}, {part}, seed {row.seed}: {row.shipped:.4f}, {verdict}")
        wrong += bool(row.problem)
    click.echo(f"{len(checks) - wrong} of {len(checks)} rows agree within {tolerance}")
    if wrong:
        sys.exit(1)


@click.command()
@click.argument("name")
@click.option("--jobs", default=-1, show_default="all cores", help="Processes.")
@click.option("--entries", metavar="PATTERN", help='Only matching heads, as in "8 modes*".')
@click.option("--seeds", type=int, help="Use this many seeds instead of the study's own.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the table.  [default: the shipped tables, in a checkout]",
)
@click.option(
    "--grids",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with your own studies.",
)
@click.option("--check", type=int, metavar="K", help="Compute K shipped rows again and compare.")
@click.option("--draw", default=0, show_default=True, help="Seed of the sample for --check.")
@click.option("--tolerance", default=TOLERANCE, show_default=True, help="For --check.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def study(name, jobs, entries, seeds, output, grids, check, draw, tolerance, quiet) -> None:
    """Compute the rows of study NAME and write its table.

    Finished heads are kept in $QLLM_CACHE_DIR, so an interrupted run goes on where it was.
    """
    if check is not None and (entries or seeds or output):
        raise click.UsageError("--check compares whole shipped tables: give it without other cuts")
    try:
        units = load_units(name, path=grids, n_seeds=seeds, heads=entries)
    except ValueError as error:
        if isinstance(error, UnknownNameError):
            raise
        raise click.UsageError(str(error)) from error
    if check is not None:
        _check(name, units, check, draw, tolerance, jobs)
        return
    rows = run_study(units, n_jobs=jobs, progress=not quiet)
    path = _target(name, output, partial=bool(entries or seeds))
    export_table(name, rows, path)
    click.echo(f"wrote {len(rows)} rows to {path}")
