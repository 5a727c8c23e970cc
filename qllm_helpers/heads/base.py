"""Classification heads that train many independent replicas (seeds) side by side.

A head maps embeddings of shape (R, B, d) to logits of shape (R, B, C): R replicas, each with its
own weights and its own batch of B samples. Stacking replicas turns twenty small matrix products
into one batched product, which makes twenty seeds cost far less than twenty runs (our choice).

Three conventions hold for every head and every module inside one:

* every parameter has a leading replica dimension; a buffer has one only if its name is listed in
  the class attribute ``replica_buffers`` of the module that registers it;
* a module that holds random weights has ``reset_parameters(generators)`` and draws the weights of
  replica r from ``generators[r]`` alone, so a replica is the same alone and among others;
* the parts of a head are called ``encoder``, ``quantum`` and ``readout`` (those that exist), which
  is how parameters are attributed to parts.
"""

import copy
import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from qllm_helpers.heads.layers import ReplicaDropout, ReplicaLinear, require_integer

__all__ = ["Head", "MLPHead", "ReplicaDropout", "ReplicaLinear", "expand_replica", "select_replica"]


class Head(nn.Module):
    """Base class of all heads: (R, B, d) embeddings to (R, B, C) logits.

    A subclass builds its parts (``encoder``, ``quantum``, ``readout``), implements ``forward`` and
    ends its constructor with ``self.reset_parameters(range(n_replicas))``.

    Parameters
    ----------
    n_features : int
        Width d of an embedding.
    n_classes : int
        Number of classes C, at least 2.
    n_replicas : int
        Number of replicas R.
    """

    replica_buffers: tuple[str, ...] = ()

    def __init__(self, n_features: int, n_classes: int, n_replicas: int = 1):
        super().__init__()
        self.n_features = require_integer("n_features", n_features)
        self.n_classes = require_integer("n_classes", n_classes, minimum=2)
        self.n_replicas = require_integer("n_replicas", n_replicas)

    def reset_parameters(self, seeds: Sequence[int]) -> None:
        """Draw all weights anew, replica r from a generator seeded with ``seeds[r]`` alone.

        Parameters
        ----------
        seeds : sequence of R non-negative integers

        Raises
        ------
        ValueError
            If there is not exactly one seed per replica.
        """
        seeds = [int(seed) for seed in seeds]
        if len(seeds) != self.n_replicas:
            raise ValueError(f"need one seed per replica: {self.n_replicas}, got {len(seeds)}.")
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        for module in self.modules():
            if module is not self and hasattr(module, "reset_parameters"):
                module.reset_parameters(generators)

    def parameter_groups(self, parameters: list[Tensor], lr: float) -> list[dict]:
        """Groups for the optimiser; a head may give some of its parameters another rate."""
        return [{"params": parameters, "lr": lr}]

    def forward(self, X: Tensor) -> Tensor:
        """Map embeddings (R, B, d) to logits (R, B, C): encoder, then quantum, then readout."""
        for part in ("encoder", "quantum", "readout"):
            module = getattr(self, part, None)
            if module is not None:
                X = module(X)
        return X


class MLPHead(Head):
    """Fully connected network with ReLU and dropout after each hidden layer; () is the linear head.

    The defaults are the network of the earlier reproduction (768-100-50-2, dropout 0.2).

    Parameters
    ----------
    n_features, n_classes, n_replicas : int
        See `Head`.
    hidden_dims : sequence of int
        Widths of the hidden layers; empty for a linear map to the logits.
    dropout : float
        Probability of zeroing a hidden activation while training, in [0, 1).

    Raises
    ------
    ValueError
        If a width is no positive integer or `dropout` no probability below 1.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden_dims: Sequence[int] = (100, 50),
        dropout: float = 0.2,
        n_replicas: int = 1,
    ):
        super().__init__(n_features, n_classes, n_replicas)
        if isinstance(hidden_dims, str) or not isinstance(hidden_dims, Iterable):
            raise ValueError(f"hidden_dims must be a sequence of widths, got {hidden_dims!r}.")
        widths = [self.n_features, *(require_integer("a hidden width", w) for w in hidden_dims)]
        layers = []
        for n_in, n_out in itertools.pairwise(widths):
            layers += [ReplicaLinear(self.n_replicas, n_in, n_out), nn.ReLU()]
            layers += [ReplicaDropout(dropout)]
        if layers:
            self.encoder = nn.Sequential(*layers)
        self.readout = ReplicaLinear(self.n_replicas, widths[-1], self.n_classes)
        self.reset_parameters(range(self.n_replicas))


def _take_replicas(head: Head, indices: Sequence[int]) -> Head:
    """Deep copy of `head` whose replicas are `indices` (repeats allowed)."""
    # The memo hands deepcopy the already sliced tensors, so the full stack is never duplicated.
    memo: dict[int, object] = {}
    index = list(indices)
    for module in head.modules():
        for parameter in module.parameters(recurse=False):
            sliced = parameter.detach()[index]
            memo[id(parameter)] = nn.Parameter(sliced, requires_grad=parameter.requires_grad)
        for name in getattr(module, "replica_buffers", ()):
            buffer = getattr(module, name)
            memo[id(buffer)] = buffer.detach()[index]
    result = copy.deepcopy(head, memo)
    for module in result.modules():
        if hasattr(module, "n_replicas"):
            module.n_replicas = len(index)
        if hasattr(module, "take_replicas"):
            module.take_replicas(index)
    return result


def select_replica(head: Head, replica: int) -> Head:
    """Return replica `replica` of `head` as a head of its own, sharing no memory with it.

    Parameters
    ----------
    head : Head
    replica : int
        Index in 0 ... R - 1.

    Returns
    -------
    Head with ``n_replicas == 1``

    Raises
    ------
    IndexError
        If `head` has no such replica.
    """
    if not 0 <= replica < head.n_replicas:
        raise IndexError(f"replica must be in 0 ... {head.n_replicas - 1}, got {replica}.")
    return _take_replicas(head, [replica])


def expand_replica(head: Head, replica: int, n_copies: int) -> Head:
    """Return a head whose `n_copies` replicas are all copies of replica `replica` of `head`.

    With one replica per sample, one backward pass gives per-sample gradients.
    """
    select = [replica] * require_integer("n_copies", n_copies)
    return _take_replicas(head, select)
