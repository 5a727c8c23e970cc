"""Heads as files: the same bits back, and one clear error for anything else."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from qllm_helpers import MLPClassifier, PhotonicClassifier, QubitClassifier
from qllm_helpers.classifiers import saved as saved_heads
from qllm_helpers.classifiers.estimators import NoisyPhotonicClassifier, QuadraticFormClassifier
from qllm_helpers.classifiers.saved import FORMAT, load_head, save_head
from qllm_helpers.files import DataError, data_path
from qllm_helpers.text.corpora import shipped_file

SHORT = {"epochs": 2, "random_state": 3}
HEADS = {
    "dense": PhotonicClassifier(n_modes=4, **SHORT),
    "subset": PhotonicClassifier(n_modes=4, encoding="subset", hidden_dim=7, **SHORT),
    "unbunched": PhotonicClassifier(n_modes=4, space="unbunched", **SHORT),
    "occupation": PhotonicClassifier(n_modes=4, readout="occupation", **SHORT),
    "two-stage": PhotonicClassifier(n_modes=3, n_photons=1, n_encoders=2, **SHORT),
    "input state": PhotonicClassifier(n_modes=3, input_state=(1, 1, 0), **SHORT),
    **{
        twin: PhotonicClassifier(n_modes=4, twin=twin, **SHORT)
        for twin in ("cosine", "linear", "frozen", "distinguishable", "identity")
    },
    "noisy": NoisyPhotonicClassifier(
        n_modes=3, n_photons=1, transmittance=0.5, phase_error=0.3, **SHORT
    ),
    "qubits": QubitClassifier(n_qubits=4, n_layers=2, **SHORT),
    "qubits, frozen": QubitClassifier(n_qubits=4, twin="frozen", **SHORT),
    "qubits, quadratic": QubitClassifier(n_qubits=4, twin="quadratic", **SHORT),
    "quadratic": QuadraticFormClassifier(n_forms=2, n_inputs=5, **SHORT),
    "network": MLPClassifier(hidden_dims=(6, 4), **SHORT),
    "linear": MLPClassifier(hidden_dims=(), dropout=0.0, **SHORT),
}


@pytest.fixture(scope="module")
def data():
    draw = np.random.default_rng(0)
    X = draw.normal(size=(30, 12)).astype(np.float32)
    return X, np.array(["no", "perhaps", "yes"])[draw.integers(0, 3, 30)]


@pytest.fixture(scope="module")
def fitted(data):
    return PhotonicClassifier(n_modes=3, n_photons=1, **SHORT).fit(*data)


@pytest.fixture
def path(fitted, tmp_path):
    return save_head(fitted, tmp_path / "head.safetensors")


@pytest.mark.parametrize("name", HEADS)
def test_every_head_comes_back_bit_for_bit(name, data, tmp_path):
    X, y = data
    head = HEADS[name].fit(X, y, X[:9], y[:9])
    path = save_head(head, tmp_path / "head.safetensors")
    again = load_head(path)
    assert np.array_equal(head.predict_proba(X), again.predict_proba(X))
    assert np.array_equal(head.predict(X), again.predict(X))
    assert again.get_params() == head.get_params() and again.family == head.family
    assert again.history_.equals(head.history_)
    assert again.validation_accuracy_ == head.validation_accuracy_
    assert save_head(again, tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_noise_of_a_head_without_a_seed_is_kept(data, tmp_path):
    options = {"n_modes": 3, "phase_error": 0.3, "n_shots": 50, "epochs": 1}
    head = NoisyPhotonicClassifier(random_state=np.random.RandomState(1), **options).fit(*data)
    again = load_head(save_head(head, tmp_path / "h"))
    assert np.array_equal(head.predict_proba(data[0]), again.predict_proba(data[0]))
    assert again.get_params()["random_state"] == head.seed_


def test_names_and_encoder_are_kept(fitted, tmp_path):
    path = save_head(fitted, tmp_path / "h", label_names=["a", "b", "c"], encoder="other")
    again = load_head(path)
    assert (again.label_names_, again.encoder_) == (("a", "b", "c"), "other")
    assert again.classes_.tolist() == ["no", "perhaps", "yes"]


def test_every_flipped_byte_is_noticed(path):
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(bytes(damaged))
        with pytest.raises(DataError, match="cannot be loaded.*Save the head again"):
            load_head(path)


@pytest.mark.parametrize("kept", [0, 5, 8, 100, -1])
def test_truncated_files_are_refused(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="damaged"):
        load_head(path)


def test_foreign_and_missing_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        load_head(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="no head of this package"):
        load_head(data_path(shipped_file("trec")))
    other = tmp_path / "other.safetensors"
    other.write_bytes(save({"w": torch.zeros(3)}, metadata={FORMAT: "[]"}))
    with pytest.raises(DataError, match="no head of this package"):
        load_head(other)
    other.write_text("my notes")
    with pytest.raises(DataError, match="no safetensors file"):
        load_head(other)


def rewritten(path, change, tensors=None):
    """Change the description, and sign the file as if this package had written it."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    entry = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][FORMAT])
    described = json.loads(entry["head"]) | change
    tensors = load(content) if tensors is None else tensors
    text = json.dumps(described, sort_keys=True)
    path.write_bytes(saved_heads._content(tensors, text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "another version"),
        ({"estimator": "LogisticRegression"}, "no estimator of this package"),
        ({"colour": 1}, "no estimator of this package"),
        ({"n_features": 13}, "do not fit together"),
        ({"classes": ["no", "yes"]}, "do not fit together"),
        ({"parameters": {"colour": 1}}, "do not fit together"),
        ({"parameters": {"n_modes": 0}}, "do not fit together"),
    ],
)
def test_files_that_contradict_themselves_are_refused(path, change, message):
    rewritten(path, change)
    with pytest.raises(DataError, match=message):
        load_head(path)


def test_missing_weights_are_refused(path):
    tensors = load(path.read_bytes())
    tensors.pop(min(tensors))
    rewritten(path, {}, tensors)
    with pytest.raises(DataError, match="do not fit together"):
        load_head(path)


def test_what_cannot_be_saved_is_refused_and_nothing_is_written(data, tmp_path):
    path = tmp_path / "head.safetensors"
    with pytest.raises(ValueError, match="a LogisticRegression cannot be saved"):
        save_head(LogisticRegression().fit(*data), path)
    with pytest.raises(NotFittedError):
        save_head(PhotonicClassifier(), path)
    broken = MLPClassifier(hidden_dims=(), epochs=1).fit(*data)
    with pytest.raises(ValueError, match="need 3 label names, got 2"):
        save_head(broken, path, label_names=["a", "b"])
    with torch.no_grad():
        next(broken.module_.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN or infinity"):
        save_head(broken, path)
    assert not path.exists()
