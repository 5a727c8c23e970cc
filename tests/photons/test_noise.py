"""The fast model of a noisy chip against MerLin and Perceval, and what noise must do to a head."""

import math
import warnings
from dataclasses import asdict

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from qllm_helpers.classifiers.estimators import NoisyPhotonicClassifier, PhotonicClassifier
from qllm_helpers.classifiers.replicated import fit_many
from qllm_helpers.heads.parameters import count_parameters
from qllm_helpers.heads.photonic import MerlinHead
from qllm_helpers.photons.layer import PhotonicLayer
from qllm_helpers.photons.merlin import TOKEN_VARIABLE, open_processor, to_merlin, to_noise_model
from qllm_helpers.photons.noise import Noise, draw_features, perturb, recorded
from qllm_helpers.text.protocols import Split

CHECKED = NoisyPhotonicClassifier(n_modes=4, n_photons=2, epochs=20, lr=3e-2)
SMALL = {"n_modes": 3, "n_photons": 2, "epochs": 4, "lr": 0.02, "random_state": 5}
MODELS = [
    {},
    {"transmittance": 0.6},
    {"brightness": 0.7, "transmittance": 0.5},
    {"indistinguishability": 0.8},
    {"g2": 0.05, "indistinguishability": 0.9},
    {"g2": 0.05, "transmittance": 0.5, "indistinguishability": 0.9},
]


@pytest.fixture(scope="module")
def layer():
    return PhotonicLayer(3, 2, input_state=(1, 0, 1)).double()


@pytest.fixture(scope="module")
def phases():
    draw = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return 6 * draw


@pytest.fixture(scope="module")
def data():
    draw = np.random.default_rng(0)
    X = draw.normal(size=(400, 5)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] > 0).astype(int)


@parametrize_with_checks([CHECKED])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def generators(n=1, seed=0):
    return [np.random.default_rng([seed, r]) for r in range(n)]


def perceval_probabilities(layer, phases, noise):
    """Perceval's own answer for one sample, with its detectors."""
    import perceval as pcvl

    converted = to_merlin(layer)
    circuit = converted.circuit.copy()
    values = {f"phase{mode}": phases[mode].item() for mode in range(layer.n_modes)}
    for prefix in ("left", "right"):
        names = [p.name for p in circuit.get_parameters() if p.name.startswith(prefix)]
        values |= dict(zip(names, getattr(converted, prefix).tolist(), strict=True))
    for parameter in circuit.get_parameters():
        parameter.set_value(values[parameter.name])
    processor = pcvl.Processor("SLOS", circuit, noise=to_noise_model(noise))
    if noise.detector == "threshold":
        for mode in range(layer.n_modes):
            processor.add(mode, pcvl.Detector.threshold())
    processor.min_detected_photons_filter(0)
    processor.with_input(pcvl.BasicState(list(layer.input_state)))
    found = {tuple(state): p for state, p in processor.probs()["results"].items()}
    return [found.get(state, 0.0) for state in layer.basis]


@pytest.mark.parametrize("detector", ["number", "threshold"])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_fast_model_is_percevals(layer, phases, model, detector):
    noise = Noise(**model, detector=detector)
    with torch.no_grad():
        ours = recorded(layer, phases, noise)[0, 0].numpy()
    np.testing.assert_allclose(ours, perceval_probabilities(layer, phases[0, 0], noise), atol=1e-6)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_fast_model_is_merlins(layer, phases, model):
    noise = Noise(**model)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", UserWarning)
        converted = to_merlin(layer, noise=to_noise_model(noise))
        keys = {tuple(key): place for place, key in enumerate(converted.output_keys)}
        theirs = converted(phases[0])[:, [keys[state] for state in layer.basis]]
        ours = recorded(layer, phases, noise)[0]
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)


def test_rounded_phases_are_merlins(layer, phases):
    noise = Noise(phase_imprecision=0.3)
    with torch.no_grad():
        theirs = to_merlin(layer, noise=to_noise_model(noise))(phases[0])
        meshes = [perturb(mesh, noise, generators()) for mesh in (layer.left, layer.right)]
        ours = recorded(layer, perturb(phases, noise, generators()), noise, tuple(meshes))[0]
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-9)


def test_phase_errors_blur_the_outputs_as_merlins_do(phases):
    noise, n_draws = Noise(phase_error=0.5), 300
    layer = PhotonicLayer(3, 2, n_replicas=n_draws).double()
    with torch.no_grad():
        layer.left[:], layer.right[:] = layer.left[:1].clone(), layer.right[:1].clone()
        chips = generators(n_draws)
        meshes = [perturb(mesh, noise, chips) for mesh in (layer.left, layer.right)]
        shifted = perturb(phases.expand(n_draws, -1, -1), noise, chips)
        draws = recorded(layer, shifted, noise, tuple(meshes))
        options = {"noise": to_noise_model(noise), "n_phase_error_samples": n_draws}
        theirs = layer.to_merlin(0, **options)(phases[0])
        ideal = layer(phases.expand(n_draws, -1, -1))[0]
    # both are means over random draws: five standard errors of their difference
    bound = 5 * draws.std(0) * math.sqrt(2 / n_draws)
    assert ((draws.mean(0) - theirs).abs() < bound).all()
    assert ((draws.mean(0) - ideal).abs() > bound).any()


def test_more_photons_and_bunched_inputs_stay_a_mixture_of_the_two_extremes(phases):
    for state in ((1, 1, 1), (2, 0, 1)):
        layer = PhotonicLayer(3, 3, input_state=state).double()
        coins = PhotonicLayer(3, 3, input_state=state, distinguishable=True).double()
        coins.load_state_dict(layer.state_dict())
        with torch.no_grad():
            for twin, overlap in ((layer, 1.0), (coins, 0.0)):
                seen = recorded(layer, phases, Noise(indistinguishability=overlap))
                torch.testing.assert_close(seen, twin(phases), atol=1e-12, rtol=0)
            assert recorded(coins, phases, Noise()).allclose(coins(phases), atol=1e-12)


def test_loss_takes_every_photon_and_detectors_that_click_see_no_bunching(layer, phases):
    with torch.no_grad():
        ideal = layer(phases)
        lossy = recorded(layer, phases, Noise(brightness=0.5, transmittance=0.4))
        clicks = recorded(layer, phases, Noise(detector="threshold"))
    torch.testing.assert_close(lossy, 0.2**2 * ideal)
    bunched = torch.tensor([max(state) > 1 for state in layer.basis])
    assert clicks[..., bunched].abs().max() == 0
    torch.testing.assert_close(clicks[..., ~bunched], ideal[..., ~bunched])


def test_phase_errors_are_uniform_repeatable_and_leave_the_gradient(layer):
    noise = Noise(phase_error=0.2)
    angles = torch.zeros(2, 4000, dtype=torch.float64, requires_grad=True)
    shifted = perturb(angles, noise, generators(2))
    assert shifted.abs().max() <= 0.2
    assert abs(shifted.std().item() - 0.2 / math.sqrt(3)) < 0.003
    assert torch.equal(shifted, perturb(angles, noise, generators(2)))
    shifted.sum().backward()
    assert (angles.grad == 1).all()


def test_shot_noise_falls_as_one_over_the_root_of_the_shots():
    chances = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64).expand(1, 4000, 3)
    spreads = []
    for n_shots in (10, 100, 1000, 10_000, 100_000):
        seen = draw_features(chances, n_shots, False, generators(seed=n_shots))
        spreads.append(((seen - chances) ** 2).mean().sqrt().item())
        expected = math.sqrt(np.mean([0.09, 0.16, 0.21]) / n_shots)
        assert spreads[-1] == pytest.approx(expected, rel=0.03)
    slope = np.polyfit(np.log([10, 100, 1000, 10_000, 100_000]), np.log(spreads), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.01)


def test_post_selection_divides_by_what_is_left():
    chances = torch.tensor([0.02, 0.03], dtype=torch.float64).expand(1, 500, 2)
    exact = draw_features(chances, None, True, generators())
    torch.testing.assert_close(exact[0, 0], torch.tensor([0.4, 0.6], dtype=torch.float64))
    seen = draw_features(chances, 20, True, generators())[0]
    kept = seen.sum(-1)
    assert set(kept.round(decimals=9).tolist()) == {0.0, 1.0}
    assert (kept == 0).double().mean().item() == pytest.approx(0.95**20, abs=0.07)


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_a_perfect_machine_reproduces_the_ideal_accuracy_exactly(data, space):
    X, y = data
    ideal = PhotonicClassifier(**SMALL, space=space).fit(X[:100], y[:100])
    noisy = NoisyPhotonicClassifier(**SMALL, space=space).fit(X[:100], y[:100])
    assert np.array_equal(noisy.decision_logits(X), ideal.decision_logits(X))
    # and through the whole model, with a deviation that is no deviation
    noisy.module_.quantum.noise = Noise(phase_imprecision=1e-13)
    np.testing.assert_allclose(noisy.decision_logits(X), ideal.decision_logits(X), atol=1e-9)
    assert noisy.score(X, y) == ideal.score(X, y)


@pytest.mark.parametrize("post_select", [True, False])
@pytest.mark.parametrize("n_shots", [None, 100])
def test_total_loss_leaves_one_answer_for_all(data, post_select, n_shots):
    X, y = data
    options = {"transmittance": 0.0, "post_select": post_select, "n_shots": n_shots}
    fit = NoisyPhotonicClassifier(**SMALL, **options).fit(X[:100], y[:100])
    predicted = fit.predict(X)
    assert len(set(predicted)) == 1
    assert fit.score(X, y) == np.mean(y == predicted[0])


def test_frozen_weights_are_those_of_the_ideal_head_bit_for_bit(data):
    X, y = data
    ideal = PhotonicClassifier(**SMALL).fit(X[:60], y[:60], X[60:100], y[60:100])
    noise = {"transmittance": 0.5, "g2": 0.02, "phase_error": 0.1, "n_shots": 50}
    noisy = NoisyPhotonicClassifier(**SMALL, **noise).fit(X[:60], y[:60], X[60:100], y[60:100])
    for name, weights in noisy.ideal().module_.state_dict().items():
        assert torch.equal(weights, ideal.module_.state_dict()[name]), name
    assert noisy.validation_accuracy_ == ideal.validation_accuracy_
    assert np.array_equal(noisy.ideal().predict(X), ideal.predict(X))
    assert np.array_equal(noisy.predict(X), noisy.predict(X))
    assert not np.array_equal(noisy.decision_logits(X), ideal.decision_logits(X))
    count = count_parameters(noisy, X)
    nominal = sum(parameter.numel() for parameter in ideal.module_.parameters())
    expected = count_parameters(ideal, X)
    assert count.nominal.total == nominal
    assert count == expected and count.live.total > 0


@pytest.mark.parametrize("post_select", [True, False])
@pytest.mark.parametrize("model", [MODELS[2], MODELS[5]], ids=str)
def test_a_head_that_moved_into_merlin_answers_as_the_fast_one(data, model, post_select):
    X, y = data
    fit = NoisyPhotonicClassifier(**SMALL, **model, post_select=post_select).fit(X[:60], y[:60])
    head = fit.ideal().module_.double()
    noise = to_noise_model(fit.module_.quantum.noise)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", UserWarning)
        moved = MerlinHead.from_photonic(head, noise=noise, post_select=post_select)
        logits = moved(torch.from_numpy(X[60:100]).double()[None])[0]
    np.testing.assert_allclose(fit.decision_logits(X[60:100]), logits.numpy(), atol=1e-5)
    assert np.array_equal(fit.predict(X[60:100]), fit.classes_[logits.argmax(1).numpy()])


@pytest.mark.parametrize("in_training", [False, True])
def test_a_seed_gives_the_same_noisy_head_alone_and_among_others(data, in_training):
    X, y = data
    estimator = NoisyPhotonicClassifier(
        **SMALL, n_shots=30, phase_error=0.1, noise_in_training=in_training
    )
    splits = [Split(np.arange(60), np.arange(60, 100), np.arange(100, 400))] * 2
    among = fit_many(estimator, X, y, splits, [4, 5])[1]
    alone = clone(estimator).fit(X[:60], y[:60], X[60:100], y[60:100])
    np.testing.assert_allclose(among.decision_logits(X), alone.decision_logits(X), atol=0.05)
    assert among.validation_accuracy_ == pytest.approx(alone.validation_accuracy_, abs=0.05)


def test_training_in_the_noise_is_another_training(data):
    X, y = data
    options = SMALL | {"transmittance": 0.3, "post_select": False, "epochs": 12}
    ideal, noisy = (
        NoisyPhotonicClassifier(**options, noise_in_training=seen).fit(X[:200], y[:200])
        for seen in (False, True)
    )
    assert not torch.equal(ideal.module_.readout.weight, noisy.module_.readout.weight)
    assert noisy.history_["train_loss"].iloc[-1] < noisy.history_["train_loss"].iloc[0]


def test_what_cannot_be_is_refused(data):
    X, y = data
    with pytest.raises(ValueError, match="transmittance must be .* at most 1, not 1.2"):
        Noise(transmittance=1.2)
    with pytest.raises(ValueError, match="g2 must be .* at most 0.5, not 0.7"):
        Noise(g2=0.7)
    with pytest.raises(ValueError, match="detector must be one of"):
        Noise(detector="eye")
    for wrong in ({"twin": "cosine"}, {"readout": "occupation"}, {"n_encoders": 2}):
        with pytest.raises(ValueError, match="single photonic layer"):
            NoisyPhotonicClassifier(**SMALL, **wrong).fit(X[:20], y[:20])
    with pytest.raises(ValueError, match="n_shots must be a whole number, at least 1, not 0"):
        NoisyPhotonicClassifier(**SMALL, n_shots=0).fit(X[:20], y[:20])


# --- processors ---------------------------------------------------------------------------


def test_a_local_processor_agrees_within_shot_noise(data):
    X, y = data
    ideal = PhotonicClassifier(**SMALL).fit(X[:100], y[:100])
    head = MerlinHead.from_photonic(ideal.module_)
    n_shots, inputs = 1000, torch.from_numpy(X[:3])
    for noise in (None, Noise(transmittance=0.5)):
        processor = open_processor("local", n_modes=3, n_photons=2, noise=noise)
        with torch.no_grad():
            phases = head.encoder(inputs.unsqueeze(0))[0]
            exact = head.quantum(phases)
            seen = processor.forward(head.quantum.eval(), phases, nsample=n_shots)
        # five standard errors of a frequency at most, and three counts for rare outputs
        bound = 5 * (exact * (1 - exact) / n_shots).sqrt() + 3 / n_shots
        assert ((seen - exact).abs() <= bound).all()
        torch.testing.assert_close(seen.sum(-1), torch.ones(3))
    logits = head.logits_on(processor, inputs, n_shots)
    assert logits.shape == (3, 2)


def test_a_remote_processor_needs_a_token(monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ValueError, match=f"environment variable {TOKEN_VARIABLE}"):
        open_processor("qpu:belenos", n_modes=3, n_photons=2)
    with pytest.raises(ValueError, match="has its own noise"):
        open_processor("qpu:belenos", n_modes=3, n_photons=2, noise=Noise())


def test_the_token_is_handed_on_and_not_shown(monkeypatch, capsys):
    import merlin
    import perceval

    seen = {}

    class Remote:
        def __init__(self, platform, token):
            seen.update(platform=platform, token=token)

        def min_detected_photons_filter(self, n_photons):
            seen.update(n_photons=n_photons)

    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    monkeypatch.setattr(perceval, "RemoteProcessor", Remote)
    monkeypatch.setattr(merlin, "MerlinProcessor", lambda **options: options)
    opened = open_processor("sim:belenos", n_modes=3, n_photons=2)
    assert seen == {"platform": "sim:belenos", "token": "secret", "n_photons": 2}
    assert opened["token"] == "secret"
    assert "secret" not in "".join(capsys.readouterr())


def test_the_classifiers_machine_is_perfect_where_the_noise_is():
    known = NoisyPhotonicClassifier().get_params()
    assert {name: known[name] for name in asdict(Noise())} == asdict(Noise())
