"""Heads with a replica dimension: parameter counts, seeds, dropout, selection of a replica."""

import copy
import math
import pickle

import pytest
import torch

from qllm_helpers.heads.base import (
    MLPHead,
    ReplicaDropout,
    ReplicaLinear,
    expand_replica,
    select_replica,
)
from qllm_helpers.heads.photonic import PhotonicHead
from qllm_helpers.heads.qubit import QuadraticFormHead, QubitHead
from qllm_helpers.results.headline import published_table


def n_parameters(head):
    """Parameters of one replica."""
    return sum(parameter.numel() for parameter in head.parameters()) // head.n_replicas


@pytest.mark.parametrize(
    "hidden_dims, line",
    [((100, 50), "MLP"), ((), "NN[0] (five-fold)"), ((96,), "NN[96] (five-fold)")],
)
def test_published_parameter_counts(hidden_dims, line):
    published = published_table().set_index("label").loc[line, "reported_parameters"]
    assert n_parameters(MLPHead(768, 2, hidden_dims, n_replicas=3)) == published


def test_linear_head_has_only_a_readout():
    assert {name.split(".")[0] for name, _ in MLPHead(4, 2, ()).named_parameters()} == {"readout"}


def test_replica_linear_is_a_stack_of_torch_linears():
    layer = ReplicaLinear(3, 5, 4)
    X = torch.randn(3, 7, 5)
    for r in range(3):
        expected = torch.nn.functional.linear(X[r], layer.weight[r].T, layer.bias[r, 0])
        torch.testing.assert_close(layer(X)[r], expected)
    assert list(dict(ReplicaLinear(3, 5, 4, bias=False).named_parameters())) == ["weight"]


def test_initial_weights_are_distributed_like_torch_linear():
    torch.manual_seed(0)
    ours, theirs = ReplicaLinear(1, 400, 300), torch.nn.Linear(400, 300)
    bound = 1 / math.sqrt(400)
    pairs = [(ours.weight, theirs.weight), (ours.bias, theirs.bias)]
    for a, b in pairs:
        assert a.abs().max() <= bound and b.abs().max() <= bound
        tolerance = 5 * bound / math.sqrt(a.numel())
        assert abs(a.mean() - b.mean()) < tolerance
        assert abs(a.std() - b.std()) < tolerance
        assert a.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_a_replica_has_the_same_weights_alone_and_among_others():
    many, one = MLPHead(6, 3, (5,), n_replicas=3), MLPHead(6, 3, (5,))
    many.reset_parameters([4, 9, 2])
    one.reset_parameters([9])
    for (name, a), (_, b) in zip(many.named_parameters(), one.named_parameters(), strict=True):
        assert torch.equal(a[1:2], b), name
    assert not torch.equal(many.readout.weight[0], many.readout.weight[1])


def test_either_precision_starts_from_the_same_weights():
    single, double = MLPHead(6, 3, (5,)), MLPHead(6, 3, (5,)).double()
    single.reset_parameters([7])
    double.reset_parameters([7])
    torch.testing.assert_close(single.readout.weight.double(), double.readout.weight)


def test_dropout_masks_belong_to_the_replica():
    ones = torch.ones(3, 50, 40)
    many, one = ReplicaDropout(0.3), ReplicaDropout(0.3)
    many.reset_parameters([torch.Generator().manual_seed(seed) for seed in (1, 2, 3)])
    one.reset_parameters([torch.Generator().manual_seed(2)])
    first, second = many(ones), many(ones)
    assert torch.equal(first[1:2], one(ones[:1])) and torch.equal(second[1:2], one(ones[:1]))
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert first.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(many.eval()(ones), ones)


def test_dropout_refuses_unseeded_replicas():
    with pytest.raises(ValueError, match="seeded for 0 replicas"):
        ReplicaDropout(0.3)(torch.ones(2, 1, 4))


@pytest.mark.parametrize("hidden_dims", [(), (5, 4)])
def test_selected_and_expanded_replicas_compute_the_same(hidden_dims):
    head = MLPHead(6, 3, hidden_dims, n_replicas=3).eval()
    X = torch.randn(3, 8, 6)
    logits = head(X)
    one = select_replica(head, 2)
    torch.testing.assert_close(one(X[2:]), logits[2:])
    assert one.n_replicas == one.readout.n_replicas == 1
    per_sample = expand_replica(head, 1, 8)
    torch.testing.assert_close(per_sample(X[1][:, None])[:, 0], logits[1])
    with torch.no_grad():
        one.readout.weight.zero_()
    torch.testing.assert_close(head(X), logits)
    assert head.n_replicas == 3


def test_selection_keeps_frozen_parameters_frozen():
    head = MLPHead(6, 3, (), n_replicas=2)
    head.readout.weight.requires_grad_(False)
    assert not select_replica(head, 0).readout.weight.requires_grad
    assert select_replica(head, 0).readout.bias.requires_grad


def test_heads_can_be_copied_and_pickled_while_training():
    head = MLPHead(6, 3, (5,), n_replicas=2).train()
    X = torch.randn(2, 4, 6)
    head(X)
    for twin in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        torch.testing.assert_close(twin.eval()(X), head.eval()(X))
        head.train()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 2), "n_features"),
        ((4, 1), "n_classes"),
        ((4, 2, (3.5,)), "hidden width"),
        ((4, 2, "wide"), "hidden_dims"),
        ((4, 2, (3,), -0.1), "dropout"),
        ((4, 2, (3,), 0.1, 0), "n_replicas"),
        ((4, 2, (3,), 0.1, True), "n_replicas must be a whole number, at least 1, not True"),
    ],
)
def test_impossible_heads_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLPHead(*arguments)


@pytest.mark.parametrize(
    "build, what",
    [
        (lambda: MLPHead(768, 2, n_replicas=10**9), "n_replicas=1,000,000,000"),
        (lambda: MLPHead(768, 2, (10**12,)), "770,000,000,000,000 weights"),
        (lambda: MLPHead(768, 2, (10**6, 10**6)), "1,000,770,000,000 weights"),
        (lambda: MLPHead(768, 10**12, ()), "1,000,000,000,000 weights"),
        (lambda: ReplicaLinear(10**9, 1, 1), "n_replicas=1,000,000,000"),
        (lambda: PhotonicHead(768, 2, n_replicas=10**9), "n_replicas=1,000,000,000"),
        (lambda: PhotonicHead(768, 2, n_encoders=10**9), "6,144,000,000,000 weights"),
        (lambda: PhotonicHead(768, 2, encoding="subset", hidden_dim=10**12), "weights"),
        (lambda: QubitHead(768, 2, module1="linear", n_replicas=10**9), "n_replicas=1,000,000,000"),
        (lambda: QubitHead(768, 2, n_encoders=10**9, merge="mean"), "n_encoders=1,000,000,000"),
        (lambda: QuadraticFormHead(768, 2, 10**12), "768,000,000,000,000 weights"),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_at_once(refused_at_once, build, what):
    with refused_at_once(rf"{what}.* GiB of memory, and .* are free"):
        build()


def test_seeds_and_replicas_must_match():
    head = MLPHead(4, 2, (), n_replicas=2)
    with pytest.raises(ValueError, match="one seed per replica"):
        head.reset_parameters([1])
    with pytest.raises(IndexError, match="replica must be"):
        select_replica(head, 2)


@pytest.mark.parametrize("n_out", [1, 3, 16, 17])
def test_thin_and_shared_products_are_the_plain_ones(n_out):
    layer = ReplicaLinear(3, 7, n_out).double()
    X = torch.randn(3, 5, 7, dtype=torch.float64, requires_grad=True)
    plain = torch.baddbmm(layer.bias, X, layer.weight)
    torch.testing.assert_close(layer(X), plain)
    inputs = (X, layer.weight, layer.bias)
    ours = torch.autograd.grad(layer(X).square().sum(), inputs)
    torch.testing.assert_close(ours, torch.autograd.grad(plain.square().sum(), inputs))
    shared = X.detach()[:1].expand(3, -1, -1)
    torch.testing.assert_close(layer(shared), layer(shared.contiguous()))
