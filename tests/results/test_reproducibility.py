"""Where the shipped rows come from, as the page on reproducibility says it."""

import pandas as pd

from qllm_helpers.results.reproducibility import row_versions, shipped_results, study_overview
from qllm_helpers.studies.table import VERSIONS


def rows(seeds, revision="abc"):
    table = pd.DataFrame({"head": "LogisticRegression", "fine_tuned": False, "seed": seeds})
    table = table.assign(fit_seconds=1800.0, git_revision=revision)
    return table.assign(**dict.fromkeys(VERSIONS, "1.0"))


def test_overview_adds_up_the_rows():
    overview = study_overview({"paper": rows([0, 1, 2, 3]), "few_shot": rows([0, 2], "def+")})
    paper, few_shot = overview.to_dict("records")
    assert (paper["seeds"], few_shot["seeds"]) == ("0 to 3", "0, 2")
    assert (paper["rows"], paper["heads"], paper["settings"]) == (4, 1, 4)
    assert paper["core_hours"] == 2.0
    assert (few_shot["revision"], few_shot["command"]) == ("def+", "qllm study few_shot")


def test_versions_of_mixed_rows_are_all_named():
    mixed = pd.concat([rows([0]), rows([1]).assign(torch="2.0")])
    table = row_versions({"paper": mixed}).set_index("what")["paper"]
    assert (table["torch"], table["numpy"]) == ("1.0, 2.0", "1.0")


def test_shipped_rows_have_an_origin():
    results = shipped_results()
    assert {"few_shot", "paper"} <= set(results)
    overview = study_overview(results)
    assert (overview["core_hours"] > 0).all()
    assert (overview["revision"] != "").all()
    assert (row_versions(results) != "").all(axis=None)
