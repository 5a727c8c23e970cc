"""The card of a judged head: one figure, and a report as Markdown, HTML and CSV."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from matplotlib.figure import Figure

from qllm_helpers.figures.primitives import seed_strip
from qllm_helpers.figures.style import save
from qllm_helpers.files import write_atomic
from qllm_helpers.results.judge import Card
from qllm_helpers.studies.table import export_table
from qllm_helpers.studies.unit import provenance

_PAGES = FileSystemLoader(Path(__file__).parent)
_PAGES = Environment(loader=_PAGES, autoescape=select_autoescape(["html"]), trim_blocks=True)


def card_figure(card: Card) -> Figure:
    """Every seed of the head and its references; shaded: the margin around the first of these."""
    margin = float(card.verdicts["margin"].iloc[0])
    return seed_strip(card.fits, value="outside_accuracy", lines=True, margin=margin)


def write_card(card: Card, folder) -> list[Path]:
    """Write a card into a folder; the paths of the files.

    ``card.md``, ``card.html`` (complete in itself) and ``card.svg``; ``verdicts.csv``; ``rows.csv``
    with what was computed, and ``rows.safetensors`` with its predictions, as studies export them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save(card_figure(card), folder / "card.svg")
    about = {"card": card, "versions": provenance()}
    for name in ("lines", "notes"):
        about[name] = _PAGES.get_template(f"card_{name}.md").render(about).splitlines()
    about["drawing"] = (folder / "card.svg").read_text(encoding="utf-8").partition("<svg")[2]
    for name in ("card.md", "card.html"):
        write_atomic(folder / name, _PAGES.get_template(name).render(about).encode())
    verdicts = card.verdicts.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    write_atomic(folder / "verdicts.csv", verdicts.encode())
    export_table("judge", card.rows, folder / "rows.csv")
    return sorted(path for path in folder.iterdir() if path.stem in ("card", "rows", "verdicts"))
