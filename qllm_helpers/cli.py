"""The command line, ``qllm``.

Every command imports what it needs when it runs, so ``qllm --help`` answers at once.
"""

import json
import os
import re
import sys
from pathlib import Path

import click
import pandas as pd

from qllm_helpers.files import DATA_DIR, DataError, write_atomic
from qllm_helpers.studies.grid import TOLERANCE
from qllm_helpers.text.encoders import DEFAULT_ENCODER

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_GRIDS = click.Path(exists=True, dir_okay=False, path_type=Path)
_MARKS = ("<!-- headline:begin -->\n", "<!-- headline:end -->")


class Commands(click.Group):
    """A group that shows an error which says what to do as one line, without a traceback."""

    def invoke(self, context: click.Context):
        """Run a command."""
        try:
            return super().invoke(context)
        except (DataError, ModuleNotFoundError, ValueError) as error:
            raise click.ClickException(str(error)) from error


def _output(tables: str, default: str = "the package's results"):
    """The option for the folder of the tables."""
    help_line = f"Folder for {tables}.  [default: {default}]"
    return click.option("--output", type=_FOLDER, help=help_line)


_SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True}


@click.group(cls=Commands, context_settings=_SETTINGS)
@click.version_option(package_name="qllm-helpers")
def main() -> None:
    """Photonic, qubit and classical heads on sentence embeddings."""


@main.command()
@click.argument("name")
@click.option("--encoder", default=DEFAULT_ENCODER, help="Which encoder.")
@click.option("--output", type=_FILE, help="File to write.  [default: the package's file]")
def embed(name: str, encoder: str, output: Path | None) -> None:
    """Encode the corpus NAME (sst2, sst5, trec), from $QLLM_DATA_DIR/NAME.csv or the Hub."""
    from qllm_helpers.text.corpora import write_embeddings

    path = write_embeddings(name, encoder=encoder, output=output, progress=True)
    click.echo(f"wrote {path}")


@main.command()
@click.argument("name")
@click.option("--jobs", default=-1, show_default="all cores", help="Processes.")
@click.option("--entries", metavar="PATTERN", help='Only matching heads, as in "8 modes*".')
@click.option("--seeds", type=int, help="Use this many seeds instead of the study's own.")
@_output("the table", "the shipped tables, in a checkout")
@click.option("--grids", type=_GRIDS, help="TOML file with your own studies.")
@click.option("--encoder", help="Another body, and what the claims come to on it.")
@click.option("--check", type=int, metavar="K", help="Compute K shipped rows again and compare.")
@click.option("--draw", default=0, help="Seed of the sample for --check.")
@click.option("--tolerance", default=TOLERANCE, help="For --check.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def study(
    name, jobs, entries, seeds, output, grids, encoder, check, draw, tolerance, quiet
) -> None:
    """Compute the rows of study NAME and write its table.

    Finished heads are kept in $QLLM_CACHE_DIR, so an interrupted run goes on where it was.
    """
    from qllm_helpers.studies.run import load_units, run_study
    from qllm_helpers.studies.table import export_table, shipped_table

    if check is not None and (entries or seeds or output or encoder):
        raise click.UsageError("--check compares whole shipped tables: give it without other cuts")
    units = load_units(name, path=grids, n_seeds=seeds, heads=entries, encoder=encoder)
    if check is not None:
        _check(name, units, check, draw=draw, tolerance=tolerance, n_jobs=jobs)
        return
    rows = run_study(units, n_jobs=jobs, progress=not quiet)
    if output is not None:
        path = output / f"{name}.csv"
    elif entries or seeds or encoder:  # a part of a study never replaces the shipped table
        path = Path.cwd() / f"{name}-part.csv"
    else:
        checkout = (DATA_DIR.parent.parent / "pyproject.toml").is_file()
        path = shipped_table(name) if checkout else Path.cwd() / f"{name}.csv"
    export_table(name, rows, path)
    click.echo(f"wrote {len(rows)} rows to {path}")
    if encoder is not None:
        click.echo(_beside(name, encoder, rows))


def _beside(name: str, encoder: str, rows: list[dict]) -> str:
    """Rows and verdicts of a reader's body beside the shipped ones."""
    from qllm_helpers.results.contrasts import verdict_lines
    from qllm_helpers.results.verdicts import load_verdicts, verdicts_on
    from qllm_helpers.studies.table import load_results, with_predictions

    mine, keys = with_predictions(name, rows), ["fine_tuned", "selection", "head"]
    every = pd.concat([load_results(name), mine])
    means = every.pivot_table(index=keys, columns="encoder", values="test_accuracy", sort=False)
    shown = means[means[encoder].notna()].to_string(float_format="{:.4f}".format)
    if mine["seed"].nunique() < 2:
        return f"{shown}\n\nOne seed: no verdicts."
    table, shipped = verdicts_on(encoder, name, mine), load_verdicts()
    both = pd.concat([table, shipped[shipped["claim"].isin(table["claim"])]]).sort_values("claim")
    return f"{shown}\n\n{verdict_lines(both, '{claim} ({body})')}"


@main.command()
@click.argument("head", metavar="MODULE:NAME")
@click.option("--dataset", default="sst2", help="sst2, sst5, trec, or a CSV file: text, label.")
@click.option("--protocol", default="paper", help="paper or few_shot.")
@click.option("--body", default=DEFAULT_ENCODER, help="Which encoder.")
@click.option("--samples", type=int, help="Sentences of each label.  [default: as the studies]")
@click.option("--seeds", default=20, help="Number of seeds.")
@click.option("--margin", default=0.01, help="Largest difference that counts as none.")
@click.option("--name", help="What to call the head.  [default: its class]")
@click.option("--jobs", default=-1, show_default="all cores", help="Processes.")
@_output("the report", "judged-NAME, here")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def judge(head, body, samples, jobs, output, quiet, **options) -> None:
    """Is a head of your own better than the references of the book?

    MODULE:NAME is a class or function, as sklearn.naive_bayes:GaussianNB; modules of this folder
    are found. Finished seeds are kept, so an interrupted run goes on where it was.
    """
    from qllm_helpers.figures import write_card
    from qllm_helpers.results.judge import judge

    sys.path.insert(0, os.getcwd())
    options |= {"encoder": body, "samples_per_class": samples, "n_jobs": jobs}
    card = judge(head, **options, progress=not quiet)
    click.echo(card)
    folder = output or Path(f"judged-{card.head}")
    write_card(card, folder)
    click.echo(f"The report is {folder / 'card.html'}")


def _check(name: str, units: list, count: int, *, draw: int, **options) -> None:
    """Compute some shipped rows again, and exit with 1 if one differs."""
    from qllm_helpers.studies.run import check_rows
    from qllm_helpers.studies.table import body_state, load_results

    table = load_results(name)
    click.echo(f"{name}: computing {count} of {len(table)} rows again, drawn with seed {draw}")
    checks = check_rows(table, units, count, draw=draw, **options)
    for row in checks:
        body = f"body {body_state(name, row.fine_tuned)}"
        verdict = row.problem or f"agrees ({row.recomputed - row.shipped:+.4f})"
        part = f"{row.dataset}, {row.samples_per_class} a label, {body}"
        click.echo(f"  {row.head}, {part}, seed {row.seed}: {row.shipped:.4f}, {verdict}")
    wrong = sum(bool(row.problem) for row in checks)
    click.echo(f"{len(checks) - wrong} of {len(checks)} rows agree within {options['tolerance']}")
    sys.exit(bool(wrong))


def _write(tables: dict[str, pd.DataFrame], folder: Path | None) -> None:
    """Write measured tables, and say where."""
    from qllm_helpers.studies.table import write_measurements

    for path in write_measurements(tables, folder):
        click.echo(f"wrote {path}")


@main.command()
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.  [default: all cores]")
@click.option("--seconds", default=1.0, help="Least time for each measurement.")
@click.option("--sweep/--no-sweep", default=True, help="Also time the whole mode sweep.")
@click.option("--qubits/--no-qubits", default=True, help="Also time the qubit circuits.")
@_output("the tables benchmark*.csv")
def bench(threads, seconds, sweep, qubits, output) -> None:
    """Measure training steps and inference beside MerLin, Perceval and PennyLane.

    Takes about ten minutes on two cores. Keep the machine otherwise idle; quote ratios, not times.
    """
    from qllm_helpers.benchmarks import cases, timing

    n_threads, tables = threads or os.cpu_count() or 1, {}
    options = {"n_threads": n_threads, "min_seconds": seconds, "progress": True}
    if qubits:  # first: without PennyLane it is refused
        every = cases.qubit_cases()
        tables["benchmark_qubits"] = timing.run_qubit_benchmark(every, **options)
    limits = timing.machine_limits()
    table = timing.run_benchmark(cases.layer_cases(), **options)
    tables["benchmark"] = timing.with_bounds(table, limits)
    if sweep:
        tables["benchmark_sweep"] = cases.sweep_benchmark(n_threads, progress=True)
    for name, table in tables.items():
        shown = table.to_string(index=False, float_format="{:.3g}".format, na_rep="")
        click.echo(f"\n{name}\n{shown}")
    _write(tables, output)


@main.command()
@_output("landscape.csv")
def landscape(output: Path | None) -> None:
    """Measure gradients, expressivity and loss by number of photons (four minutes, two cores)."""
    from qllm_helpers.studies.landscape import landscape, standard_circuits

    _write({"landscape": landscape(standard_circuits(), progress=True)}, output)


@main.command()
@_output("qubit_noise.csv")
def qubit_noise(output: Path | None) -> None:
    """Measure what shots and noise do to trained qubit heads (five minutes on two cores)."""
    from qllm_helpers.studies.shots import noise_table, standard_devices, trained_heads

    table = noise_table(trained_heads(), standard_devices(), progress=True)
    _write({"qubit_noise": table}, output)


@main.command()
@_output("precision.csv")
def precision(output: Path | None) -> None:
    """Measure what the precision of the body does to heads (encodes SST-2 twice: ten minutes)."""
    from qllm_helpers.studies.precision import precision_table

    _write({"precision": precision_table(progress=True)}, output)


@main.command()
@_output("tuning.csv")
def tuning(output: Path | None) -> None:
    """Measure heads along the tuning of their body, by two recipes (an hour on two cores)."""
    from qllm_helpers.studies.tuning import tuning_table

    _write({"tuning": tuning_table(progress=True)}, output)


@main.command()
@click.option("--write", is_flag=True, help="Replace the shipped table of verdicts.")
def verdicts(write: bool) -> None:
    """Judge every claim of the book anew from the shipped rows and predictions (a minute)."""
    from qllm_helpers.results.contrasts import verdict_lines
    from qllm_helpers.results.verdicts import verdict_table, write_verdicts

    table = verdict_table()
    click.echo(verdict_lines(table, "{claim} ({body})"))
    if write:
        click.echo(f"wrote {write_verdicts(table)}")


@main.command()
@click.option("--readme", type=_FILE, default="README.md", help="File with the block.")
@click.option("--figure", type=_FILE, default="book/_static/headline.svg", help="Figure.")
def headline(readme: Path, figure: Path) -> None:
    """Rewrite the table of results in README.md, between its marks, and the figure of the answer.

    The figure has the lines of one protocol on one body: those of the paper, and ours.
    """
    from qllm_helpers import figures
    from qllm_helpers.results import headline as results

    table, (begin, end) = results.headline_table(), _MARKS
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    block = begin + results.headline_markdown(table) + end
    text, found = re.subn(f"{begin}.*?{end}", lambda _: block, text, count=1, flags=re.DOTALL)
    if not found:
        raise click.UsageError(
            f"{readme} has no lines {begin.strip()} and {end}; add them where the table shall "
            "stand, and run the command in the checkout"
        )
    write_atomic(readme, text.encode())
    shown = table[table["source"].isin(["paper", "here"]) & table["mean"].notna()]
    figure.parent.mkdir(parents=True, exist_ok=True)
    figures.save(figures.beside({"here: mean and 95 % interval": shown}, label="label"), figure)
    click.echo(f"wrote {readme} and {figure}")


@main.command()
@click.argument("sentences", nargs=-1)
@click.option("--data", help="Corpus to train on: sst2, sst5 or trec.  [default: sst2]")
@click.option("--modes", default=8, help="Modes of the circuit.")
@click.option("--photons", default=2, help="Photons in it.")
@click.option("--seed", default=0, help="Seed of sentences and weights.")
@click.option("--epochs", default=60, help="Passes over the sentences.")
@click.option("--head", type=click.Path(path_type=Path), help="A saved head, not a new one.")
@click.option("--save", type=_FILE, help="Keep the head here.")
@click.option("--file", type=click.File(encoding="utf-8"), help="One sentence a line; - for stdin.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def predict(sentences, data, modes, photons, seed, epochs, head, save, file, as_json) -> None:
    """Label SENTENCES with probabilities; works without a network.

    Without --head, a photonic head is trained on shipped embeddings, which takes seconds.
    """
    from qllm_helpers.classifiers.saved import label_sentences, load_head, save_head, train_head

    texts = [*sentences, *filter(None, map(str.strip, file or ()))]
    if not texts and save is None:
        raise click.UsageError('give at least one sentence, as in: qllm predict "a fine film"')
    if head is not None and data is not None:
        raise click.UsageError("--head is trained already: give it without --data")
    options = {"n_modes": modes, "n_photons": photons, "seed": seed, "epochs": epochs}
    if head is not None:
        known = load_head(head)
    else:
        trained = train_head(data or "sst2", **options)
        known = trained.head
        click.echo(
            f"Trained on {trained.n_train} sentences of {data or 'sst2'}: validation accuracy "
            f"{trained.validation_accuracy:.3f}, test accuracy {trained.test_accuracy:.3f} on "
            f"{trained.n_test} sentences (logistic regression: {trained.reference_accuracy:.3f})",
            err=True,
        )
    if save is not None:
        save_head(known, save, label_names=known.label_names_, encoder=known.encoder_)
        click.echo(f"saved to {save}", err=True)
    if texts:
        table = label_sentences(known, texts)
        click.echo("\n".join(map(_line, table.to_dict("records"))) if as_json else _labels(table))


def _labels(table: pd.DataFrame) -> str:
    """One line a sentence: label, probabilities, text."""
    shown = table[[*table.columns[1:], "sentence"]]
    left = {name: f"{{:{shown[name].str.len().max()}}}".format for name in ("label", "sentence")}
    options = {"justify": "left", "float_format": "{:.3f}".format}
    return shown.to_string(index=False, formatters=left, **options)


def _line(row: dict) -> str:
    """A sentence's label and probabilities as JSON."""
    known = {name: row.pop(name) for name in ("sentence", "label")}
    chances = {name: round(chance, 6) for name, chance in row.items()}
    return json.dumps(known | {"probabilities": chances}, ensure_ascii=False)


if __name__ == "__main__":
    main(prog_name="qllm")
