"""The headline table as a reader sees it: Markdown, narrow styled parts, a CSV file to download."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pandas as pd

from qllm_helpers.results.headline import headline_table
from qllm_helpers.results.tuned import with_tuned_body

__all__ = ["CsvLink", "headline_markdown", "headline_part", "tuned_markdown"]

_COUNTS = ("n_parameters", "n_live_parameters", "n_effective_parameters")

_ACCURACY = {
    "reported": "reported",
    "mean": "here",
    "low": "from",
    "high": "to",
    "n_seeds": "seeds",
}
_DIFFERENCE = {
    "difference": "difference",
    "difference_low": "from",
    "difference_high": "to",
    "p_corrected": "p (Holm)",
    "verdict": "verdict",
}
_PARAMETERS = {
    "reported_parameters": "reported",
    "n_parameters": "nominal",
    "n_live_parameters": "live",
    "n_effective_parameters": "effective",
}
_ORIGIN = {"body": "body here", "note": "note"}
#: Part of the table -> its columns and their headings.
PARTS = {
    "accuracy": _ACCURACY,
    "difference": _DIFFERENCE,
    "parameters": _PARAMETERS,
    "origin": _ORIGIN,
}
_SIGNED = ("difference", "difference_low", "difference_high")


def _format(name: str, value) -> str:
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "–"
    if name == "n_seeds" or name.endswith("parameters"):
        return f"{value:,.0f}"
    if name == "p_corrected":
        return f"{value:.3f}" if value >= 0.001 else "< 0.001"
    return f"{value:+.4f}" if name in _SIGNED else f"{value:.4f}"


def headline_part(table: pd.DataFrame, part: str = "accuracy"):
    """A part of the headline table that fits a page.

    Parameters
    ----------
    table : DataFrame
        From :func:`qllm_helpers.results.headline.headline_table`.
    part : {"accuracy", "difference", "parameters", "origin"}
        Accuracies are fractions with their 95 % interval; differences are fractions.

    Returns
    -------
    Styler
        Its HTML is the same in every run.

    Raises
    ------
    ValueError
        If there is no such part.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, not {part!r}")
    names = PARTS[part]
    shown = pd.DataFrame(
        {title: [_format(name, value) for value in table[name]] for name, title in names.items()},
        index=table["label"].tolist(),
    )
    align = "left" if part == "origin" else "right"
    look = {"text-align": align, "padding": "0.2em 0.4em"}
    return shown.style.set_uuid(f"headline-{part}").set_properties(**look)


@dataclass(frozen=True)
class CsvLink:
    """A table as a link that downloads it; shows as a link in a notebook and on a page.

    Attributes
    ----------
    table : DataFrame
    name : str
        File name for the reader, ending in ``.csv``.
    digits : int
        Decimal places of fractions.
    """

    table: pd.DataFrame
    name: str
    digits: int = 6

    def __repr__(self) -> str:
        return f"{self.name}: {len(self.table)} lines"

    def _repr_html_(self) -> str:
        content = self.table.to_csv(index=False, float_format=f"%.{self.digits}f")
        data = base64.b64encode(content.encode()).decode()
        link = f'<a download="{self.name}" href="data:text/csv;base64,{data}">{self.name}</a>'
        return f"<p>{link} ({len(self.table)} lines)</p>"


def _accuracy(row: dict, prefix: str = "") -> str:
    """Mean and interval, as a cell."""
    mean, low, high = (row[prefix + name] for name in ("mean", "low", "high"))
    return f"{mean:.4f} [{low:.4f}, {high:.4f}]"


def _points(row: dict, prefix: str = "") -> str:
    """Difference to logistic regression with its p-value, as a cell."""
    if pd.isna(row[prefix + "p_corrected"]):
        return "reference"
    p = row[prefix + "p_corrected"]
    p = f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"
    return f"{100 * row[prefix + 'difference']:+.2f} ({p})"


def _reported(row: dict) -> str:
    """The published accuracy, as a cell."""
    return f"{row['reported']:.4f}" if pd.notna(row["reported"]) else "–"


def _cells(row: dict) -> list[str]:
    """A line of the headline table."""
    if pd.isna(row["mean"]):
        return [row["label"], _reported(row), row["note"], "", "", ""]
    counts = " / ".join(f"{row[name]:,.0f}" if pd.notna(row[name]) else "–" for name in _COUNTS)
    here = [_accuracy(row), _points(row), str(row["n_seeds"]), counts]
    return [row["label"], _reported(row), *here]


def _tuned_cells(row: dict) -> list[str]:
    """A line of the table of tuned bodies."""
    tuned = [_accuracy(row, "tuned_"), _points(row, "tuned_"), str(row["tuned_n_seeds"])]
    return [row["label"], _reported(row), _accuracy(row), *tuned]


def _write(heading: list[str], lines: list[list[str]]) -> str:
    """A Markdown table; ends in a line feed."""
    lines = [heading, ["---"] * len(heading), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def headline_markdown(table: pd.DataFrame | None = None) -> str:
    """The headline table as Markdown, for the README.

    Parameters
    ----------
    table : DataFrame or None
        From :func:`qllm_helpers.results.headline.headline_table`; None for the shipped rows.

    Returns
    -------
    str
        Without the five-fold lines; ends in a line feed.
    """
    table = headline_table() if table is None else table
    table = table[table["source"] != "reproduction, five-fold"]
    heading = ["", "reported", "here: mean, 95 % interval", "points to logistic regression"]
    heading += ["seeds", "parameters: nominal / live / effective"]
    return _write(heading, [_cells(row) for row in table.to_dict("records")])


def tuned_markdown(table: pd.DataFrame | None = None) -> str:
    """The paper's lines on a frozen and on a fine-tuned body as Markdown, for the README.

    Parameters
    ----------
    table : DataFrame or None
        From :func:`qllm_helpers.results.tuned.with_tuned_body`; None for the shipped rows.

    Returns
    -------
    str
        Only the lines that were run on a fine-tuned body beside a frozen one; ends in a line feed.
    """
    table = with_tuned_body(headline_table()) if table is None else table
    table = table[table["tuned_mean"].notna()]
    heading = ["", "reported", "here, frozen body", "here, fine-tuned body"]
    heading += ["points to logistic regression there", "seeds"]
    return _write(heading, [_tuned_cells(row) for row in table.to_dict("records")])
