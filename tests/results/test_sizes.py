"""Learning curves as rulers: sentences that were put in come out."""

import numpy as np
import pandas as pd
import pytest

from qllm_helpers.results import sizes

SIZES = (4, 8, 16, 32, 64)


def rows(n_seeds=6, saving=2.0, spread=0.02):
    """Logistic regression gains 5 points a doubling; another head needs `saving` times fewer."""
    shared = np.random.default_rng(0).normal(0, spread, size=(n_seeds, len(SIZES)))
    return pd.DataFrame(
        {"head": head, "samples_per_class": size, "seed": seed}
        | {"test_accuracy": 0.5 + 0.05 * np.log2(size * factor) + shared[seed, place]}
        for head, factor in {"LogisticRegression": 1.0, "light": saving, "twin": saving}.items()
        for place, size in enumerate(SIZES)
        for seed in range(n_seeds)
    )


def test_sentences_are_interpolated_in_their_logarithm():
    found = sizes.sentences_for([0.6, 0.65, 0.7, 0.5, 0.9], [4, 16, 64], [0.6, 0.7, 0.8])
    assert found == pytest.approx([4, 8, 16, 0, np.inf])
    # a dip is pooled with its neighbour: 0.7 and 0.6 become 0.65 at both sizes
    dipped = sizes.sentences_for([0.575, 0.725], [2, 8, 32, 128], [0.5, 0.7, 0.6, 0.8])
    assert dipped == pytest.approx([4, 64])


def test_a_head_that_saves_half_the_sentences_is_told_so():
    table = sizes.equivalent_sentences(rows())
    largest = table[(table["head"] == "light") & (table["samples_per_class"] == 64)]
    assert largest[["sentences", "high"]].to_numpy() == pytest.approx(np.inf)
    exact = rows(n_seeds=3, spread=0)
    exact["test_accuracy"] = exact["test_accuracy"].round(9)
    exact = sizes.equivalent_sentences(exact).query("head == 'light'")
    assert exact["samples_per_class"].tolist() == [*SIZES]
    assert exact["sentences"].tolist()[:4] == pytest.approx([8, 16, 32, 64])
    assert (exact["low"] == exact["sentences"]).all()


def test_the_factor_is_what_was_saved_and_lies_in_its_interval():
    factor = sizes.sentence_factor(rows(n_seeds=200))
    assert factor["head"].tolist() == ["light", "twin"]
    assert factor["factor"].to_numpy() == pytest.approx(2.0, rel=0.05)
    assert factor["factor"].between(factor["low"], factor["high"]).all()


def test_worse_heads_fall_below_the_ruler():
    table = sizes.equivalent_sentences(rows(saving=0.1))
    assert table.query("samples_per_class == 4")["sentences"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: sizes.sentences_for([0.5], [4], [0.5]), "two or more sizes"),
        (lambda t: sizes.sentences_for([0.5], [8, 4], [0.5, 0.6]), "ascending sizes"),
        (lambda t: sizes.sentences_for([np.nan], [4, 8], [0.5, 0.6]), "finite"),
        (lambda t: sizes.equivalent_sentences(t, "SVC"), "no rows of the reference"),
        (lambda t: sizes.equivalent_sentences(t[:30]), "only the reference"),
        (lambda t: sizes.equivalent_sentences(t[:-1]), "some fits are missing"),
        (lambda t: sizes.sentence_factor(t[:-1]), "some fits are missing"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(rows())
