"""Fine-tuning of the body: the loss against its formula, determinism, the cache."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from qllm_helpers.text import tuning as finetuning
from qllm_helpers.text.corpora import load_embeddings, load_texts
from qllm_helpers.text.encoders import HUB_PREFIX, MINILM, MPNET, encode
from qllm_helpers.text.protocols import few_shot_split, paper_split
from qllm_helpers.text.tuning import (
    LOSSES,
    TuningOptions,
    supervised_contrastive,
    tune_split,
    tuned_stages,
    tuned_vectors,
)

FOLDER = Path(os.environ.get("QLLM_DATA_DIR", "nowhere"))
needs_sentences = pytest.mark.skipif(
    not (FOLDER / "sst2.csv").is_file(), reason="the sentences are not here: set QLLM_DATA_DIR"
)
TEXTS = ["a joy to watch", "brilliant and moving", "a chore to watch", "dull and lifeless"]
LABELS = [1, 1, 0, 0]
OTHERS = ["not bad at all"]
SHORT = TuningOptions(steps=3, lr=1e-4)


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_the_loss_is_that_of_the_paper():
    """Equation 2 of Khosla et al. 2020, written out sentence by sentence."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1, 1, 2])
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    terms = []
    for i in range(6):
        partners = [p for p in range(6) if p != i and labels[p] == labels[i]]
        below = sum(torch.exp(unit[i] @ unit[a] / 0.07) for a in range(6) if a != i)
        shares = [torch.log(torch.exp(unit[i] @ unit[p] / 0.07) / below) for p in partners]
        if partners:
            terms.append(-sum(shares) / len(partners))
    expected = sum(terms) / len(terms)
    assert torch.allclose(supervised_contrastive(vectors, labels, 0.07), expected, rtol=1e-9)


def test_the_loss_has_finite_gradients():
    vectors = torch.eye(4, requires_grad=True)
    supervised_contrastive(vectors, torch.tensor([0, 0, 1, 1]), 0.07).backward()
    assert torch.isfinite(vectors.grad).all()
    assert vectors.grad.abs().max() > 0


def test_tuning_moves_the_body_towards_the_labels():
    frozen = encode([*TEXTS, *OTHERS], MINILM)
    tuned = tuned_vectors(TEXTS, LABELS, OTHERS, seed=0, options=SHORT, encoder=MINILM)
    assert tuned.shape == frozen.shape
    assert tuned.dtype == np.float32
    gap_before, gap_after = (
        x[0] @ x[1] + x[2] @ x[3] - x[0] @ x[2] - x[1] @ x[3] for x in (frozen, tuned)
    )
    assert gap_after > gap_before
    # The shared model is not the one that was tuned.
    assert np.array_equal(encode([*TEXTS, *OTHERS], MINILM), frozen)


def test_the_same_seed_gives_the_same_bits_and_no_trace_in_the_generators(monkeypatch, tmp_path):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    first = tuned_vectors(TEXTS, LABELS, OTHERS, seed=5, options=SHORT)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path / "second"))
    torch.manual_seed(2)
    assert np.array_equal(tuned_vectors(TEXTS, LABELS, OTHERS, seed=5, options=SHORT), first)
    assert not np.array_equal(tuned_vectors(TEXTS, LABELS, OTHERS, seed=6, options=SHORT), first)


def test_nothing_is_tuned_twice(monkeypatch, empty_cache, capfd):
    recipe = {"seed": 0, "options": SHORT, "encoder": MINILM}
    first = tuned_vectors(TEXTS, LABELS, OTHERS, **recipe)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(finetuning, "tune", None)
    assert np.array_equal(tuned_vectors(TEXTS, LABELS, OTHERS, **recipe), first)
    assert len(list((empty_cache / "tuned").iterdir())) == 1
    for change in ({"seed": 1}, {"options": TuningOptions(steps=4)}, {"encoder": MPNET}):
        with pytest.raises(TypeError, match="not callable"):
            tuned_vectors(TEXTS, LABELS, OTHERS, **recipe | change)
    with pytest.raises(TypeError, match="not callable"):
        tuned_vectors(TEXTS, LABELS[::-1], OTHERS, **recipe)


@pytest.mark.parametrize("loss", LOSSES[1:])
def test_the_library_s_losses_work_too(loss):
    options = TuningOptions(loss=loss, steps=3, batch_size=4, lr=4e-5)
    vectors = tuned_vectors(TEXTS, LABELS, [], seed=0, options=options)
    near = vectors @ vectors.T - encode(TEXTS) @ encode(TEXTS).T
    assert near[0, 1] + near[2, 3] > near[0, 2] + near[1, 3]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_shorter_run_is_the_beginning_of_a_longer_one(loss, monkeypatch, tmp_path):
    options = TuningOptions(loss=loss, steps=2, batch_size=4, lr=1e-4)
    recipe = {"seed": 3, "options": options, "encoder": MINILM}
    stages = tuned_stages(TEXTS, LABELS, OTHERS, (2, 5), **recipe)
    assert not np.array_equal(*stages)
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path / "alone"))
    assert np.array_equal(tuned_vectors(TEXTS, LABELS, OTHERS, **recipe), stages[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinge"}, "loss must be one of .* not 'hinge'"),
        ({"steps": 0}, "steps must be .* not 0"),
        ({"steps": True}, "steps must be .* not True"),
        ({"batch_size": 1}, "batch_size must be .* at least 2, not 1"),
        ({"lr": 0.0}, "lr must be .* above 0, not 0.0"),
        ({"temperature": float("nan")}, "temperature must be .* not nan"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TuningOptions(**options)


def test_labels_must_fit_and_allow_a_contrast():
    with pytest.raises(ValueError, match="4 sentences and 3 labels"):
        tuned_vectors(TEXTS, LABELS[:3], OTHERS, seed=0)
    with pytest.raises(ValueError, match="at least two labels"):
        tuned_vectors(TEXTS, [0, 0, 0, 1], OTHERS, seed=0)


@needs_sentences
@pytest.mark.parametrize(
    ("protocol", "sizes"), [("few_shot", [16, 250, 622]), ("paper", [435, 77, 9101])]
)
def test_rows_are_those_of_the_protocol_s_split(monkeypatch, protocol, sizes):
    data = load_embeddings("sst2")
    seen = {}

    def frozen(texts, labels, others, **options):
        seen.update(options, n_train=len(texts), labels=labels)
        return np.zeros((len(texts) + len(others), 768), dtype=np.float32)

    monkeypatch.setattr(finetuning, "tuned_vectors", frozen)
    split = (paper_split(data.y, 3) if protocol == "paper"
             else few_shot_split(data.y, data.split, 3))  # fmt: skip
    vectors, positions = tune_split(load_texts("sst2"), split, 3, protocol)
    parts = np.split(positions, np.cumsum(sizes[:2]))
    assert [len(part) for part in parts] == sizes
    for part, original in zip(parts, (split.train, split.validation, split.test), strict=True):
        assert np.array_equal(part, original)
    assert len(vectors) == sum(sizes)
    assert seen["n_train"] == sizes[0]
    assert seen["seed"] == 3
    assert np.array_equal(seen["labels"], data.y[split.train])


@needs_sentences
@pytest.mark.parametrize(
    ("encoder", "rate"),
    [({}, 2e-5), ({"encoder": MPNET}, 2e-5), ({"encoder": f"{HUB_PREFIX}{MINILM}"}, 4e-5)],
)
def test_the_recipe_of_the_paper_s_protocol_knows_the_body(monkeypatch, encoder, rate):
    def frozen(texts, labels, others, *, options, **_):
        assert options == TuningOptions("batch_all_triplet", 14, 32, rate)
        return np.zeros((len(texts) + len(others), 1), dtype=np.float32)

    monkeypatch.setattr(finetuning, "tuned_vectors", frozen)
    texts = load_texts("sst2")
    vectors, _ = tune_split(texts, paper_split(texts.labels, 3), 3, "paper", **encoder)
    assert vectors.shape == (9613, 1)


def test_precision_and_weights_are_part_of_what_is_kept(small_body, empty_cache):
    options = {"seed": 0, "options": SHORT, "encoder": small_body}
    exact, same, rough = (
        tuned_vectors(TEXTS, LABELS, OTHERS, precision=precision, **options)
        for precision in ("auto", "float32", "bfloat16")
    )
    assert exact.shape == (5, 16)
    assert np.array_equal(exact, same)
    assert not np.array_equal(exact, rough)
    assert np.isfinite(rough).all()
    assert len(list((empty_cache / "tuned").iterdir())) == 2


def test_a_repeated_sentence_has_one_vector(small_body):
    options = {"seed": 0, "options": SHORT, "encoder": small_body}
    vectors = tuned_vectors(TEXTS, LABELS, [TEXTS[0], "who", "who"], **options)
    assert np.array_equal(vectors[[4, 5]], vectors[[0, 6]])
