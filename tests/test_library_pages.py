"""Where the shipped rows come from, as the page on reproducibility says it."""

import importlib.util

import pandas as pd
import pytest

from qllm_helpers.studies.table import VERSIONS


@pytest.fixture(scope="module")
def pages(repository):
    """The extension of the book that writes the page."""
    path = repository / "book" / "_ext" / "library_pages.py"
    known = importlib.util.spec_from_file_location("library_pages", path)
    module = importlib.util.module_from_spec(known)
    known.loader.exec_module(module)
    return module


def cells(table):
    """The lines of a Markdown table below its titles."""
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def rows(seeds, revision="abc"):
    table = pd.DataFrame({"head": "LogisticRegression", "fine_tuned": False, "seed": seeds})
    table = table.assign(fit_seconds=1800.0, git_revision=revision)
    table = table.assign(encoder="all-mpnet-base-v2", selection="pool")
    return table.assign(**dict.fromkeys(VERSIONS, "1.0"))


def test_overview_adds_up_the_rows(pages):
    texts = pages.describe_studies({"paper": rows([0, 1, 2, 3]), "few_shot": rows([0, 2], "def+")})
    assert cells(texts["study_sizes"]) == [
        ["`qllm study paper`", "1", "0 to 3", "16", "4", "abc"],
        ["`qllm study few_shot`", "1", "0, 2", "16", "2", "def+"],
    ]
    assert cells(texts["study_costs"])[0] == ["`qllm study paper`", "120.0"]


def test_versions_of_mixed_rows_are_all_named(pages):
    mixed = pd.concat([rows([0]), rows([1]).assign(torch="2.0")])
    table = dict(cells(pages.describe_studies({"paper": mixed})["row_versions"]))
    assert (table["torch"], table["numpy"]) == ("1.0, 2.0", "1.0")


def test_shipped_rows_have_an_origin(pages):
    results = pages.shipped_results()
    assert {"few_shot", "paper"} <= set(results)
    texts = pages.describe_studies(results)
    assert all(float(cost) > 0 for _, cost in cells(texts["study_costs"]))
    assert all(all(line) for part in ("study_sizes", "row_versions") for line in cells(texts[part]))
