"""The published figures agree with each other, with their sources and with the library."""

import re
from pathlib import Path

import numpy as np
import pytest

from qllm_helpers import figures
from qllm_helpers.results.headline import (
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
    assert set(TABLE["citation"].dropna()) <= known
    assert set(TABLE["family"]) <= set(figures.FAMILY_STYLE)
    assert TABLE["reported"].dropna().between(0.5, 1).all()


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


# Typed once more, from the sources: modes, photons, validation, test, parameters.
PINNED_PHOTONS = """
2 1 0.5800 0.5691 76914
4 1 0.8120 0.7990 76942
4 2 0.7320 0.6961 76946
6 1 0.8360 0.8280 76986
6 2 0.8160 0.7781 77004
6 3 0.6720 0.6399 77014
8 1 0.7960 0.7572 77046
8 2 0.8480 0.8376 77086
8 3 0.7960 0.7781 77142
8 4 nan nan 77170
"""
PINNED_LINES = {
    "LogisticRegression": 0.7669,
    "SVC": 0.7846,
    "MLP": 0.7701,
    "SVC (paper)": 0.8508,
    "MLP (paper)": 0.9144,
    "single sQE, 10 qubits (paper)": 0.9021,
    "multi sQE, 14 qubits (paper)": 0.9270,
    "end to end, upper bound (paper)": 0.9362,
    "LogisticRegression (five-fold)": 0.8888,
    "SVM (five-fold)": 0.8912,
    "NN[0] (five-fold)": 0.8886,
    "NN[96] (five-fold)": 0.8912,
    "8 modes, 1 photon (five-fold)": 0.8874,
    "fidelity kernel (five-fold)": 0.7460,
}
PINNED_COUNTS = {
    "MLP": 82_052,
    "multi sQE, 14 qubits (paper)": 886,
    "LogisticRegression (five-fold)": 769,
    "NN[0] (five-fold)": 1_538,
    "NN[96] (five-fold)": 74_018,
}


def test_figures_are_typed_as_they_were_printed():
    pinned = np.array([line.split() for line in PINNED_PHOTONS.strip().splitlines()], dtype=float)
    np.testing.assert_array_equal(published_photons().to_numpy(dtype=float), pinned)
    assert TABLE.loc[list(PINNED_LINES), "reported"].tolist() == list(PINNED_LINES.values())
    counts = TABLE.loc[list(PINNED_COUNTS), "reported_parameters"].tolist()
    assert counts == list(PINNED_COUNTS.values())


def test_validation_and_test_accuracies_choose_the_same_lines():
    circuits = published_photons().dropna(subset="reported")
    sizes = circuits.groupby("n_modes")
    by_test, by_validation = (sizes[n].idxmax() for n in ("reported", "reported_validation"))
    assert by_test.equals(by_validation)
    classical = TABLE[(TABLE["source"] == "reproduction") & TABLE["n_modes"].isna()]
    for lines in (circuits, classical):
        assert lines["reported"].idxmax() == lines["reported_validation"].idxmax()
