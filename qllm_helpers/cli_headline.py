"""``qllm headline``: bring the README's table and the headline figure up to date."""

from __future__ import annotations

import re
from pathlib import Path

import click

from qllm_helpers.artifacts import write_atomic

_BLOCK = re.compile(r"(<!-- headline:begin -->\n).*?(<!-- headline:end -->)", re.DOTALL)
_WIDE = {"type": click.Path(dir_okay=False, path_type=Path), "show_default": True}


@click.command()
@click.option("--readme", default="README.md", help="File with the block.", **_WIDE)
@click.option("--figure", default="book/_static/headline.svg", help="Figure.", **_WIDE)
def headline(readme: Path, figure: Path) -> None:
    """Rewrite the headline table of README.md and its figure from the shipped rows.

    The table stands between <!-- headline:begin --> and <!-- headline:end -->.
    """
    from qllm_helpers import figures
    from qllm_helpers.headline import headline_table
    from qllm_helpers.headline_bodies import with_tuned_body
    from qllm_helpers.headline_view import headline_markdown

    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if not _BLOCK.search(text):
        raise click.UsageError(
            f"{readme} has no lines <!-- headline:begin --> and <!-- headline:end -->; add them "
            "where the table shall stand, and run the command in the checkout"
        )
    table = with_tuned_body(headline_table())
    block = headline_markdown(table)
    write_atomic(readme, _BLOCK.sub(lambda part: part[1] + block + part[2], text).encode())
    shown = table[table["source"] != "reproduction, five-fold"].reset_index(drop=True)
    figure.parent.mkdir(parents=True, exist_ok=True)
    figures.save(figures.headline(shown), figure)
    click.echo(f"wrote {readme} and {figure}")
