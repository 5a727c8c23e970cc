"""The command line, ``qllm``.

Each command is a function here, or lives with its subject and is listed in ``LATER``: such a
module is imported only when its command is asked for, so ``qllm --help`` answers at once.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click

from qllm_helpers.files import DataError, UnknownNameError
from qllm_helpers.text.encoders import DEFAULT_ENCODER

# Command -> module and attribute that holds it.
LATER = {
    "study": ("qllm_helpers.cli_study", "study"),
    "bench": ("qllm_helpers.cli_bench", "bench"),
    "landscape": ("qllm_helpers.cli_bench", "landscape"),
    "qubit-noise": ("qllm_helpers.cli_bench", "qubit_noise"),
    "confusion": ("qllm_helpers.cli_confusion", "confusion"),
    "headline": ("qllm_helpers.cli_headline", "headline"),
    "predict": ("qllm_helpers.cli_predict", "predict"),
}


class Commands(click.Group):
    """A group that imports some commands on demand and shows known errors as one line."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Names of all commands that this installation has."""
        later = [name for name, (module, _) in LATER.items() if find_spec(module)]
        return sorted([*super().list_commands(context), *later])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of that name, imported now if need be."""
        if name in LATER and find_spec(LATER[name][0]):
            module, attribute = LATER[name]
            return getattr(import_module(module), attribute)
        return super().get_command(context, name)

    def invoke(self, context: click.Context):
        """Run a command; an error that says what to do needs no traceback."""
        try:
            return super().invoke(context)
        except (DataError, UnknownNameError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="qllm-helpers")
def main() -> None:
    """Photonic, qubit and classical heads on sentence embeddings."""


@main.command()
@click.argument("name")
@click.option("--encoder", default=DEFAULT_ENCODER, show_default=True, help="Which encoder.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [default: the file shipped with the package]",
)
def embed(name: str, encoder: str, output: Path | None) -> None:
    """Encode the corpus NAME (sst2, sst5, trec) and write its embeddings.

    Needs the sentences: from $QLLM_DATA_DIR/NAME.csv or from the Hub. Takes some
    minutes for SST-5 on two cores.
    """
    from qllm_helpers.text.embeddings import write_embeddings

    try:
        path = write_embeddings(name, encoder=encoder, output=output, progress=True)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"wrote {path}")
