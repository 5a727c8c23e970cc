"""End to end: gradients pass the head into the language model, and only what may move moves."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from qllm_helpers.classifiers.text import Body, EndToEndClassifier, TextHead
from qllm_helpers.heads.base import select_replica
from qllm_helpers.heads.photonic import PhotonicHead
from qllm_helpers.studies.grid import load_units
from qllm_helpers.text.encoders import MINILM, MPNET, PRECISIONS, encode, load_encoder
from qllm_helpers.text.tuning import isolated_randomness

# Written for this test.
GOOD = [
    "a warm and witty film",
    "I loved every minute of it",
    "a joy from the first scene to the last",
    "tender, funny and wise",
    "bright and clever",
    "the best evening in a long time, and not only because of the music",
]
BAD = [
    "a dull and empty film",
    "I hated every minute of it",
    "a bore from the first scene to the last",
    "cold, flat and silly",
    "loud and stupid",
    "the worst evening in a long time, and not only because of the music",
]
TEXTS, LABELS = GOOD + BAD, np.array([1] * 6 + [0] * 6)
SHORT = {"head_epochs": 4, "epochs": 2, "encoder": MINILM}


@pytest.fixture(scope="module")
def body():
    return Body(load_encoder(MINILM), "whole").eval()


def base_weights(body):
    """Weights of the language model without adapters, by name."""
    named = body.model.state_dict().items()
    return {name.replace(".base_layer", ""): w for name, w in named if "lora" not in name}


def test_body_gives_the_embeddings_of_the_encoder(body):
    positions = body.read(TEXTS)
    with torch.no_grad():
        ours = body(positions[None])[0].numpy()
    assert np.abs(ours - encode(TEXTS, MINILM)).max() < 1e-5
    # in another order, one at a time, and with gradients
    few = body(positions[[7, 2]][None])[0]
    assert few.requires_grad
    assert np.abs(few.detach().numpy() - ours[[7, 2]]).max() < 1e-5


def test_gradient_of_a_body_weight_is_the_difference_quotient(body):
    head = PhotonicHead(384, 2, 4, 2)
    whole = TextHead(body, head, 1.0).double().eval()
    rows = body.read(TEXTS)[None].double()
    labels = torch.from_numpy(LABELS)
    weight = dict(body.named_parameters())[
        "model.0.model.encoder.layer.3.attention.self.query.weight"
    ]

    def loss():
        return torch.nn.functional.cross_entropy(whole(rows)[0], labels)

    loss().backward()
    place = np.unravel_index(int(weight.grad.abs().argmax()), weight.shape)
    derivative = float(weight.grad[place])
    with torch.no_grad():
        values = []
        for step in (1e-5, -2e-5):
            weight[place] += step
            values.append(float(loss()))
    whole.float()
    assert abs(derivative) > 1e-6
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(derivative, rel=1e-4)


@pytest.mark.parametrize(
    ("trained", "encoder", "number"),
    [("low_rank", MPNET, 24), ("low_rank", MINILM, 12), ("frozen", MINILM, 0)],
)
def test_adapters_leave_the_language_model_as_it_was(trained, encoder, number):
    options = SHORT | {"encoder": encoder}
    fit = EndToEndClassifier(body=trained, n_modes=4, **options).fit(TEXTS, LABELS)
    before, after = base_weights(Body(load_encoder(encoder))), base_weights(fit.module_.body)
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    adapters = [w for name, w in fit.module_.body.model.state_dict().items() if "lora_B" in name]
    assert len(adapters) == number  # queries and values of every layer
    # they start at zero: all of them have moved
    assert all(bool(w.abs().max() > 0) for w in adapters)


def test_the_whole_body_moves_through_the_photons():
    fit = EndToEndClassifier(n_modes=4, **SHORT).fit(TEXTS, LABELS)
    before, after = base_weights(Body(load_encoder(MINILM))), base_weights(fit.module_.body)
    still = {name for name, weight in before.items() if torch.equal(weight, after[name])}
    assert {name.split(".")[2] for name in still} == {"pooler"}


@pytest.mark.parametrize("twin", [None, "frozen"])
def test_gate_based_heads_train_with_the_body(twin):
    options = SHORT | {"circuit": "qubit", "twin": twin}
    fit = EndToEndClassifier(**options, random_state=1).fit(TEXTS, LABELS)
    head, body = fit.module_, fit.module_.body
    rows = body.read(TEXTS)[None]
    torch.nn.functional.cross_entropy(head(rows)[0], torch.from_numpy(LABELS)).backward()
    trained = [one.grad is not None for one in head.quantum.parameters()]
    assert all(trained) if twin is None else not any(trained)
    word = dict(body.named_parameters())["model.0.model.embeddings.word_embeddings.weight"]
    assert bool(word.grad.abs().max() > 0)
    assert fit.predict_proba(TEXTS).sum(1) == pytest.approx(1, abs=1e-6)


def test_a_linear_layer_trains_with_the_body():
    fit = EndToEndClassifier(circuit="linear", **SHORT).fit(TEXTS, LABELS)
    counted = fit.count_parameters().nominal
    assert (counted.quantum, counted.readout) == (0, 384 * 2 + 2)
    # one linear map, and nothing else, behind the body that has moved
    rows = fit.module_.body.read(TEXTS)[None]
    layer = fit.module_.readout
    by_hand = fit.module_.body(rows)[0] @ layer.weight[0] + layer.bias[0]
    assert torch.allclose(fit.module_(rows)[0], by_hand, atol=1e-6)
    assert np.abs(by_hand.softmax(-1).detach().numpy() - fit.predict_proba(TEXTS)).max() < 1e-5
    moved = base_weights(fit.module_.body)
    before = base_weights(Body(load_encoder(MINILM)))
    assert not all(torch.equal(before[name], weight) for name, weight in moved.items())


def test_precision_is_that_of_the_products_in_the_body():
    exact, rough = (Body(load_encoder(MINILM), precision=p).eval() for p in PRECISIONS[1:])
    with torch.no_grad():
        ours, other = (body(body.read(TEXTS)[None])[0] for body in (exact, rough))
    assert other.dtype == torch.float32 and not torch.equal(ours, other)
    assert bool(((ours * other).sum(-1) > 0.999).all())


def test_photonic_head_and_linear_twin_have_as_many_parameters():
    for trained in ("whole", "low_rank"):
        counts = []
        for twin in (None, "linear"):
            body = Body(load_encoder(MINILM), trained)
            head = PhotonicHead(384, 2, 8, 2, twin=twin)
            fit = EndToEndClassifier()
            fit.module_ = TextHead(body, head, 1.0)
            counts.append(fit.count_parameters().nominal)
        assert counts[0] == counts[1]
        # eight layers' worth of the head are nothing beside the body
        assert counts[0].quantum + counts[0].readout == 2 * 8 * 8 + 2 * 37
    # six layers, query and value, two factors of 8 x 384, and the map to eight phases
    assert counts[0].encoder == 6 * 2 * 2 * 8 * 384 + 8 * 385


def test_same_seed_same_bits_and_other_seed_others():
    def probabilities(seed):
        estimator = EndToEndClassifier(n_modes=4, random_state=seed, **SHORT)
        return clone(estimator).fit(TEXTS, LABELS).predict_proba(TEXTS)

    state = torch.get_rng_state()
    first = probabilities(3)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(first, probabilities(3))
    assert not np.array_equal(first, probabilities(4))


def test_best_epoch_is_kept_and_described():
    fit = EndToEndClassifier(body="low_rank", n_modes=4, head_epochs=4, epochs=3)
    fit.fit(TEXTS, LABELS, TEXTS[1::3], LABELS[1::3])
    best = fit.history_.set_index("epoch").loc[fit.best_epoch_]
    assert best["validation_accuracy"] == fit.history_["validation_accuracy"].max()
    assert fit.validation_accuracy_ == np.mean(fit.predict(TEXTS[1::3]) == LABELS[1::3])
    assert fit.predict_proba(["what a film"]).shape == (1, 2)


def test_class_names_are_kept():
    names = np.array(["bad", "good"])[LABELS]
    fit = EndToEndClassifier(body="frozen", twin="linear", head_epochs=200)
    assert fit.fit(TEXTS, names).score(TEXTS, names) == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": "one sentence"}, "put a single one in a list"),
        ({"X": []}, "X is empty"),
        ({"X": [*TEXTS[:-1], ""]}, "number 11 is ''"),
        ({"X": [*TEXTS[:-1], 3.0]}, "number 11 is 3.0"),
        ({"y": LABELS[:-1]}, "y must hold 12 labels"),
        ({"y": np.zeros(12, dtype=int)}, "1 class"),
        ({"X_val": GOOD}, "both X_val and y_val"),
        ({"X_val": GOOD, "y_val": [1] * 5}, "y_val must hold 6 labels"),
        ({"X_val": GOOD, "y_val": [2] * 6}, r"y_val holds labels that y does not: \[2\]"),
        ({"body": "half"}, "body must be one of"),
        ({"circuit": "neutrinos"}, "circuit must be one of"),
        ({"circuit": "linear", "twin": "frozen"}, "twin of a linear layer must be one of None"),
        ({"precision": "float16"}, "precision must be one of"),
        ({"body": "low_rank", "rank": 0}, "rank must be .*0"),
        ({"lr_body": 0.0}, "lr_body must be .* not 0.0"),
        ({"epochs": 0}, "epochs"),
        ({"head_epochs": True}, "epochs must be .* not True"),
        ({"n_modes": None}, "n_modes must be a whole number"),
        ({"n_photons": 9, "n_modes": 0}, "n_modes"),
        ({"random_state": None}, "random_state must be"),
    ],
)
def test_bad_input_is_refused_before_any_training(changes, message, monkeypatch):
    monkeypatch.setattr("qllm_helpers.classifiers.text.train", None)
    data = {"X": TEXTS, "y": LABELS} | {k: v for k, v in changes.items() if k[0] in "Xy"}
    parameters = {k: v for k, v in changes.items() if k[0] not in "Xy"}
    with pytest.raises(ValueError, match=message):
        EndToEndClassifier(**parameters).fit(**data)


def test_a_text_head_never_forgets_its_language_model(body):
    head = TextHead(body, PhotonicHead(384, 2, 4, 1), 0.1)
    with pytest.raises(TypeError, match="starts from the weights"):
        head.reset_parameters([0])


def test_copies_by_replica_refuse_a_text_head(body):
    """They would keep the first row of every matrix of the language model."""
    head = TextHead(body, PhotonicHead(384, 2, 4, 1), 0.1)
    with pytest.raises(ValueError, match="copy it with copy.deepcopy"):
        select_replica(head, 0)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_side_on_which_a_tokeniser_fills_up_changes_nothing(body, side, monkeypatch):
    monkeypatch.setattr(body.model.tokenizer, "padding_side", side)
    texts = ["short", "a sentence of some more words than the others have"]
    with torch.no_grad():
        together = body(body.read(texts)[None])[0].numpy()
    assert np.abs(together - encode(texts, MINILM)).max() < 1e-5


def test_the_dropout_of_the_body_comes_from_the_seed(body):
    positions = body.read(TEXTS)[None]
    body.train()
    with isolated_randomness(5):
        first = body(positions)
    with isolated_randomness(5):
        again = body(positions)
    body.eval()
    assert torch.equal(first, again)
    assert not torch.equal(first, body(positions))


def test_every_seed_of_the_study_is_a_unit_of_its_own():
    units = load_units("end_to_end")
    assert EndToEndClassifier.reads_texts and {len(unit.seeds) for unit in units} == {1}
    assert {unit.estimator for unit in units} == {"EndToEndClassifier"}
    assert {unit.family for unit in units} == {"photonic", "twin", "qubit", "linear"}
