"""MerLin's layer in the one training loop is the fast head, only slower."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from qllm_helpers.heads.base import select_replica
from qllm_helpers.heads.photonic import MerlinHead, PhotonicHead
from qllm_helpers.training.loop import TrainingOptions, train

DOUBLE = {"dtype": torch.float64}


@pytest.fixture
def data():
    draw = np.random.default_rng(0)
    X = draw.normal(size=(60, 5))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int), np.arange(40)[None], np.arange(40, 60)[None]


def as_inputs(X):
    return torch.from_numpy(X).unsqueeze(0)


@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_same_seed_gives_the_weights_and_the_function_of_the_fast_head(
    data, space, dtype, tolerance
):
    slow = MerlinHead(5, 2, 4, 2, space=space, dtype=dtype)
    fast = PhotonicHead(5, 2, 4, 2, space=space).to(dtype)
    slow.reset_parameters([7])
    with torch.no_grad():
        fast.reset_parameters([7])
        inputs = as_inputs(data[0]).to(dtype)
        assert slow(inputs).shape == (1, 60, 2)
        assert slow(inputs).dtype == dtype
        torch.testing.assert_close(slow(inputs), fast(inputs), atol=tolerance, rtol=0)


def test_conversion_goes_both_ways(data):
    several = PhotonicHead(5, 3, 3, 2, input_state=(0, 2, 0), n_replicas=2).double()
    slow = MerlinHead.from_photonic(several, replica=1)
    back = slow.to_photonic()
    alone = select_replica(several, 1)
    for name, weights in back.state_dict().items():
        assert torch.equal(weights, alone.state_dict()[name]), name
    inputs = as_inputs(data[0])
    torch.testing.assert_close(slow(inputs), alone(inputs), atol=1e-10, rtol=0)


def test_training_follows_the_fast_head_and_restores_the_best_weights(data):
    X, y, train_index, validation_index = data
    options = TrainingOptions(epochs=6, lr=0.02)
    results = []
    for head in (MerlinHead(5, 2, 3, 2, **DOUBLE), PhotonicHead(5, 2, 3, 2).double()):
        head.reset_parameters([3])
        result = train(head, X, y, train_index, validation_index, seeds=[3], options=options)
        predicted = head(as_inputs(X[40:])).argmax(-1)[0].numpy()
        assert (predicted == y[40:]).mean() == result.best_validation_accuracy[0]
        results.append(result)
    slow, fast = (result.history.to_numpy() for result in results)
    np.testing.assert_allclose(slow, fast, atol=1e-9)
    assert results[0].best_epoch == results[1].best_epoch


def test_noise_is_merlins(data):
    import perceval

    noise = perceval.NoiseModel(indistinguishability=0)
    slow = MerlinHead(5, 2, 3, 2, noise=noise, **DOUBLE)
    classical = PhotonicHead(5, 2, 3, 2, twin="distinguishable").double()
    classical.load_state_dict(slow.to_photonic().state_dict())
    inputs = as_inputs(data[0])
    torch.testing.assert_close(slow(inputs), classical(inputs), atol=1e-10, rtol=0)


def test_what_one_circuit_cannot_do_is_refused():
    with pytest.raises(ValueError, match="one circuit, not n_replicas=2"):
        MerlinHead(5, 2, n_replicas=2)
    with pytest.raises(ValueError, match="photons do not fit"):
        MerlinHead(5, 2, 2, 3)
    with pytest.raises(ValueError, match="one seed per replica"):
        MerlinHead(5, 2, 2, 1).reset_parameters([0, 1])
    with pytest.raises(ValueError, match="to_photonic"):
        select_replica(MerlinHead(5, 2, 2, 1), 0)
    for options in ({"encoding": "subset"}, {"twin": "cosine"}, {"readout": "occupation"}):
        with pytest.raises(ValueError, match="MerLin counterpart"):
            MerlinHead.from_photonic(PhotonicHead(5, 2, 3, 1, **options))
    with pytest.raises(ValueError, match="replica must be a whole number, 0 to 0, not 1"):
        MerlinHead.from_photonic(PhotonicHead(5, 2, 3, 1), 1)


def test_importing_the_module_does_not_import_merlin():
    code = "import sys, qllm_helpers.heads.photonic\n"
    code += "assert not {'merlin', 'perceval'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
