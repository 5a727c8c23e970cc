"""``qllm predict``: label sentences with a head that is trained now, or loaded."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from qllm_helpers.files import UnknownNameError


def _sentences(given: tuple[str, ...], file) -> list[str]:
    """Sentences of the command line and of the lines of a file."""
    lines = [line.strip() for line in file] if file else []
    return [*given, *(line for line in lines if line)]


def _head(data: str | None, modes: int, photons: int, seed: int, epochs: int):
    """Train a head, and say how far to trust it."""
    from qllm_helpers.classifiers.labelling import train_head

    trained = train_head(data or "sst2", n_modes=modes, n_photons=photons, seed=seed, epochs=epochs)
    click.echo(
        f"Trained on {trained.n_train} sentences of {data or 'sst2'}: validation accuracy "
        f"{trained.validation_accuracy:.3f}, test accuracy {trained.test_accuracy:.3f} on "
        f"{trained.n_test} sentences (logistic regression: {trained.reference_accuracy:.3f})",
        err=True,
    )
    return trained.head


def _table(table) -> str:
    """One line a sentence: label, probabilities, text."""
    classes = list(table.columns[2:])
    width = max(len(name) for name in classes)
    heading = f"{'label':{width}}  " + "  ".join(f"{name:>{max(len(name), 5)}}" for name in classes)
    lines = [heading]
    for _, row in table.iterrows():
        chances = "  ".join(f"{row[name]:>{max(len(name), 5)}.3f}" for name in classes)
        lines.append(f"{row['label']:{width}}  {chances}  {row['sentence']}")
    return "\n".join(lines)


@click.command()
@click.argument("sentences", nargs=-1)
@click.option("--data", help="Corpus to train on: sst2, sst5 or trec.  [default: sst2]")
@click.option("--modes", default=8, show_default=True, help="Modes of the circuit.")
@click.option("--photons", default=2, show_default=True, help="Photons in it.")
@click.option("--seed", default=0, show_default=True, help="Seed of sentences and weights.")
@click.option("--epochs", default=60, show_default=True, help="Passes over the sentences.")
@click.option(
    "--head",
    type=click.Path(path_type=Path),
    help="A saved head to use instead of training one.",
)
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Keep the head here.")
@click.option("--file", type=click.File(encoding="utf-8"), help="One sentence a line; - for stdin.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def predict(sentences, data, modes, photons, seed, epochs, head, save, file, as_json) -> None:
    """Label SENTENCES with probabilities; works without a network.

    Without --head, a photonic head is trained on shipped embeddings, which takes seconds.
    """
    from qllm_helpers.classifiers.labelling import label_sentences
    from qllm_helpers.classifiers.saved import load_head, save_head

    texts = _sentences(sentences, file)
    if not texts and save is None:
        raise click.UsageError('give at least one sentence, as in: qllm predict "a fine film"')
    if head is not None and data is not None:
        raise click.UsageError("--head is trained already: give it without --data")
    try:
        known = load_head(head) if head else _head(data, modes, photons, seed, epochs)
        if save is not None:
            save_head(known, save, label_names=known.label_names_, encoder=known.encoder_)
            click.echo(f"saved to {save}", err=True)
        table = label_sentences(known, texts) if texts else None
    except UnknownNameError:
        raise
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if table is not None and as_json:
        for row in table.to_dict("records"):
            chances = {name: round(row[name], 6) for name in table.columns[2:]}
            line = {"sentence": row["sentence"], "label": row["label"], "probabilities": chances}
            click.echo(json.dumps(line, ensure_ascii=False))
    elif table is not None:
        click.echo(_table(table))
    sys.stdout.flush()
