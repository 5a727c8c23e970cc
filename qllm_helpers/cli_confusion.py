"""``qllm confusion``: measure which class is taken for which."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for confusion.csv.  [default: the package's results]",
)
def confusion(output: Path | None) -> None:
    """Measure confusion matrices on SST-5 and TREC, with the settings of the stored rows.

    Takes about two minutes on two cores.
    """
    from qllm_helpers.studies.confusion import confusion_table
    from qllm_helpers.studies.measurements import write_measurements

    for path in write_measurements({"confusion": confusion_table(progress=True)}, output):
        click.echo(f"wrote {path}")
