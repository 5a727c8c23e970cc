"""The headline table: the right rows beside the published lines, chosen and tested as it says."""

import base64
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from qllm_helpers import cli, figures
from qllm_helpers.results.contrasts import VERDICTS, compare
from qllm_helpers.results.headline import (
    END_TO_END,
    PARTS,
    CsvLink,
    headline_markdown,
    headline_part,
    headline_table,
    measure_lines,
    published_table,
    tuned_lines,
    tuned_markdown,
    verdict_groups,
)
from qllm_helpers.studies.table import load_results

BLOCK = re.compile(r"<!-- headline:begin -->\n(.*?)<!-- headline:end -->", re.DOTALL)
TUNED = re.compile(r"<!-- tuned:begin -->\n(.*?)<!-- tuned:end -->", re.DOTALL)
PLAIN = r"\d+ modes, \d photons?"


@pytest.fixture(scope="module")
def table():
    return headline_table()


@pytest.fixture(scope="module")
def lines(table):
    return table.set_index("label")


@pytest.fixture(scope="module")
def tuned():
    return tuned_lines()


def chosen(rows, pattern):
    """Test accuracies of the head that validation chose, by seed; ties go to the lower loss."""
    rows = rows[rows["head"].str.fullmatch(pattern)]
    ordered = rows.sort_values(["validation_accuracy", "validation_loss"], ascending=[False, True])
    return ordered.groupby("seed")["test_accuracy"].first()


def test_every_published_line_is_there(lines):
    assert lines.index.tolist() == published_table()["label"].tolist()
    assert set(lines["verdict"]) <= {*VERDICTS, "reference"}
    assert lines.loc[END_TO_END, "body"].endswith("trained with the head")


def test_lines_of_a_study_without_rows_say_so():
    rows = {"paper": load_results("paper")}
    table = measure_lines(published_table(), rows).set_index("label")
    assert set(table.loc[table["mean"].isna(), "study"]) == {"few_shot", "qubits", "end_to_end"}
    assert (table["verdict"] == "not run").equals(table["mean"].isna())
    assert "| not run |" in headline_markdown(table.reset_index())


def test_one_candidate_is_summarised_as_it_is(lines):
    few = load_results("few_shot")
    values = few[(few["head"] == "MLP") & few["fine_tuned"]]["test_accuracy"]
    assert lines.loc["MLP", "mean"] == pytest.approx(values.mean())
    low, high = stats.t.interval(0.95, 19, values.mean(), stats.sem(values))
    assert lines.loc["MLP", ["low", "high"]].tolist() == pytest.approx([low, high])
    assert lines.loc["MLP", "n_seeds"] == 20


def test_heads_are_chosen_on_validation_and_paired_with_their_own_reference(lines):
    few = load_results("few_shot")[lambda t: t["fine_tuned"]]
    paper = load_results("paper")
    qubits = load_results("qubits")[lambda t: ~t["fine_tuned"]]
    cases = [
        ("8 modes", few, r"8 modes, \d photons?", "best of 4 heads on validation, per seed"),
        ("photonic (here)", paper, PLAIN, "best of 24 heads on validation, per seed"),
        (
            "multi sQE, 14 qubits (paper)",
            qubits,
            "14 qubits, multi, 886 p[^,]*(, enc.*)?",
            None,
        ),
        ("single sQE, 10 qubits (paper)", qubits, "10 qubits, (single|. = .)", None),
    ]
    for label, rows, pattern, note in cases:
        values = chosen(rows, pattern)
        reference = rows[rows["head"] == "LogisticRegression"].set_index("seed")["test_accuracy"]
        gap = (values - reference).dropna()
        assert lines.loc[label, "mean"] == pytest.approx(values.mean())
        assert lines.loc[label, "difference"] == pytest.approx(gap.mean())
        assert lines.loc[label, "n_seeds"] == len(gap)
        assert note is None or lines.loc[label, "note"] == note


def test_differences_are_corrected_over_the_whole_table(table):
    few = load_results("few_shot")[lambda t: t["fine_tuned"]]
    pair = few.pivot(index="seed", columns="head", values="test_accuracy")
    p_value = stats.ttest_rel(pair["2 modes, 1 photon"], pair["LogisticRegression"]).pvalue
    line = table.set_index("label").loc["2 modes"]
    n_tests = table["p_corrected"].notna().sum()
    assert p_value <= line["p_corrected"] <= n_tests * p_value


def test_frozen_rows_are_another_table(lines):
    frozen = headline_table(fine_tuned=False).set_index("label")
    assert frozen.loc["MLP", "body"].endswith("frozen")
    assert lines.loc["MLP", "body"].endswith("tuned")
    assert frozen.loc["MLP", "mean"] != lines.loc["MLP", "mean"]


def test_missing_rows_are_named():
    few = load_results("few_shot")[lambda t: t["head"] != "MLP"]
    with pytest.raises(ValueError, match="no head matches 'MLP'"):
        headline_table({"few_shot": few})


def test_lines_of_the_paper_on_a_tuned_body_use_tuned_rows_only(tuned):
    assert set(tuned["source"]) == {"paper", "here"}
    assert tuned["body"].str.endswith("tuned").all()
    part = load_results("finetune")[lambda t: t["fine_tuned"]]
    line = tuned.set_index("label").loc["photonic (here)"]
    assert line["mean"] == pytest.approx(chosen(part, PLAIN).mean())


def test_markdown_has_one_line_a_row_and_no_empty_figure(table, tuned):
    text, second = headline_markdown(table), tuned_markdown(table, tuned)
    assert len(text.splitlines()) == 2 + (table["source"] != "reproduction, five-fold").sum()
    assert {line.count("|") for line in (text + second).splitlines()} == {7}
    assert "0.8376" in text
    assert "nan" not in (text + second).lower()
    cells = second.splitlines()[2].split(" | ")
    line, frozen = tuned.iloc[0], table.set_index("label").loc[tuned["label"].iloc[0]]
    assert cells[2].startswith(f"{frozen['mean']:.4f} [")
    assert cells[3].startswith(f"{line['mean']:.4f} [{line['low']:.4f}")
    assert cells[4] == f"{100 * line['difference']:+.2f}, {line['verdict']}"


def test_command_rewrites_the_block_and_the_figure(tmp_path, table, tuned):
    readme, figure = tmp_path / "README.md", tmp_path / "headline.svg"
    readme.write_text(
        "above\n<!-- headline:begin -->\nold\n<!-- headline:end -->\nbetween\n"
        "<!-- tuned:begin -->\n<!-- tuned:end -->\nbelow\n"
    )
    command = ["headline", "--readme", str(readme), "--figure", str(figure)]
    for _ in range(2):
        assert CliRunner().invoke(cli.main, command).exit_code == 0
        text = readme.read_text(encoding="utf-8")
        assert BLOCK.search(text)[1] == headline_markdown(table)
        assert TUNED.search(text)[1] == tuned_markdown(table, tuned)
        assert text.startswith("above\n")
        assert text.endswith("below\n")
        assert figure.stat().st_size > 10_000
    readme.write_text("no block")
    result = CliRunner().invoke(cli.main, command)
    assert result.exit_code != 0
    assert "headline:begin" in result.output
    assert readme.read_text() == "no block"


def test_readme_shows_the_shipped_rows(repository, table, tuned):
    text = Path(repository, "README.md").read_text(encoding="utf-8")
    shown = tuple(block.search(text)[1] for block in (BLOCK, TUNED))
    assert shown == (headline_markdown(table), tuned_markdown(table, tuned)), "run `qllm headline`"


def test_every_part_shows_every_line(table):
    for part in PARTS:
        shown = headline_part(table, part)
        assert shown.index.tolist() == table["label"].tolist()
        assert not shown.isin(["nan", "<NA>"]).any(axis=None)
    with pytest.raises(ValueError, match="part must be one of"):
        headline_part(table, "everything")


def test_verdict_groups_name_every_line_once(table):
    text = " ".join(verdict_groups(table).split())
    for word in VERDICTS:
        labels = table.loc[table["verdict"] == word, "label"]
        assert f"{word} ({len(labels)}): {'; '.join(labels)}" in text


def test_the_link_holds_the_table(table):
    html = CsvLink(table, "headline.csv")._repr_html_()
    content = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    read = pd.read_csv(io.BytesIO(content))
    assert read["label"].tolist() == table["label"].tolist()
    assert read["mean"].tolist() == pytest.approx(table["mean"].tolist(), abs=1e-6)


def test_figure_draws_reported_and_measured(table, tuned):
    drawn = figures.beside({"here": table, "tuned": tuned}, label="label").axes[0]
    assert len(drawn.get_yticklabels()) == len(table)
    means = [bar.lines[0].get_xdata()[0] for bar in drawn.containers]
    expected = tuned.set_index("label")["mean"].reindex(table["label"])
    assert means[: len(table)] == pytest.approx(table["mean"].tolist())
    assert means[len(table) :] == pytest.approx(expected.tolist(), nan_ok=True)


@pytest.mark.parametrize("study", ["few_shot", "paper", "photons", "finetune"])
def test_no_photonic_head_is_shown_to_be_above_logistic_regression(study, repository):
    """The sentence that README and landing page begin with, checked on every stored row."""
    for page in ("README.md", "book/intro.md"):
        words = " ".join((repository / page).read_text(encoding="utf-8").split())
        assert "no photonic head is better than logistic regression" in words
    rows = load_results(study)
    rows = rows[(rows["family"] == "photonic") | (rows["head"] == "LogisticRegression")]
    for _, same_body in rows.groupby("fine_tuned"):
        tests = compare(same_body)
        assert len(tests) >= 10
        assert not (tests["verdict"] == "better").any()


def test_the_gate_based_heads_are_shown_to_be_below_logistic_regression(repository):
    """The other half of that sentence."""
    for page in ("README.md", "book/intro.md"):
        words = " ".join((repository / page).read_text(encoding="utf-8").split())
        assert "gate-based heads are worse on a frozen body" in words
    table = headline_table().set_index("label")
    lines = table.loc[["single sQE, 10 qubits (paper)", "multi sQE, 14 qubits (paper)"]]
    assert (lines["verdict"] == "worse").all()


def test_the_body_lifts_every_head_by_more_than_heads_differ(repository):
    """A sentence of README and of the first page."""
    for page in ("README.md", "book/intro.md"):
        text = " ".join((repository / page).read_text(encoding="utf-8").split())
        assert "itself lifts every classical and photonic head by more than these" in text
    rows = load_results("finetune")
    rows = rows[rows["family"] != "twin"]
    means = rows.pivot_table(index="head", columns="fine_tuned", values="test_accuracy")
    lift = means[True] - means[False]
    assert lift.min() > (means.max() - means.min()).max()
