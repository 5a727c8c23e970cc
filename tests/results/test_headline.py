"""The headline table: the right rows beside the published lines, with their verdicts."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from scipy import stats

from qllm_helpers import cli, figures
from qllm_helpers.results import verdicts
from qllm_helpers.results.contrasts import VERDICTS
from qllm_helpers.results.headline import (
    REFERENCE,
    headline_markdown,
    headline_table,
    published_table,
    verdict_groups,
)
from qllm_helpers.studies.grid import load_units
from qllm_helpers.studies.table import load_results
from qllm_helpers.text.encoders import DEFAULT_ENCODER

BLOCK = re.compile(r"<!-- headline:begin -->\n(.*?)<!-- headline:end -->", re.DOTALL)


@pytest.fixture(scope="module")
def table():
    return headline_table()


@pytest.fixture(scope="module")
def lines(table):
    return table.set_index("label")


def test_every_published_line_is_there_with_a_head_of_its_study(lines):
    assert lines.index.tolist() == published_table()["label"].tolist()
    assert set(lines["verdict"]) <= {*VERDICTS, "reference", "not run"}
    assert (lines["verdict"] == "not run").equals(lines["mean"].isna())
    for study, part in lines.groupby("study"):
        known = {(u.head, u.fine_tuned, u.selection) for u in load_units(study)}
        assert set(zip(part["ours"], part["fine_tuned"], part["selection"], strict=True)) <= known


def test_a_line_is_its_rows_and_its_claim(lines):
    few = load_results("few_shot")
    mine = few[(few["encoder"] == DEFAULT_ENCODER) & few["fine_tuned"]]
    mine = mine[(mine["selection"] == "validation") & (mine["head"] == "8 modes, 2 photons")]
    values, line = mine["test_accuracy"], lines.loc["8 modes"]
    assert line["mean"] == pytest.approx(values.mean())
    expected = stats.t.interval(0.95, 19, values.mean(), stats.sem(values))
    assert line[["low", "high"]].tolist() == pytest.approx(expected)
    assert line["reached"] == (values >= 0.8376).mean()
    claim = verdicts.find(
        verdicts.load_verdicts(),
        **{"head": line["ours"], "reference": REFERENCE, "body": line["body"]},
        **{"study": "few_shot", "selection": "validation"},
    )
    assert line["verdict"] == claim["verdict"]
    assert line["difference"] == claim["difference"] and line["difference_low"] == claim["low"]


def test_published_parameter_counts_come_out_exactly(lines):
    told = lines.dropna(subset=["reported_parameters", "n_parameters"])
    assert len(told) >= 5
    counted = told["n_parameters"].where(told.index != "NN[0] (five-fold)")
    assert (told["reported_parameters"] == counted)[counted.notna()].all()


def test_another_body_is_another_table(lines):
    small = headline_table("all-MiniLM-L6-v2").set_index("label")
    line = "photonic (here)"
    assert small.loc[line, "mean"] < lines.loc[line, "mean"]
    assert small.loc[line, "body"] == "all-MiniLM-L6-v2, frozen"
    assert set(headline_table("no-such-body")["verdict"]) == {"not run"}


def test_markdown_has_one_line_a_row_and_no_empty_figure(table):
    text = headline_markdown(table)
    assert len(text.splitlines()) == 2 + (table["source"] != "reproduction, five-fold").sum()
    assert {line.count("|") for line in text.splitlines()} == {7}
    assert "0.8376" in text and "nan" not in text.lower()


def test_command_rewrites_the_block_and_the_figure(tmp_path, table):
    readme, figure = tmp_path / "README.md", tmp_path / "headline.svg"
    readme.write_text("above\n<!-- headline:begin -->\nold\n<!-- headline:end -->\nbelow\n")
    command = ["headline", "--readme", str(readme), "--figure", str(figure)]
    for _ in range(2):
        assert CliRunner().invoke(cli.main, command).exit_code == 0
        text = readme.read_text(encoding="utf-8")
        assert BLOCK.search(text)[1] == headline_markdown(table)
        assert text.startswith("above\n") and text.endswith("below\n")
        assert figure.stat().st_size > 10_000
    readme.write_text("no block")
    result = CliRunner().invoke(cli.main, command)
    assert result.exit_code != 0 and "headline:begin" in result.output
    assert readme.read_text() == "no block"


def test_readme_shows_the_shipped_rows(repository, table):
    text = Path(repository, "README.md").read_text(encoding="utf-8")
    assert BLOCK.search(text)[1] == headline_markdown(table), "run `qllm headline`"


def test_verdict_groups_name_every_line_once(table):
    text = " ".join(verdict_groups(table).split())
    for word in set(table["verdict"]) - {"reference"}:
        labels = table.loc[table["verdict"] == word, "label"]
        assert f"{word} ({len(labels)}): {'; '.join(labels)}" in text


def test_figure_draws_reported_and_measured(table):
    drawn = figures.beside({"here": table}, label="label").axes[0]
    assert len(drawn.get_yticklabels()) == len(table)


@pytest.mark.parametrize("page", ["README.md", "book/intro.md"])
def test_the_first_sentence_is_what_the_verdicts_say(page, repository):
    words = " ".join((repository / page).read_text(encoding="utf-8").split())
    said = "no photonic head is better than logistic regression on the same embeddings of SST-2"
    assert said in words
    table = verdicts.load_verdicts()
    table = table[table["dataset"] == "sst2"]
    heads = {unit.head for study in ("paper", "few_shot", "finetune") for unit in load_units(study)
             if unit.family == "photonic"}  # fmt: skip
    mine = table[table["head"].isin(heads) & (table["reference"] == REFERENCE)]
    assert len(mine) >= 40 and not (mine["verdict"] == "better").any()
