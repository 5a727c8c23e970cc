"""Ways to treat the body: the right rows side by side, on the seeds that all have."""

import json

import pandas as pd
import pytest

from qllm_helpers.results.contrasts import paired_table
from qllm_helpers.results.ways import HEADS, WAYS, pairs_within, rows_by_way


def finetune():
    gain = {"8 modes, 2 photons": 0.02, "8 modes, 2 photons, linear": 0.01, "LogisticRegression": 0}
    return pd.DataFrame(
        {"head": head, "fine_tuned": tuned, "seed": seed, "family": "any", "configuration": "{}"}
        | {"test_accuracy": 0.7 + more + 0.03 * tuned + 0.001 * seed}
        for head, more in {**gain, "MLP": 0.1}.items()
        for tuned in (False, True)
        for seed in range(5)
    )


def end_to_end(seeds=3):
    return pd.DataFrame(
        {"head": f"{family} {body}", "fine_tuned": False, "seed": seed, "family": family}
        | {"configuration": json.dumps({"body": body}), "test_accuracy": 0.8 + 0.001 * seed}
        for family in ("photonic", "twin")
        for body in ("whole", "low_rank")
        for seed in range(seeds)
    )


def test_every_way_and_head_on_the_common_seeds():
    rows = rows_by_way(end_to_end(), finetune())
    assert rows["seed"].unique().tolist() == [0, 1, 2]
    assert rows["way"].unique().tolist() == list(WAYS)
    assert len(rows) == 3 * (2 * len(HEADS) + 2 * 2)
    assert not rows["head"].str.contains("MLP").any()


def test_effects_are_those_that_were_put_in():
    rows = rows_by_way(end_to_end(), finetune())
    within = paired_table(rows, pairs_within(rows, way="frozen")).set_index("reference")
    assert within.loc["linear twin, frozen", "difference"] == pytest.approx(0.01)
    assert within.loc["logistic, frozen", "difference"] == pytest.approx(0.02)
    across = paired_table(rows, pairs_within(rows, kind="photonic")).set_index("head")
    assert across.loc["photonic, tuned first", "difference"] == pytest.approx(0.03)
    assert across.loc["photonic, whole body, end to end", "difference"] == pytest.approx(0.08)
    pairs = pairs_within(rows, kind="photonic", reference="tuned first")
    assert [head for head, _ in pairs] == [f"photonic, {way}" for way in WAYS[2:]]
    to_tuned = paired_table(rows, pairs).set_index("head")
    assert to_tuned.loc["photonic, adapters, end to end", "difference"] == pytest.approx(0.05)


def test_missing_rows_and_wrong_questions_are_refused():
    rows = rows_by_way(end_to_end(), finetune())
    with pytest.raises(ValueError, match="no rows of 'LogisticRegression'"):
        rows_by_way(end_to_end(), finetune()[lambda t: t["head"] != "LogisticRegression"])
    with pytest.raises(ValueError, match="share no seed"):
        rows_by_way(end_to_end(), finetune()[lambda t: t["seed"] > 3])
    with pytest.raises(ValueError, match="a way or a kind"):
        pairs_within(rows)
    with pytest.raises(ValueError, match="nothing to compare for 'mlp, frozen'"):
        pairs_within(rows, kind="mlp")
    with pytest.raises(ValueError, match="nothing to compare for 'photonic, thawed'"):
        pairs_within(rows, kind="photonic", reference="thawed")
    with pytest.raises(ValueError, match="nothing to compare for 'photonic, whole body"):
        pairs_within(rows, kind="photonic", reference=WAYS[-1])
