"""The scikit-learn classifiers: conventions, seeds, and many fits in one run."""

import warnings
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from qllm_helpers.classifiers.estimators import (
    MLPClassifier,
    NoisyPhotonicClassifier,
    PhotonicClassifier,
    QubitClassifier,
)
from qllm_helpers.classifiers.replicated import fit_many
from qllm_helpers.heads.qubit import QubitOptions
from qllm_helpers.photons.noise import Noise
from qllm_helpers.text.corpora import load_embeddings
from qllm_helpers.text.protocols import paper_split

SMALL_MLP = MLPClassifier(hidden_dims=(16,), dropout=0.1, epochs=15, lr=5e-3)
SMALL_PHOTONIC = PhotonicClassifier(n_modes=4, n_photons=2, epochs=20, lr=3e-2)


@pytest.fixture(scope="module")
def blobs():
    """Four overlapping classes in six dimensions, with string labels."""
    X, y = make_blobs(240, n_features=6, centers=4, cluster_std=3.0, random_state=0)
    return (X / 10).astype(np.float32), np.array(["a", "b", "c", "d"])[y]


def split_of(y, seed):
    """Train and validation indices of one seed."""
    train, validation = train_test_split(np.arange(len(y)), test_size=60, random_state=seed)
    return SimpleNamespace(train=train, validation=validation)


@parametrize_with_checks([SMALL_MLP, SMALL_PHOTONIC, QubitClassifier(4)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("estimator", "options"), [(QubitClassifier, QubitOptions), (NoisyPhotonicClassifier, Noise)]
)
def test_parameters_are_those_of_the_options_and_checked_with_them(estimator, options, blobs):
    known = estimator().get_params()
    wrong = {name: "no such value" for name in ("merge", "detector") if name in known}
    assert asdict(options()).keys() <= known.keys()
    assert estimator(**wrong).get_params() == known | wrong  # stored, not checked
    with pytest.raises(ValueError, match="must be one of"):
        estimator(**wrong).fit(*blobs)


@pytest.mark.parametrize("estimator", [SMALL_MLP, SMALL_PHOTONIC], ids=["mlp", "photonic"])
def test_many_equals_one(estimator, blobs):
    X, y = blobs
    seeds = [3, 11, 3]
    splits = [split_of(y, 0), split_of(y, 1), split_of(y, 2)]
    many = fit_many(estimator, X, y, splits, seeds)
    for seed, split, fitted in zip(seeds, splits, many, strict=True):
        alone = clone(estimator).set_params(random_state=seed)
        alone.fit(X[split.train], y[split.train], X[split.validation], y[split.validation])
        np.testing.assert_allclose(fitted.predict_proba(X), alone.predict_proba(X), atol=1e-4)
        assert fitted.best_epoch_ == alone.best_epoch_
        assert fitted.validation_accuracy_ == alone.validation_accuracy_
        np.testing.assert_allclose(fitted.history_, alone.history_, atol=1e-4)
        assert list(fitted.history_) == list(alone.history_)
        assert fitted.get_params() == alone.get_params()


def test_one_seed_of_many_gives_the_same_bits_as_fit(blobs):
    X, y = blobs
    split = split_of(y, 5)
    (fitted,) = fit_many(SMALL_MLP, X, y, [split], [3])
    alone = clone(SMALL_MLP).set_params(random_state=3)
    alone.fit(X[split.train], y[split.train], X[split.validation], y[split.validation])
    np.testing.assert_array_equal(fitted.predict_proba(X), alone.predict_proba(X))


def test_features_of_their_own_for_every_replica(blobs):
    X, y = blobs
    split = split_of(y, 0)
    stacked = np.stack([X, X[:, ::-1]])
    first, second = fit_many(SMALL_MLP, stacked, y, [split, split], [1, 1])
    (alone,) = fit_many(SMALL_MLP, stacked[1], y, [split], [1])
    np.testing.assert_allclose(
        second.predict_proba(stacked[1]), alone.predict_proba(stacked[1]), atol=2e-5
    )
    assert not np.allclose(
        first.module_.readout.weight.detach(), second.module_.readout.weight.detach()
    )


def test_random_state_may_be_a_generator_or_nothing(blobs):
    X, y = blobs
    quick = clone(SMALL_MLP).set_params(epochs=1)
    same = [
        clone(quick).set_params(random_state=np.random.RandomState(4)).fit(X, y).predict_proba(X)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*same)
    a, b = (clone(quick).fit(X, y).predict_proba(X) for _ in range(2))
    assert not np.array_equal(a, b)


def test_validation_accuracy_is_the_score_of_the_kept_weights(blobs):
    X, y = blobs
    split = split_of(y, 0)
    model = clone(SMALL_MLP).set_params(random_state=0, lr=0.05)
    model.fit(X[split.train], y[split.train], X[split.validation], y[split.validation])
    assert model.score(X[split.validation], y[split.validation]) == model.validation_accuracy_
    assert model.history_["validation_accuracy"].max() == model.validation_accuracy_
    assert model.module_.n_replicas == 1 and not model.module_.training


def test_without_validation_data_the_last_weights_stay(blobs):
    X, y = blobs
    model = clone(SMALL_MLP).set_params(random_state=0).fit(X, y)
    assert model.best_epoch_ == model.epochs == len(model.history_)
    assert np.isnan(model.validation_accuracy_)
    assert model.history_["validation_loss"].isna().all()


def test_pipeline_and_grid_search(blobs):
    X, y = blobs
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((), epochs=10, random_state=0))
    search = GridSearchCV(pipeline, {"mlpclassifier__lr": [1e-3, 5e-2]}, cv=2).fit(X, y)
    assert search.best_params_["mlpclassifier__lr"] == 5e-2
    assert search.score(X, y) > 0.8


BAD_DATA = {
    "nan": (lambda X, y: (np.full_like(X, np.nan), y), "NaN"),
    "one class": (lambda X, y: (X, np.zeros(len(X), int)), "2 classes"),
    "continuous labels": (lambda X, y: (X, np.linspace(0, 1, len(X))), "continuous"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused(case, blobs):
    change, message = BAD_DATA[case]
    with pytest.raises(ValueError, match=message):
        clone(SMALL_MLP).fit(*change(*blobs))


def test_wrong_width_and_unknown_validation_labels_are_refused(blobs):
    X, y = blobs
    model = clone(SMALL_MLP).set_params(epochs=1)
    with pytest.raises(ValueError, match="6 features"):
        model.fit(X, y).predict(X[:, :5])
    with pytest.raises(ValueError, match="features"):
        model.fit(X, y, X[:, :5], y)
    with pytest.raises(ValueError, match=r"y_val holds labels that y does not: \['z'\]"):
        model.fit(X, y, X, np.full(len(y), "z"))
    with pytest.raises(ValueError, match="both"):
        model.fit(X, y, X)


BAD_PARAMETERS = [
    (MLPClassifier(hidden_dims=(0,)), "hidden width"),
    (MLPClassifier(hidden_dims=5), "hidden_dims"),
    (MLPClassifier(dropout=1.0), "dropout"),
    (MLPClassifier(epochs=0), "epochs"),
    (MLPClassifier(epochs=True), "epochs must be .* not True"),
    (MLPClassifier(lr=-1.0), "lr"),
    (MLPClassifier(batch_size=0), "batch_size"),
    (MLPClassifier(weight_decay=-1.0), "weight_decay"),
    (MLPClassifier(patience=3), "validation"),
    (MLPClassifier(device="abacus"), "device"),
    (MLPClassifier(random_state=-1), "2..32"),
    (PhotonicClassifier(n_modes=1, n_photons=1), "modes"),
    (PhotonicClassifier(n_modes=4, n_photons=5, space="unbunched"), "photons"),
    (PhotonicClassifier(n_modes=4, n_photons=0), "photons"),
    (PhotonicClassifier(encoding="mystery"), "encoding"),
]


@pytest.mark.parametrize("estimator, message", BAD_PARAMETERS)
def test_bad_parameters_are_refused_before_training(estimator, message, blobs):
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(*blobs)
    assert not hasattr(estimator, "module_")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_unavailable_device_is_named(blobs):
    with pytest.raises(ValueError, match="'cuda' is not available"):
        MLPClassifier(device="cuda").fit(*blobs)


def test_fit_many_refuses_what_cannot_be_stacked(blobs):
    X, y = blobs
    split = split_of(y, 0)
    shorter = SimpleNamespace(train=split.train[1:], validation=split.validation)
    lacking = SimpleNamespace(train=split.train[y[split.train] != "a"], validation=None)
    with pytest.raises(ValueError, match="one size"):
        fit_many(SMALL_MLP, X, y, [split, shorter], [0, 1])
    with pytest.raises(ValueError, match="one seed per split"):
        fit_many(SMALL_MLP, X, y, [split, split], [0])
    with pytest.raises(ValueError, match="every class"):
        fit_many(SMALL_MLP, X, y, [lacking], [0])


def test_defaults_are_settings_that_learn():
    # one draw of the paper's protocol, where logistic regression has 0.88
    data = load_embeddings("sst2")
    part = paper_split(data.y, 0)
    for head in (PhotonicClassifier(), QubitClassifier(), MLPClassifier()):
        head.set_params(random_state=0).fit(data.X[part.train], data.y[part.train])
        least = 0.83 if isinstance(head, QubitClassifier) else 0.87
        assert head.score(data.X[part.test], data.y[part.test]) > least


def test_inputs_whose_phases_wrap_get_a_warning(blobs):
    X, y = blobs
    with pytest.warns(UserWarning, match="standardise the features"):
        PhotonicClassifier(4, 1, epochs=1).fit(1000 * X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PhotonicClassifier(4, 1, epochs=1).fit(X / X.std(), y)
