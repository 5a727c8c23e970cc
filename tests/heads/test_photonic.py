"""Photonic heads and their twins: counts, shapes, replicas, refusals."""

import math

import pytest
import torch

from qllm_helpers.heads.photonic import TWINS, PhotonicHead, SubsetEncoder


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
