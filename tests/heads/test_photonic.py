"""Photonic heads, their twins, and MerLin's layer in the place of the fast one."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from qllm_helpers.classifiers.estimators import PhotonicClassifier
from qllm_helpers.classifiers.replicated import fit_many
from qllm_helpers.heads.base import select_replica
from qllm_helpers.heads.photonic import TWINS, MerlinHead, PhotonicHead, SubsetEncoder
from qllm_helpers.text.corpora import load_embeddings
from qllm_helpers.text.protocols import paper_split
from qllm_helpers.training.loop import TrainingOptions, train


def _count(head):
    return sum(parameter.numel() for parameter in head.parameters()) // head.n_replicas


def test_subset_encoding_reads_the_bits_of_the_phase_number():
    encoder = SubsetEncoder(1, 4, 8, hidden_dim=100)
    member = encoder._member / math.pi
    subsets = [set(torch.nonzero(member[:, j])[:, 0].tolist()) for j in range(8)]
    assert subsets == [{0}, {1}, {0, 1}, {2}, {0, 2}, {1, 2}, {0, 1, 2}, set()]


def test_subset_encoding_leaves_97_of_100_rows_dead():
    """With the whole linear map written out, as in the earlier reproduction, 97 rows do nothing."""
    head = PhotonicHead(384, 2, 8, 2, encoding="subset", space="unbunched")
    encoder = head.encoder
    X = torch.randn(1, 32, 384, generator=torch.Generator().manual_seed(0))
    weight = torch.cat([encoder.read.weight, encoder.unread.weight], dim=2).detach()
    bias = torch.cat([encoder.read.bias, encoder.unread.bias], dim=2).detach()
    assert weight.shape == (1, 384, 100)
    weight.requires_grad_()
    features = torch.sigmoid(X @ weight + bias)
    member = [[float(phase >> i & 1) for phase in range(1, 8)] + [0.0] for i in range(100)]
    phases = features @ (torch.pi * torch.tensor(member))
    assert torch.allclose(phases, encoder(X), atol=1e-6)
    head.readout(head.quantum(phases)).square().sum().backward()
    alive = weight.grad[0].abs().amax(dim=0) > 0
    assert alive.nonzero()[:, 0].tolist() == [0, 1, 2]


def test_a_subset_encoding_that_reads_every_feature_has_no_others():
    encoder = PhotonicHead(5, 2, 4, 1, encoding="subset", hidden_dim=2).encoder
    assert [name for name, _ in encoder.named_parameters()] == ["read.weight", "read.bias"]


@pytest.mark.parametrize("readout", ["probabilities", "occupation"])
@pytest.mark.parametrize("twin", TWINS, ids=str)
def test_twins_have_the_same_shape_and_as_many_parameters(twin, readout):
    head = PhotonicHead(12, 3, 4, 2, twin=twin, readout=readout, n_replicas=2)
    photonic = PhotonicHead(12, 3, 4, 2, readout=readout)
    assert head(torch.zeros(2, 5, 12)).shape == (2, 5, 3)
    if twin == "identity":
        assert _count(head) == 12 * 4 + 4 + 4 * 3 + 3
    else:
        assert _count(head) == _count(photonic)


def test_only_the_frozen_twin_has_untrained_interferometers():
    for twin in TWINS:
        head = PhotonicHead(6, 2, 4, 2, twin=twin)
        trained = all(parameter.requires_grad for parameter in head.parameters())
        assert trained == (twin != "frozen")


def test_the_linear_twin_reaches_the_linear_map_that_it_equals():
    """Three points apart where its matrices learn at the full rate."""
    data = load_embeddings("trec")
    splits = [paper_split(data.y, seed, samples_per_class=50) for seed in range(3)]
    means = {}
    for twin in ("linear", "identity"):
        options = {"lr": 1e-2, "epochs": 40, "phase_scale": 1.0, "validate_every": 40}
        head = PhotonicClassifier(8, 2, twin=twin, **options)
        fits = fit_many(head, data.X, data.y, splits, range(3))
        scores = [
            f.score(data.X[s.test], data.y[s.test]) for f, s in zip(fits, splits, strict=True)
        ]
        means[twin] = np.mean(scores)
    assert abs(means["linear"] - means["identity"]) < 0.01


@pytest.mark.parametrize("options", [{"twin": twin} for twin in TWINS] + [{"n_encoders": 2}])
def test_a_replica_starts_the_same_alone_and_among_others(options):
    alone, many = (
        PhotonicHead(7, 2, 4, 2, **options),
        PhotonicHead(7, 2, 4, 2, n_replicas=3, **options),
    )
    alone.reset_parameters([11])
    many.reset_parameters([5, 11, 7])
    X = torch.randn(3, 9, 7, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(alone(X[1:2]), many(X)[1:2], atol=1e-6)
    assert not torch.allclose(alone(X[1:2]), many(X[1:2].expand(3, 9, 7))[:1], atol=1e-3)


def test_parallel_heads_read_the_latent_vector_and_the_second_stage():
    for n_encoders in (1, 2):
        head = PhotonicHead(7, 2, 4, 2, n_encoders=n_encoders)
        wide = 4 * n_encoders
        assert _count(head) == 8 * wide + n_encoders * 32 + 2 * wide**2 + 2 * (2 * wide) + 2
        latent = head.quantum.occupation(head.quantum.first[0](torch.rand(1, 6, 4)))
        assert torch.allclose(latent.sum(-1), torch.full((1, 6), 2.0), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "amplitude"}, "encoding must be one of"),
        ({"readout": "parity"}, "readout must be one of"),
        ({"twin": "bigger"}, "twin must be one of"),
        ({"hidden_dim": 50}, "hidden_dim belongs to"),
        (
            {"encoding": "subset", "hidden_dim": 2},
            "hidden_dim for 8 modes must be a .*at least 3, not 2",
        ),
        ({"n_encoders": 0}, "n_encoders must be a whole number, at least 1, not 0"),
        ({"n_encoders": 2, "twin": "cosine"}, "n_encoders needs"),
        ({"n_photons": 9}, "9 photons do not fit"),
    ],
)
def test_impossible_heads_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PhotonicHead(16, 2, **options)


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
