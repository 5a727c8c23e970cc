"""Claims and verdicts on predictions whose answer is known, against slow loops and SciPy."""

import re
import time

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats
from statsmodels.stats.multitest import multipletests

from qllm_helpers import files, load_embeddings, load_verdicts
from qllm_helpers.cli import main
from qllm_helpers.results import verdicts
from qllm_helpers.results.contrasts import NOT_RUN, verdict
from qllm_helpers.results.intervals import interval
from qllm_helpers.studies.data import outside_pool, study_split
from qllm_helpers.studies.grid import load_units

ENCODER = "all-MiniLM-L6-v2"
CLAIM = """
[[claims]]
claim = "{name}"
question = "{question}"
head = "{head}"
reference = "{reference}"
study = "made"
encoders = ["all-MiniLM-L6-v2"]
family = "{family}"
"""


def claims(folder, *texts):
    (folder / "claims.toml").write_text("\n".join(texts))
    return verdicts.read_claims(folder / "claims.toml")


def claim(head="a", reference="b", *more, question="better", family="one", name=""):
    names = {"name": name or f"{head} and {reference}", "question": question, "family": family}
    return CLAIM.format(head=head, reference=reference, **names) + "\n".join(more)


def fits(protocol="few_shot", seeds=20, **accuracies):
    """Rows with predictions; `accuracies` by head, wrong at random sentences of every seed."""
    y, size = load_embeddings("sst2", ENCODER).y, {"few_shot": 8, "paper": 256}[protocol]
    rows = []
    for seed in range(seeds):
        test = study_split("sst2", ENCODER, protocol, size, seed).test
        for number, (head, accuracy) in enumerate(accuracies.items()):
            wrong = np.random.default_rng([seed, number]).random(len(test)) > accuracy
            rows.append({"head": head, "seed": seed, "predictions": (y[test] ^ wrong)})
    fixed = {"dataset": "sst2", "encoder": ENCODER, "protocol": protocol, "fine_tuned": False}
    fixed |= {"samples_per_class": size, "selection": "pool"}
    return {"made": pd.DataFrame(rows).assign(**fixed)}


def made_gap(seeds=6, sentences=40, missing=0.2):
    """Differences -1, 0, 1 with effects of seeds and of sentences; NaN where one is no test."""
    draw = np.random.default_rng(5)
    level = draw.normal(0, 0.4, (seeds, 1)) + draw.normal(0, 0.6, sentences)
    gap = np.sign(np.round(level + draw.normal(0, 0.5, (seeds, sentences))))
    return np.where(draw.random(gap.shape) < missing, np.nan, gap).astype(np.float32)


def test_bootstrap_is_that_of_a_plain_loop():
    gap = made_gap()
    gap[:, 3] = np.nan  # a sentence that tests no seed takes no part
    mean, error = verdicts.crossed(gap)
    assert mean == pytest.approx(np.nanmean(gap, axis=1).mean())
    left = np.delete(gap, 3, axis=1)
    (n_seeds, n), seed_draw = left.shape, np.random.default_rng(6)
    taken = seed_draw.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=verdicts.DRAWS)
    sentence_draw, found = np.random.default_rng(n), []
    for seeds in taken:
        sentences = left[:, sentence_draw.integers(n, size=n)]
        found.append(np.average(np.nanmean(sentences, axis=1), weights=seeds))
    assert error == pytest.approx(np.std(found, ddof=1), rel=1e-6)


def test_error_is_the_exact_one_of_a_balanced_table():
    gap = made_gap(20, 300, missing=0).astype(float)
    by_seed = gap.mean(axis=1, keepdims=True) - gap.mean()
    by_sentence = gap.mean(axis=0) - gap.mean()
    rest = gap - gap.mean() - by_seed - by_sentence
    # Owen (2007), the bootstrap variance of a mean of crossed draws without its Monte-Carlo error
    exact = sum((part**2).sum() / part.size**2 for part in (by_seed, by_sentence, rest))
    assert verdicts.crossed(gap)[1] == pytest.approx(np.sqrt(exact), rel=0.05)


def test_statistics_are_recomputed_with_scipy(tmp_path):
    row = verdicts.verdict_table(claims(tmp_path, claim()), fits("paper", a=0.79, b=0.77)).iloc[0]
    kept = load_embeddings("sst2", ENCODER).split != "validation"
    y, rows = load_embeddings("sst2", ENCODER).y, fits("paper", a=0.79, b=0.77)["made"]
    accuracy = {"a": [], "b": []}
    for _, fit in rows.iterrows():
        test = study_split("sst2", ENCODER, "paper", 256, fit["seed"]).test
        accuracy[fit["head"]].append(np.mean((fit["predictions"] == y[test])[kept[test]]))
    assert row["accuracy"] == pytest.approx(np.mean(accuracy["a"]))
    assert row["reference_accuracy"] == pytest.approx(np.mean(accuracy["b"]))
    assert row["difference"] == pytest.approx(np.subtract(accuracy["a"], accuracy["b"]).mean())
    error = (row["high"] - row["low"]) / 2 / stats.t.ppf(0.975, 19)
    assert row["high_90"] - row["difference"] == pytest.approx(stats.t.ppf(0.95, 19) * error)
    assert row["p"] == pytest.approx(2 * stats.t.sf(row["difference"] / error, 19))
    above = stats.t.sf((0.01 - row["difference"]) / error, 19)
    assert row["p_equivalence"] == pytest.approx(above)
    assert (row["n_seeds"], row["protocol"], row["samples_per_class"]) == (20, "paper", 256)
    assert row["n_sentences"] == kept.sum()
    assert (row["verdict"], row["holds"]) == ("better", True)


def test_reference_may_be_on_the_other_body_and_a_reported_difference_is_met(tmp_path):
    frozen, tuned = fits("paper", a=0.85, b=0.85)["made"], fits("paper", a=0.88, b=0.88)["made"]
    made = {"made": pd.concat([frozen, tuned.assign(fine_tuned=True)], ignore_index=True)}
    bodies = ('bodies = ["tuned"]', 'reference_body = "frozen"')
    gap = claim("a", "b", *bodies, name="gap")
    met = claim("b", "b", *bodies, "shift = 0.03", question="equivalent", name="met")
    missed = claim("b", "a", *bodies, "shift = 0.06", question="equivalent", name="missed")
    table = verdicts.verdict_table(claims(tmp_path, gap, met, missed), made).set_index("claim")
    assert table["verdict"].to_dict() == {"gap": "better", "met": "equivalent", "missed": "worse"}
    assert set(table["reference_body"]) == {f"{ENCODER}, frozen"}
    reached = table["accuracy"] - table["reference_accuracy"] - table["shift"]
    assert table["difference"].to_list() == pytest.approx(reached.to_list())


def test_equal_heads_are_equivalent_and_sure_of_it(tmp_path):
    made = fits(a=0.8)
    made["made"] = pd.concat([made["made"], made["made"].assign(head="b")], ignore_index=True)
    row = verdicts.verdict_table(claims(tmp_path, claim(question="equivalent")), made).iloc[0]
    assert (row["verdict"], row["holds"], row["difference"]) == ("equivalent", True, 0)
    assert (row["low"], row["high"], row["p"], row["p_equivalence"]) == (0, 0, 1, 0)


def test_sentences_that_all_seeds_share_are_in_the_interval(tmp_path):
    y, made = load_embeddings("sst2", ENCODER).y, fits(a=0.7, b=0.7)
    test = study_split("sst2", ENCODER, "few_shot", 8, 0).test
    hard = np.random.default_rng(1).random(len(test)) < 0.2  # for a only, whatever the seed
    for position in made["made"].index[made["made"]["head"] == "a"]:
        made["made"].at[position, "predictions"] = y[test] ^ hard
    row = verdicts.verdict_table(claims(tmp_path, claim()), made).iloc[0]
    other = made["made"][made["made"]["head"] == "b"]["predictions"]
    gaps = [np.mean(~hard) - np.mean(one == y[test]) for one in other]
    low, high = interval(gaps)
    assert row["difference"] == pytest.approx(np.mean(gaps))
    assert row["high"] - row["low"] > 3 * (high - low)
    assert row["n_sentences"] == len(test) == 622


def test_correction_is_inside_a_family(tmp_path):
    made = fits(a=0.80, b=0.79, c=0.785, d=0.70)
    pairs = [("a", "b", "one"), ("a", "c", "one"), ("b", "c", "two"), ("a", "d", "one")]
    texts = [claim(head, other, family=family) for head, other, family in pairs]
    table = verdicts.verdict_table(claims(tmp_path, *texts, claim("a", "lost")), made)
    assert table["verdict"].iloc[-1] == "not run"
    alone = pd.concat(
        verdicts.verdict_table(claims(tmp_path, claim(*pair[:2])), made) for pair in pairs
    ).reset_index(drop=True)
    for name, raw in (("p_corrected", "p"), ("p_equivalence", "p_equivalence")):
        for members in ([0, 1, 3], [2]):
            expected = multipletests(alone.loc[members, raw], method="holm")[1]
            assert table.loc[members, name].tolist() == pytest.approx(expected.tolist())
    for row in table[:-1].itertuples():
        seen = ("worse", "better")[row.difference > 0] if row.p_corrected < 0.05 else "inconclusive"
        assert row.verdict == ("equivalent" if row.p_equivalence < 0.05 else seen)
    assert table.loc[3, "verdict"] == "better"


def test_a_claim_is_a_row_for_every_body_and_encoder(tmp_path):
    text = claim("a", "b", 'bodies = ["frozen", "tuned"]').replace(
        "encoders = [", 'encoders = ["all-mpnet-base-v2", '
    )
    made = fits(a=0.8, b=0.7)
    tuned = made["made"].assign(fine_tuned=True)
    tuned["predictions"] = [1 - one for one in tuned["predictions"]]
    table = verdicts.verdict_table(
        claims(tmp_path, text), {"made": pd.concat([made["made"], tuned], ignore_index=True)}
    )
    bodies = [f"{name}, {body}" for name in ("all-mpnet-base-v2", ENCODER) for body in
              ("frozen", "tuned")]  # fmt: skip
    assert table["body"].tolist() == bodies
    assert table["verdict"].tolist() == ["not run", "not run", "better", "worse"]
    assert table["holds"].tolist() == [pd.NA, pd.NA, True, False]
    assert verdict(table.iloc[0]) == "not run"
    found = verdicts.find(table, head="a", body=bodies[3])
    assert verdict(found).endswith("20 seeds: worse")
    with pytest.raises(ValueError, match="4 verdicts, not one"):
        verdicts.find(table, head="a")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([claim(), claim(name="again")], "'again', or its pair of heads, comes twice"),
        ([claim(), claim("b", "a")], "'b and a', or its pair of heads, comes twice"),
        ([claim(), claim("c", "d", name="a and b")], "'a and b', or its pair"),
        ([claim("a", "b", "sedes = 3")], "field of claim 'a and b' .*'sedes'"),
        ([claim("a", "b", "margin = 0.0")], "margin of claim 'a and b'"),
        ([claim("a", "b", 'bodies = ["warm"]')], "body of claim 'a and b' .*'warm'"),
        ([claim(question="worse")], "question of claim 'a and b' .*'worse'"),
        ([claim().replace("family", "#")], "claim 'a and b' needs the field 'family'"),
    ],
)
def test_claims_refuse_what_cannot_be_meant(tmp_path, texts, message):
    with pytest.raises(ValueError, match=message):
        claims(tmp_path, *texts)


@pytest.mark.parametrize("more", ["", 'because = "each fit takes an hour"'])
def test_few_seeds_need_a_reason(tmp_path, more):
    made, asked = fits(seeds=5, a=0.8, b=0.7), claims(tmp_path, claim("a", "b", more))
    if more:
        assert verdicts.verdict_table(asked, made)["n_seeds"].item() == 5
        return
    with pytest.raises(ValueError, match="5 of 20 seeds, and no `because`"):
        verdicts.verdict_table(asked, made)


def test_sides_with_other_splits_or_sizes_are_refused(tmp_path):
    made, other = fits(a=0.8, b=0.7), fits("paper", b=0.7)["made"]
    asked = claims(tmp_path, claim("a", "b", 'reference_study = "other"'))
    with pytest.raises(ValueError, match="different test sentences"):
        verdicts.verdict_table(asked, made | {"other": other})
    sizes = pd.concat([made["made"], made["made"].assign(samples_per_class=16)])
    with pytest.raises(ValueError, match="name samples_per_class"):
        verdicts.verdict_table(claims(tmp_path, claim()), {"made": sizes})


@pytest.mark.parametrize(
    ("dataset", "protocol", "part"),
    [("sst2", "paper", "validation"), ("trec", "paper", "test"), ("sst2", "few_shot", "train")],
)
def test_pool_is_an_official_part(dataset, protocol, part):
    split = load_embeddings(dataset, ENCODER).split
    assert set(split[~outside_pool(dataset, ENCODER, protocol)]) == {part}
    assert part not in split[outside_pool(dataset, ENCODER, protocol)]


def test_shipped_claims_name_rows_that_their_study_has():
    ways = ("encoder", "fine_tuned", "selection")
    for one in verdicts.read_claims():
        for study, head in (("study", "head"), ("reference_study", "reference")):
            units = [unit for unit in load_units(one[study]) if unit.head == one[head]]
            known = {tuple(getattr(unit, way) for way in ways) for unit in units}
            assert tuple(one[way] for way in ways) in known, one["claim"]


def test_the_command_judges_the_shipped_rows_anew(monkeypatch):
    judged, compute = [], verdicts.verdict_table
    monkeypatch.setattr(verdicts, "verdict_table", lambda: judged.append(compute()) or judged[0])
    result, shipped = CliRunner().invoke(main, ["verdicts"]), load_verdicts()
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == len(shipped)
    assert "all-mpnet-base-v2, frozen): " in result.output
    pd.testing.assert_frame_equal(judged[0], shipped, rtol=1e-6, check_dtype=False)
    short = shipped[shipped["n_seeds"] < verdicts.SEEDS]
    assert (short["because"] != "").all()


def test_changed_verdicts_are_refused(tmp_path, monkeypatch):
    for name in ("SHA256SUMS", verdicts.TABLE):
        files.write_atomic(tmp_path / name, (files.DATA_DIR / name).read_bytes())
    monkeypatch.setattr(files, "DATA_DIR", tmp_path)
    assert len(load_verdicts()) > 0
    content = bytearray((tmp_path / verdicts.TABLE).read_bytes())
    content[-5] ^= 1
    (tmp_path / verdicts.TABLE).write_bytes(content)
    with pytest.raises(files.DataError, match="SHA-256.*qllm verdicts --write"):
        load_verdicts()
    (tmp_path / verdicts.TABLE).unlink()
    with pytest.raises(files.DataError, match="missing.*qllm verdicts --write"):
        load_verdicts()


def test_a_hundred_claims_take_less_than_a_minute(tmp_path):
    heads = {f"h{number}": 0.77 for number in range(15)}
    pairs = [(a, b) for a in heads for b in heads if a < b][:100]
    made, texts = fits("paper", **heads), [claim(*pair) for pair in pairs]
    start = time.perf_counter()
    table = verdicts.verdict_table(claims(tmp_path, *texts), made)
    assert time.perf_counter() - start < 60
    assert table["n_seeds"].eq(20).all()


VERDICT_LINE = re.compile(
    r"([+-]\d+\.\d\d) points \[([+-]\d+\.\d\d), ([+-]\d+\.\d\d)\], (\d+) seeds: (\w+)"
)


# Chapters whose rows were computed before predictions were kept: they print their own tests, and
# say so. A chapter leaves the list when its study is run again.
BEFORE_THE_TABLE = ("09_", "12_")


def test_no_two_places_give_one_pair_two_verdicts(repository):
    """Every verdict that a chapter or a page prints is one of the table, word and numbers."""
    table = verdicts.load_verdicts()
    known = {VERDICT_LINE.search(verdict(row)).groups() for _, row in table.iterrows()
             if row["verdict"] != NOT_RUN}  # fmt: skip
    pages = [*repository.glob("notebooks/*.ipynb"), *repository.glob("book/*.md")]
    judged = "your_own_head"  # heads that are no claims of the book
    pages = [page for page in pages if not page.name.startswith((*BEFORE_THE_TABLE, judged))]
    for page in [*pages, repository / "README.md"]:
        text = page.read_text(encoding="utf-8")
        for printed in VERDICT_LINE.findall(text):
            assert printed in known, f"{page.name}: {printed} is no verdict of the table"
