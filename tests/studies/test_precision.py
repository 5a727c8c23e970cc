"""Heads on a body in half as many digits."""

import numpy as np

from qllm_helpers.studies import precision
from qllm_helpers.studies.table import load_measurements, load_results
from qllm_helpers.text.corpora import load_embeddings
from qllm_helpers.text.encoders import MPNET


def test_both_precisions_have_the_settings_and_seeds_of_the_paper(monkeypatch):
    data = load_embeddings("sst2")
    asked = []

    def encode(texts, encoder, *, precision, progress):
        asked.append((len(texts), encoder, precision))
        return data.X if precision == "bfloat16" else data.X[:, ::2]

    texts = type("Texts", (), {"texts": ["a sentence"] * len(data.y)})
    monkeypatch.setattr(precision, "load_texts", lambda name: texts)
    monkeypatch.setattr(precision, "encode", encode)
    monkeypatch.setattr(precision, "HEADS", ("LogisticRegression, C = 1",))
    table = precision.precision_table().set_index(["precision", "seed"])["test_accuracy"]
    assert asked == [(len(data.y), MPNET, one) for one in ("float32", "bfloat16")]
    rows = load_results("paper").query("head == 'LogisticRegression, C = 1'")
    rows = rows[rows["encoder"] == MPNET].set_index("seed")["test_accuracy"]
    assert np.allclose(table["bfloat16"], rows, atol=5e-4) and len(rows) == 20
    assert not np.allclose(table["float32"], rows, atol=5e-4)


def test_half_the_digits_move_no_mean_by_a_tenth_of_a_point():
    table = load_measurements("precision")
    wide = table.pivot(index=["head", "seed"], columns="precision", values="test_accuracy")
    assert wide.groupby("head").size().to_dict() == dict.fromkeys(precision.HEADS, 20)
    means = wide.groupby("head").mean()
    assert (means["bfloat16"] - means["float32"]).abs().max() < 1e-3
