"""The published figures agree with each other, with their sources and with the library."""

import re
from pathlib import Path

import pytest

from qllm_helpers import figures
from qllm_helpers.heads import MLPHead
from qllm_helpers.parameters import count_parameters
from qllm_helpers.photonic_heads import PhotonicHead
from qllm_helpers.published import (
    PAPER_GAIN,
    REPRODUCTION_GAIN,
    published_photons,
    published_table,
)

TABLE = published_table().set_index("label")


def test_every_line_is_named_once_and_its_source_is_in_the_bibliography(repository):
    bibliography = Path(repository, "book/references.bib").read_text(encoding="utf-8")
    assert TABLE.index.is_unique
    known = set(re.findall(r"^@\w+\{([\w-]+),", bibliography, re.MULTILINE))
    assert set(TABLE["citation"]) <= known
    assert set(TABLE["family"]) <= set(figures.FAMILY_STYLE)
    assert TABLE["reported"].between(0.5, 1).all()


def test_the_mode_lines_are_maxima_of_the_test_accuracy_over_photons():
    photons = published_photons().dropna(subset="reported")
    best = photons.loc[photons.groupby("n_modes")["reported"].idxmax()].set_index("n_modes")
    lines = TABLE[TABLE["source"] == "reproduction"].dropna(subset="n_modes").set_index("n_modes")
    for column in ("n_photons", "reported", "reported_validation", "reported_parameters"):
        assert best[column].tolist() == lines[column].tolist()


def test_the_gains_are_differences_of_lines():
    best, size = TABLE.loc["multi sQE, 14 qubits (paper)"], "best classical of that size (paper)"
    assert best["reported"] - TABLE.loc[size, "reported"] == pytest.approx(PAPER_GAIN)
    gap = TABLE.loc["8 modes", "reported"] - TABLE.loc["SVC", "reported"]
    assert gap == pytest.approx(0.0530)
    assert gap >= REPRODUCTION_GAIN


@pytest.mark.parametrize("row", published_photons().itertuples(), ids=lambda r: f"{r[1]}m{r[2]}p")
def test_the_library_counts_the_printed_parameters_of_the_photonic_heads(row):
    head = PhotonicHead(768, 2, row.n_modes, row.n_photons, encoding="subset", space="unbunched")
    assert count_parameters(head).nominal.total == row.reported_parameters


def test_the_library_counts_the_printed_parameters_of_the_network():
    printed = TABLE.loc["MLP", "reported_parameters"]
    assert count_parameters(MLPHead(768, 2)).nominal.total == printed
