"""The card of a judged head: one figure, and a report as Markdown, HTML and CSV."""

from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape
from matplotlib.figure import Figure

from qllm_helpers.figures.primitives import seed_strip
from qllm_helpers.figures.style import save
from qllm_helpers.files import write_atomic
from qllm_helpers.results.judge import Card
from qllm_helpers.studies.table import export_table
from qllm_helpers.studies.unit import provenance

_FOLDER = Path(__file__).parent
_TEMPLATES = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=select_autoescape(["html"]), trim_blocks=True
)


def card_figure(card: Card) -> Figure:
    """Every seed of the head and its references; shaded: the margin around the first of these."""
    margin = float(card.verdicts["margin"].iloc[0])
    return seed_strip(card.fits, value="outside_accuracy", lines=True, margin=margin)


def card_table(card: Card) -> pd.DataFrame:
    """The verdicts as a report shows them: differences in points, accuracies as fractions."""
    table = card.verdicts
    points = (100 * table[["difference", "low", "high", "detectable"]]).round(2)
    shown = table[["reference", "verdict"]].join(points)
    accuracies = table[["accuracy", "reference_accuracy"]].round(4)
    shown = shown.join(accuracies).assign(seeds=table["n_seeds"], parameters=table["n_parameters"])
    titles = {"low": "from", "high": "to", "reference_accuracy": "accuracy of the reference"}
    titles |= {"parameters": "parameters of the reference"}
    return shown.rename(columns=titles).astype(object).where(shown.notna().to_numpy(), "")


def write_card(card: Card, folder) -> list[Path]:
    """Write a card into a folder; the paths of the files.

    ``card.md``, ``card.html`` (complete in itself) and ``card.svg``; ``verdicts.csv``; ``rows.csv``
    with what was computed, and ``rows.safetensors`` with its predictions, as studies export them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save(card_figure(card), folder / "card.svg")
    about = {"card": card, "table": card_table(card), "versions": provenance()}
    about["drawing"] = (folder / "card.svg").read_text(encoding="utf-8").partition("<svg")[2]
    for name in ("card.md", "card.html"):
        text = _TEMPLATES.get_template(name).render(about)
        write_atomic(folder / name, text.encode())
    verdicts = card.verdicts.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    write_atomic(folder / "verdicts.csv", verdicts.encode())
    export_table("judge", card.rows, folder / "rows.csv")
    return sorted(path for path in folder.iterdir() if path.stem in ("card", "rows", "verdicts"))
