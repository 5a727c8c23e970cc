"""The headline table: the right rows beside the published lines, chosen and tested as it says."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from qllm_helpers.results.statistics import paired_differences
from qllm_helpers.results.tuned import tuned_lines, with_tuned_body
from qllm_helpers.results.view import CsvLink, headline_markdown, headline_part, tuned_markdown
from scipy import stats

from qllm_helpers import cli, figures
from qllm_helpers.results.headline import (
    COUNTERPARTS,
    END_TO_END,
    headline_table,
    photon_table,
    reported_lines,
    verdicts,
)
from qllm_helpers.studies.run import load_results, load_units

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"<!-- headline:begin -->\n(.*?)<!-- headline:end -->", re.DOTALL)
TUNED = re.compile(r"<!-- tuned:begin -->\n(.*?)<!-- tuned:end -->", re.DOTALL)

# Heads with fewer seeds than the others.
N_SEEDS = {f"14 qubits, multi, 886 parameters{end}": 5 for end in ("", ", encoders of 10")}


def study_rows(name, n_seeds=8):
    """Random rows of every head of a study; photonic ones are two points above on average."""
    draw = np.random.default_rng(0)
    luck = draw.normal(0.75, 0.02, n_seeds)
    rows = [
        {
            "head": unit.head,
            "fine_tuned": unit.fine_tuned,
            "family": {"PhotonicClassifier": "photonic", "SVC": "svc"}.get(unit.estimator, "mlp"),
            "encoder": unit.encoder,
            "n_modes": unit.parameters.get("n_modes"),
            "n_photons": unit.parameters.get("n_photons"),
            "seed": seed,
            "validation_accuracy": draw.integers(180, 200) / 250,
            "validation_loss": draw.random() if unit.estimator.endswith("Classifier") else np.nan,
            "test_accuracy": luck[seed]
            + draw.normal(0.02 * (unit.estimator == "PhotonicClassifier"), 0.002),
            "n_parameters": 100,
            "n_live_parameters": 90,
            "n_effective_parameters": np.nan,
        }
        for unit in load_units(name)
        for seed in range(N_SEEDS.get(unit.head, n_seeds))
    ]
    sizes = dict.fromkeys(("n_modes", "n_photons"), "Int64")
    return pd.DataFrame(rows).astype(sizes)


@pytest.fixture(scope="module")
def rows():
    studies = {name: study_rows(name) for name in ("few_shot", "paper", "qubits")}
    return studies | {"end_to_end": pd.DataFrame()}  # not run, so that one line has to say so


@pytest.fixture(scope="module")
def table(rows):
    return headline_table(**rows).set_index("label")


@pytest.fixture(scope="module")
def tuned(rows):
    return tuned_lines(study_rows("finetune"), rows["qubits"])


@pytest.fixture(scope="module")
def both(table, tuned):
    return with_tuned_body(table.reset_index(), tuned)


def test_every_published_line_is_there_and_says_why_nothing_was_run(table):
    assert table.index.tolist() == reported_lines()["label"].tolist()
    empty = table[table["mean"].isna()]
    assert (empty["verdict"] == "not run").all()
    assert empty["note"].str.contains("not run in this edition").all()
    assert set(empty.index) == {END_TO_END}
    assert set(table.index) - set(empty.index) == set(COUNTERPARTS) - {END_TO_END}


def test_without_rows_of_qubits_their_lines_say_so(rows):
    table = headline_table(**rows | {"qubits": rows["qubits"][:0]}).set_index("label")
    lines = table[table["family"] == "qubit"]
    assert len(lines) == 2
    assert (lines["verdict"] == "not run").all()
    assert lines["note"].str.startswith("gate-based heads: not run").all()
    shown = with_tuned_body(
        table.reset_index(), tuned_lines(study_rows("finetune"), rows["qubits"])
    )
    assert "gate-based heads: not run" in headline_markdown(shown)


def test_gate_based_lines_are_paired_with_the_reference_of_their_own_study(table, rows):
    qubits = rows["qubits"][lambda t: ~t["fine_tuned"]]
    wide = qubits.pivot(index="seed", columns="head", values="test_accuracy")
    line = table.loc["multi sQE, 14 qubits (paper)"]
    readings = [name for name in wide if name.startswith("14 qubits") and "quadratic" not in name]
    assert len(readings) == 2
    chosen = qubits[qubits["head"].isin(readings)]
    chosen = chosen.sort_values(["validation_accuracy", "validation_loss"], ascending=[False, True])
    chosen = chosen.groupby("seed").first()
    gap = chosen["test_accuracy"] - wide["LogisticRegression"]
    assert line["n_seeds"] == gap.count() == N_SEEDS[readings[0]]
    assert line["difference"] == pytest.approx(gap.mean())
    assert table.loc["single sQE, 10 qubits (paper)", "note"].startswith("best of 10 heads")


def test_one_candidate_is_summarised_as_it_is(table, rows):
    few = rows["few_shot"]
    values = few[(few["head"] == "MLP") & few["fine_tuned"]]["test_accuracy"]
    assert table.loc["MLP", "mean"] == pytest.approx(values.mean())
    low, high = stats.t.interval(0.95, 7, values.mean(), stats.sem(values))
    assert table.loc["MLP", ["low", "high"]].tolist() == pytest.approx([low, high])
    assert table.loc["MLP", "n_seeds"] == 8


def test_photon_number_is_chosen_on_validation_and_never_on_test(table, rows):
    few = rows["few_shot"][lambda t: t["fine_tuned"] & (t["n_modes"] == 8).fillna(False)]
    ordered = few.sort_values(["validation_accuracy", "validation_loss"], ascending=[False, True])
    chosen = ordered.groupby("seed")["test_accuracy"].first()
    assert table.loc["8 modes", "mean"] == pytest.approx(chosen.mean())


def test_variants_and_twins_do_not_stand_for_the_plain_photonic_head(table, rows):
    names = rows["paper"]["head"][rows["paper"]["head"].str.fullmatch(r"\d+ modes, \d photons?")]
    assert names.nunique() == 24
    notes = table["note"]
    assert notes["photonic (here)"].startswith("best of 24 heads on validation")
    assert notes["fidelity kernel (five-fold)"].startswith("best of 4 heads")


def test_differences_are_paired_and_corrected_over_the_whole_table(table, rows):
    few = rows["few_shot"][rows["few_shot"]["fine_tuned"]]
    pair = few.pivot(index="seed", columns="head", values="test_accuracy")
    expected = stats.ttest_rel(pair["2 modes, 1 photon"], pair["LogisticRegression"])
    assert table.loc["2 modes", "p_value"] == pytest.approx(expected.pvalue)
    known = table["p_value"].dropna().sort_values()
    holm = np.maximum.accumulate(known * np.arange(len(known), 0, -1)).clip(upper=1)
    assert table.loc[known.index, "p_corrected"].tolist() == pytest.approx(holm.tolist())


def test_verdicts_follow_from_the_tests(table):
    assert table.loc["8 modes", "verdict"] == "above"
    assert table.loc["LogisticRegression", "verdict"] == "reference"
    assert table.loc["SVC", "verdict"] == "within one point"
    text = verdicts(table.reset_index())
    assert "above logistic regression" in text.splitlines()[0]
    assert "SVC; MLP" in text


def test_frozen_rows_are_another_table(table, rows):
    frozen = headline_table(**rows, fine_tuned=False).set_index("label")
    assert frozen.loc["MLP", "body"].endswith("frozen")
    assert table.loc["MLP", "body"].endswith("tuned")
    assert frozen.loc["MLP", "mean"] != table.loc["MLP", "mean"]


def test_missing_rows_are_named(rows):
    with pytest.raises(ValueError, match="no rows for the line 'MLP'"):
        headline_table(rows["few_shot"][lambda t: t["head"] != "MLP"], rows["paper"])


def test_photon_table_holds_the_ten_circuits(rows):
    table = photon_table(rows["few_shot"])
    assert len(table) == 10
    assert table["mean"].notna().all()
    assert table["reported"].isna().sum() == 1


def test_lines_of_the_paper_on_a_tuned_body_use_tuned_rows_only(tuned, rows):
    tuned = tuned.set_index("label")
    assert set(tuned["source"]) == {"paper", "here"}
    assert (tuned["body"].str.endswith("tuned")).all()
    finetune = study_rows("finetune")
    part = finetune[finetune["fine_tuned"]]
    plain = part[part["head"].str.fullmatch(r"\d+ modes, \d photons?")]
    ordered = plain.sort_values(["validation_accuracy", "validation_loss"], ascending=[False, True])
    chosen = ordered.groupby("seed")["test_accuracy"].first()
    assert tuned.loc["photonic (here)", "mean"] == pytest.approx(chosen.mean())
    gates = rows["qubits"][lambda t: t["fine_tuned"]].pivot(
        index="seed", columns="head", values="test_accuracy"
    )
    gap = gates["10 qubits, single"] - gates["LogisticRegression"]
    assert tuned.loc["single sQE, 10 qubits (paper)", "difference"] == pytest.approx(gap.mean())
    assert tuned.loc["LogisticRegression (here)", "verdict"] == "reference"


def test_without_tuned_rows_of_qubits_their_lines_are_left_out(rows):
    frozen = rows["qubits"][lambda t: ~t["fine_tuned"]]
    lines = tuned_lines(study_rows("finetune"), frozen)
    assert set(lines["family"]) == {"linear", "svc", "mlp", "photonic"}


def test_a_line_has_its_tuned_figures_beside_it(both, tuned):
    both = both.set_index("label")
    known = both["tuned_mean"].dropna()
    assert set(known.index) == set(tuned["label"])
    assert known.tolist() == pytest.approx(
        tuned.set_index("label").loc[known.index, "mean"].tolist()
    )
    cells = {
        line.split(" | ")[0].removeprefix("| "): line.rstrip(" |").split(" | ")
        for line in tuned_markdown(both.reset_index()).splitlines()[2:]
    }
    line = tuned.set_index("label").loc["SVC (paper)"]
    assert cells["SVC (paper)"][2].startswith(f"{both.loc['SVC (paper)', 'mean']:.4f} [")
    assert cells["SVC (paper)"][3].startswith(f"{line['mean']:.4f} [{line['low']:.4f}")
    assert cells["SVC (paper)"][4].startswith(f"{100 * line['difference']:+.2f} (p")
    assert cells["LogisticRegression (here)"][4] == "reference"
    assert set(cells) == set(tuned["label"])


def test_markdown_has_one_line_a_row_and_no_empty_figure(both):
    text = headline_markdown(both)
    lines = text.splitlines()
    assert len(lines) == 2 + (both["source"] != "reproduction, five-fold").sum()
    assert {line.count("|") for line in lines} == {7}
    assert "0.8376" in text
    tuned = tuned_markdown(both)
    assert {line.count("|") for line in tuned.splitlines()} == {7}
    assert "nan" not in (text + tuned).lower()


def test_figure_draws_reported_and_measured(table, both):
    drawn = figures.headline(table.reset_index())
    assert len(drawn.axes[0].get_yticklabels()) == len(table)
    assert len(drawn.axes[0].containers) == len(table)
    drawn = figures.headline(both)
    assert len(drawn.axes[0].containers) == 2 * len(table)
    means = [bar.lines[0].get_xdata()[0] for bar in drawn.axes[0].containers]
    assert means[1::2] == pytest.approx(both["tuned_mean"].tolist(), nan_ok=True)


def test_command_rewrites_the_block_and_the_figure(tmp_path, monkeypatch, table, both, tuned):
    monkeypatch.setattr("qllm_helpers.results.headline.headline_table", table.reset_index)
    monkeypatch.setattr("qllm_helpers.results.tuned.tuned_lines", lambda: tuned)
    readme, figure = tmp_path / "README.md", tmp_path / "headline.svg"
    readme.write_text(
        "above\n<!-- headline:begin -->\nold\n<!-- headline:end -->\nbetween\n"
        "<!-- tuned:begin -->\n<!-- tuned:end -->\nbelow\n"
    )
    command = ["headline", "--readme", str(readme), "--figure", str(figure)]
    for _ in range(2):
        assert CliRunner().invoke(cli.main, command).exit_code == 0
        text = readme.read_text(encoding="utf-8")
        assert BLOCK.search(text)[1] == headline_markdown(both)
        assert TUNED.search(text)[1] == tuned_markdown(both)
        assert text.startswith("above\n")
        assert text.endswith("below\n")
        assert figure.stat().st_size > 10_000
    readme.write_text("no block")
    result = CliRunner().invoke(cli.main, command)
    assert result.exit_code != 0
    assert "headline:begin" in result.output
    assert readme.read_text() == "no block"


def test_readme_shows_the_shipped_rows(repository):
    tables = headline_markdown(), tuned_markdown()
    text = Path(repository, "README.md").read_text(encoding="utf-8")
    shown = tuple(block.search(text)[1] for block in (BLOCK, TUNED))
    assert shown == tables, "run `qllm headline`"


@pytest.mark.parametrize("part", ["accuracy", "difference", "parameters", "origin"])
def test_every_part_shows_every_line_and_repeats(table, part):
    first, again = (headline_part(table.reset_index(), part).to_html() for _ in range(2))
    assert first == again
    assert all(label in first for label in table.index)
    assert ">nan<" not in first
    assert "<NA>" not in first


def test_an_unknown_part_is_refused(table):
    with pytest.raises(ValueError, match="part must be one of"):
        headline_part(table.reset_index(), "everything")


def test_the_link_holds_the_table(table):
    html = CsvLink(table.reset_index(), "headline.csv")._repr_html_()
    content = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    read = pd.read_csv(io.BytesIO(content))
    assert read["label"].tolist() == table.index.tolist()
    assert read["mean"].tolist() == pytest.approx(table["mean"].tolist(), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("study", ["few_shot", "paper", "photons", "finetune"])
def test_no_photonic_head_is_shown_to_be_above_logistic_regression(study):
    """The sentence that README and landing page begin with, checked on every stored row."""
    for page in ("README.md", "book/intro.md"):
        words = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        assert "no photonic head is shown to be above logistic regression" in words
    rows = load_results(study)
    rows = rows[(rows["family"] == "photonic") | (rows["head"] == "LogisticRegression")]
    for _, same_body in rows.groupby("fine_tuned"):
        tests = paired_differences(same_body)
        assert len(tests) >= 10
        assert not ((tests["difference"] > 0) & (tests["p_corrected"] < 0.05)).any()


def test_the_gate_based_heads_are_shown_to_be_below_logistic_regression():
    """The other half of that sentence."""
    for page in ("README.md", "book/intro.md"):
        words = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        assert "gate-based heads are shown to be below it" in words
    table = headline_table().set_index("label")
    lines = table.loc[["single sQE, 10 qubits (paper)", "multi sQE, 14 qubits (paper)"]]
    assert (lines["verdict"] == "below").all()


def test_the_body_lifts_every_head_by_more_than_heads_differ():
    """A sentence of README and of the first page."""
    for page in ("README.md", "book/intro.md"):
        text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        assert "itself lifts every classical and photonic head by more than these" in text
    rows = load_results("finetune")
    rows = rows[rows["family"] != "twin"]
    means = rows.pivot_table(index="head", columns="fine_tuned", values="test_accuracy")
    lift = means[True] - means[False]
    assert lift.min() > (means.max() - means.min()).max()
