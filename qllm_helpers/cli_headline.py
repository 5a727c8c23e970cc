"""``qllm headline``: bring the README's table and the headline figure up to date."""

from __future__ import annotations

import re
from pathlib import Path

import click

from qllm_helpers.files import write_atomic

_BLOCKS = {
    name: re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    for name in ("headline", "tuned")
}
_WIDE = {"type": click.Path(dir_okay=False, path_type=Path), "show_default": True}


@click.command()
@click.option("--readme", default="README.md", help="File with the block.", **_WIDE)
@click.option("--figure", default="book/_static/headline.svg", help="Figure.", **_WIDE)
def headline(readme: Path, figure: Path) -> None:
    """Rewrite the two tables of results in README.md and its figure from the shipped rows.

    They stand between <!-- headline:begin --> and <!-- headline:end -->, and between
    <!-- tuned:begin --> and <!-- tuned:end -->.
    """
    from qllm_helpers import figures
    from qllm_helpers.results.headline import (
        headline_markdown,
        headline_table,
        tuned_lines,
        tuned_markdown,
    )

    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    for name, block in _BLOCKS.items():
        if not block.search(text):
            raise click.UsageError(
                f"{readme} has no lines <!-- {name}:begin --> and <!-- {name}:end -->; add them "
                "where the table shall stand, and run the command in the checkout"
            )
    table, tuned = headline_table(), tuned_lines()
    written = {"headline": headline_markdown(table), "tuned": tuned_markdown(table, tuned)}
    for name, block in _BLOCKS.items():
        text = block.sub(lambda part, name=name: part[1] + written[name] + part[2], text)
    write_atomic(readme, text.encode())
    shown = table[table["source"] != "reproduction, five-fold"]
    ways = {"here: mean and 95 % interval": shown, "the same on a fine-tuned body": tuned}
    figure.parent.mkdir(parents=True, exist_ok=True)
    figures.save(figures.beside(ways, label="label"), figure)
    click.echo(f"wrote {readme} and {figure}")
