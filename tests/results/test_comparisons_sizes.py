"""Learning curves: differences, areas, sentences and optimism that were put in come out."""

import numpy as np
import pandas as pd
import pytest

from qllm_helpers.figures import sizes as figures
from qllm_helpers.figures.style import save
from qllm_helpers.results import sentences, sizes, validation
from qllm_helpers.text.protocols import paper_split

SIZES = (4, 8, 16, 32, 64)


def rows(n_seeds=6, saving=2.0, **more):
    """Logistic regression gains 5 points a doubling; another head needs `saving` times fewer."""
    draw = np.random.default_rng(0)
    shared = draw.normal(0, 0.02, size=(n_seeds, len(SIZES)))
    heads = {"LogisticRegression": ("linear", 1.0), "light": ("photonic", saving)}
    heads["twin of light"] = ("twin", saving)
    return pd.DataFrame(
        {"head": head, "family": family, "samples_per_class": size, "seed": seed}
        | {"test_accuracy": 0.5 + 0.05 * np.log2(size * factor) + shared[seed, place]}
        | {"n_train": 2 * size - max(2, round(0.3 * size)), "validation_loss": 1 - factor / 10}
        | {"validation_accuracy": 0.9 + 0.001 * seed} | more
        for head, (family, factor) in heads.items()
        for place, size in enumerate(SIZES)
        for seed in range(n_seeds)
    )  # fmt: skip


def test_curves_hold_every_head_and_size_in_order():
    shuffled = rows().sort_values(["samples_per_class", "seed"])
    table = sizes.learning_curve(shuffled)
    assert table["samples_per_class"].tolist() == [*SIZES] * 3
    assert table["head"].unique().tolist() == shuffled["head"].unique().tolist()
    own = rows()["test_accuracy"][:6].mean()
    assert table.iloc[0]["mean"] == pytest.approx(own)
    assert (table["n_seeds"] == 6).all()


def test_differences_are_paired_and_corrected_over_the_whole_table():
    # the seeds scatter by two points together, so that unpaired intervals would not be zero wide
    table = sizes.paired_by_size(rows(saving=2.0))
    assert len(table) == 2 * len(SIZES)
    assert table["difference"].to_numpy() == pytest.approx(0.05)
    assert (table["high"] - table["low"]).max() < 1e-6
    noisy = rows()
    noisy["test_accuracy"] += np.random.default_rng(1).normal(0, 0.05, len(noisy))
    table = sizes.paired_by_size(noisy)
    smallest = table["p_value"].min()
    assert table.loc[table["p_value"].idxmin(), "p_corrected"] == pytest.approx(
        min(1, smallest * len(table))
    )


def test_pairs_of_ones_own_and_equivalence():
    table = sizes.paired_by_size(rows(), [("light", "twin of light")])
    assert table["reference"].unique().tolist() == ["twin of light"]
    assert table["family"].unique().tolist() == ["photonic"]
    assert table["difference"].tolist() == [0.0] * len(SIZES)
    assert table["equivalent"].all()
    assert not sizes.paired_by_size(rows())["equivalent"].any()


def test_area_is_an_accuracy_averaged_over_doublings():
    table = sizes.area_table(rows(saving=2.0)).set_index("head")
    assert table["difference"].to_numpy() == pytest.approx(0.05)
    # worse by ten points at the first size only: the trapezoid gives an end half a weight
    worse = rows(saving=1.0)
    worse.loc[(worse["head"] == "light") & (worse["samples_per_class"] == 4), "test_accuracy"] -= (
        0.1
    )
    area = sizes.area_table(worse).set_index("head").loc["light", "difference"]
    assert area == pytest.approx(-0.1 / 2 / 4)


def test_sentences_are_interpolated_in_their_logarithm():
    found = sentences.sentences_for([0.6, 0.65, 0.7, 0.5, 0.9], [4, 16, 64], [0.6, 0.7, 0.8])
    assert found == pytest.approx([4, 8, 16, 0, np.inf])
    # a dip is pooled with its neighbour: 0.7 and 0.6 become 0.65 at both sizes
    dipped = sentences.sentences_for([0.575, 0.725], [2, 8, 32, 128], [0.5, 0.7, 0.6, 0.8])
    assert dipped == pytest.approx([4, 64])


def test_a_head_that_saves_half_the_sentences_is_told_so():
    table = sentences.equivalent_sentences(rows(saving=2.0), n_resamples=100)
    light = table[table["head"] == "light"].set_index("samples_per_class")
    factor = sentences.sentence_factor(rows(saving=2.0, n_seeds=200), n_resamples=50)
    assert factor["factor"].to_numpy() == pytest.approx(2.0, rel=0.05)
    assert (factor["low"] <= factor["factor"]).all() and (factor["factor"] <= factor["high"]).all()
    assert light.loc[64, "sentences"] == np.inf and light.loc[64, "high"] == np.inf
    exact = rows(saving=2.0, n_seeds=1).assign(test_accuracy=lambda t: t["test_accuracy"].round(9))
    smooth = pd.concat([exact.assign(seed=s, test_accuracy=_plain(exact)) for s in range(3)])
    exactly = sentences.equivalent_sentences(smooth, n_resamples=20).query("head == 'light'")
    assert exactly["sentences"].tolist()[:4] == pytest.approx([8, 16, 32, 64])
    assert (exactly["low"] == exactly["sentences"]).all()


def _plain(table):
    doubled = table["head"].ne("LogisticRegression")
    return 0.5 + 0.05 * (np.log2(table["samples_per_class"]) + doubled)


def test_worse_heads_fall_below_the_ruler():
    table = sentences.equivalent_sentences(rows(saving=0.1), n_resamples=50)
    assert table.query("samples_per_class == 4")["sentences"].tolist() == [0, 0]


def test_optimism_counts_validation_sentences_and_perfect_scores():
    table = rows(n_seeds=4, saving=1.0)
    table["validation_accuracy"] = table["test_accuracy"] + 0.1
    table.loc[(table["samples_per_class"] == 4) & (table["seed"] < 2), "validation_accuracy"] = 1.0
    found = validation.optimism(table).set_index("samples_per_class")
    assert found["n_validation"].tolist() == [2, 2, 5, 10, 19]
    assert found["optimism"].to_numpy()[1:] == pytest.approx(0.1)
    assert found["correlation"].to_numpy()[1:] == pytest.approx(1.0)
    assert found["perfect"].tolist() == [0.5, 0, 0, 0, 0]
    assert found["error"].to_numpy()[1:] == pytest.approx(0)


def test_choice_by_validation_breaks_ties_by_loss_and_not_by_order():
    # validation accuracies are equal; the head with the lowest loss is 5 points better
    table = validation.choice_by_validation(rows(saving=2.0))
    assert table["gain"].to_numpy() == pytest.approx(0.05 / 3)
    assert (table["chosen"] - table["hindsight"]).to_numpy() == pytest.approx(0)


def test_few_and_many_differ_in_validation_alone():
    y = np.tile([0, 1], 200)
    few, many = validation.few_and_many(y, [3, 4], 8, 250)
    assert [len(few[0].train), len(few[0].validation), len(few[0].test)] == [13, 3, 134]
    for small, large, seed in zip(few, many, (3, 4), strict=True):
        assert small.train.tolist() == large.train.tolist()
        assert small.test.tolist() == large.test.tolist()
        assert (
            small.validation.tolist()
            == paper_split(y, seed, samples_per_class=8).validation.tolist()
        )
        parts = [*small.train, *small.validation, *large.validation, *large.test]
        assert sorted(parts) == list(range(400))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: sizes.paired_by_size(t, "SVC"), "no rows of 'SVC'"),
        (lambda t: sizes.paired_by_size(t, []), "no pairs"),
        (lambda t: sizes.area_table(t[t["samples_per_class"] == 4]), "fewer than two sizes"),
        (lambda t: sentences.sentences_for([0.5], [4], [0.5]), "two or more sizes"),
        (lambda t: sentences.sentences_for([np.nan], [4, 8], [0.5, 0.6]), "finite"),
        (lambda t: sentences.equivalent_sentences(t, "SVC"), "no rows of the reference"),
        (lambda t: sentences.equivalent_sentences(t[:30]), "only the reference"),
        (lambda t: sentences.equivalent_sentences(t[:-1]), "some fits are missing"),
        (lambda t: validation.optimism(t.drop(columns="n_train")), "no column n_train"),
        (lambda t: validation.few_and_many([0, 1] * 9, [0], 4, 10), "must be 1 to 9"),
        (lambda t: figures.learning_curves(
            sizes.learning_curve(t.assign(family="linear"))), "one head a family"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(rows())


def test_figures_show_every_head_and_repeat_byte_for_byte(tmp_path):
    table, pairs = sizes.learning_curve(rows()), sizes.paired_by_size(rows())
    for attempt in ("first", "second"):
        drawn = {
            "curves": figures.learning_curves(table),
            "pairs": figures.difference_panels(pairs, margin=0.01),
            "optimism": figures.validation_and_test(validation.optimism(rows())),
        }
        for name, figure in drawn.items():
            save(figure, tmp_path / f"{attempt}-{name}.svg")
    assert len(list(tmp_path.glob("first-*.svg"))) == 3
    for first in tmp_path.glob("first-*.svg"):
        again = first.with_name(first.name.replace("first", "second"))
        assert first.read_bytes() == again.read_bytes(), first.name
    axes = drawn["curves"].axes[0]
    assert axes.get_legend_handles_labels()[1] == list(table["head"].unique())
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(s) for s in SIZES]
    titles = [axes.get_title(loc="left") for axes in drawn["pairs"].axes]
    assert titles == ["light", "twin of light"]
