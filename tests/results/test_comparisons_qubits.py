"""Comparisons of the gate-based heads: every head that they name is in the study."""

import numpy as np
import pandas as pd
import pytest

from qllm_helpers.results.circuits import (
    EQUAL_SIZE,
    QUESTIONS,
    beside_photonic,
    question_table,
)
from qllm_helpers.results.contrasts import kinds
from qllm_helpers.studies.run import load_results, load_units


def frozen_units():
    """The questions are about the frozen body; some heads have a tuned one as well."""
    return [unit for unit in load_units("qubits") if not unit.fine_tuned]


@pytest.fixture(scope="module")
def rows():
    """Random rows; every seed has its luck, every head its place."""
    draw, units = np.random.default_rng(0), frozen_units()
    luck = draw.normal(0.7, 0.02, 20)
    table = [
        {
            "head": unit.head,
            "family": "twin" if "twin" in unit.parameters else "qubit",
            "seed": seed,
            "n_parameters": 100 + place,
            "test_accuracy": luck[seed] + 0.001 * place + draw.normal(0, 1e-4),
        }
        for place, unit in enumerate(units)
        for seed in unit.seeds
    ]
    return pd.DataFrame(table)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_answered_by_the_study(rows, question):
    table = question_table(rows, question)
    assert list(zip(table["head"], table["reference"], strict=True)) == list(QUESTIONS[question])
    places = {unit.head: place for place, unit in enumerate(frozen_units())}
    expected = [0.001 * (places[a] - places[b]) for a, b in QUESTIONS[question]]
    assert table["difference"].tolist() == pytest.approx(expected, abs=2e-4)
    paper = table["head"].str.startswith("14 qubits")
    assert set(table.loc[paper, "n_seeds"]) <= {10}
    assert set(table.loc[~paper, "n_seeds"]) == {20}


def test_photonic_partners_have_about_the_same_size(rows):
    paper = load_results("paper")
    table = beside_photonic(rows, paper)
    assert len(table) == len(EQUAL_SIZE)
    assert table["n_parameters_reference"].notna().all()


def test_two_bodies_at_once_are_refused(rows):
    both = pd.concat([rows.assign(fine_tuned=False), rows.assign(fine_tuned=True)])
    with pytest.raises(ValueError, match="fine_tuned"):
        question_table(both, "logistic regression")


def test_unknown_question_is_refused(rows):
    with pytest.raises(ValueError, match="unknown question"):
        question_table(rows, "colour")


def test_two_encoders_of_qubits_are_no_two_stage_photonic_head():
    row = {"family": "qubit", "readout": None, "estimator": "QubitClassifier", "twin": None}
    table = pd.DataFrame([row | {"configuration": '{"n_encoders": 2}'}]).astype(object)
    assert kinds(table).tolist() == ["qubit"]
    assert kinds(table.assign(family="photonic")).tolist() == ["two-stage"]
