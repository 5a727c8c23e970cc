"""What heads are built of: layers that compute many replicas (seeds) in one batched product."""

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from qllm_helpers import checks

# Outputs up to which a batched product is faster with its thin factor laid out the other way.
_THIN = 16
# State of one random generator on the CPU.
_GENERATOR_BYTES = 2500


def check_weights(n_replicas: int, *sizes: int) -> None:
    """MemoryError if weights, `sizes` numbers in each of the replicas, do not fit into memory."""
    weights = sum(sizes)
    each = weights * torch.get_default_dtype().itemsize + _GENERATOR_BYTES
    # the float64 numbers that one replica's largest tensor is drawn from come on top
    checks.memory(
        f"{weights:,} weights in each of n_replicas={n_replicas:,}",
        n_replicas * each + max(sizes) * torch.float64.itemsize,
    )


@torch.no_grad()
def fill(
    weights: Tensor,
    generators: Sequence[torch.Generator],
    change: Callable[[Tensor], Tensor] = lambda drawn: drawn,
    draw: Callable[..., Tensor] = torch.randn,
) -> None:
    """Fill replica r of weights (R, ...) from ``generators[r]`` with numbers that `change` maps."""
    # drawn in float64 and then rounded, so heads of either precision start alike
    for r, generator in enumerate(generators):
        weights[r] = change(draw(weights.shape[1:], generator=generator, dtype=torch.float64))


class Head(nn.Module):
    """Base class of all heads: (R, B, d) embeddings to (R, B, C) logits.

    A subclass builds its parts, called ``encoder``, ``quantum`` and ``readout`` (those that exist;
    parameters are counted by these names), implements ``forward`` unless the parts are applied one
    after the other, and ends its constructor with ``self.reset_parameters(range(n_replicas))``.
    Every parameter has a leading replica dimension; a buffer has one only if the module that
    registers it names it in ``replica_buffers``. A module that holds random weights has
    ``reset_parameters(generators)`` and draws replica r from ``generators[r]`` alone, so a replica
    is the same alone and among others.

    Parameters
    ----------
    n_features, n_classes, n_replicas : int
        Width d of an embedding; number of classes C, at least 2; number of replicas R.

    Raises
    ------
    ValueError, MemoryError
        If a number is out of range; if the weights do not fit into memory, before any allocation.
    """

    replica_buffers: tuple[str, ...] = ()
    #: Fixed numbers that the outputs of a part are multiplied by.
    scales: dict[str, float] = {}

    def __init__(self, n_features: int, n_classes: int, n_replicas: int = 1):
        super().__init__()
        self.n_features = checks.integer("n_features", n_features)
        self.n_classes = checks.integer("n_classes", n_classes, 2)
        self.n_replicas = checks.integer("n_replicas", n_replicas)
        check_weights(self.n_replicas, self.n_classes)

    def reset_parameters(self, seeds: Sequence[int]) -> None:
        """Draw all weights anew, replica r from a generator seeded with ``seeds[r]`` alone."""
        seeds = [int(seed) for seed in seeds]
        if len(seeds) != self.n_replicas:
            raise ValueError(f"need one seed per replica: {self.n_replicas}, got {len(seeds)}.")
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        for module in self.modules():
            if module is not self and hasattr(module, "reset_parameters"):
                module.reset_parameters(generators)

    def parameter_groups(self, parameters: list[Tensor], lr: float) -> list[dict]:
        """Groups for the optimiser; a head may give some of its parameters another rate."""
        # Weight decay is for linear maps: angles of a circuit have no size to keep small.
        quantum = getattr(self, "quantum", None)
        angles = set() if quantum is None else {id(one) for one in quantum.parameters()}
        maps = [one for one in parameters if id(one) not in angles]
        rest = [one for one in parameters if id(one) in angles]
        return [{"params": maps, "lr": lr}, {"params": rest, "lr": lr, "weight_decay": 0.0}]

    def check_inputs(self, X) -> None:
        """Warn of samples (n, d) or (R, n, d) at whose scale the head cannot learn."""

    def features(self, X: Tensor) -> Tensor:
        """What the readout sees, (R, B, N): encoder, then quantum, times their ``scales``."""
        for part in ("encoder", "quantum"):
            module = getattr(self, part, None)
            if module is not None:
                X = module(X)
                X = X * self.scales[part] if part in self.scales else X
        return X

    def forward(self, X: Tensor) -> Tensor:
        """Map embeddings (R, B, d) to logits (R, B, C)."""
        return self.readout(self.features(X))


class _ThinProduct(torch.autograd.Function):
    # Batched products are two to eight times slower when a factor is a few columns wide than when
    # it is a few rows high (measured), so both products with such a factor are turned round.
    @staticmethod
    def forward(context, X, weight):
        context.save_for_backward(X, weight)
        return torch.bmm(X, weight.mT.contiguous().mT)

    @staticmethod
    def backward(context, gradient):
        X, weight = context.saved_tensors
        needs_X, needs_weight = context.needs_input_grad
        by_X = torch.bmm(gradient, weight.mT) if needs_X else None
        return by_X, torch.bmm(gradient.mT, X).mT if needs_weight else None


class ReplicaLinear(nn.Module):
    """R independent affine maps, computed as one batched matrix product.

    Parameters
    ----------
    n_replicas, n_in, n_out : int
        Number of replicas, of inputs and of outputs: the ``weight`` is (R, n_in, n_out).
    bias : bool
        Whether to add a trainable offset, ``bias``, (R, 1, n_out); otherwise that is None.
    """

    def __init__(self, n_replicas: int, n_in: int, n_out: int, bias: bool = True):
        super().__init__()
        self.n_replicas = checks.integer("n_replicas", n_replicas)
        self.n_in = checks.integer("n_in", n_in)
        self.n_out = checks.integer("n_out", n_out)
        check_weights(self.n_replicas, self.n_in * self.n_out)
        self.weight = nn.Parameter(torch.empty(self.n_replicas, self.n_in, self.n_out))
        self.bias = nn.Parameter(torch.empty(self.n_replicas, 1, self.n_out)) if bias else None
        self.reset_parameters([torch.Generator().manual_seed(r) for r in range(self.n_replicas)])

    def reset_parameters(self, generators: Sequence[torch.Generator]) -> None:
        """Draw weights and bias uniformly from ±1/sqrt(n_in), as ``torch.nn.Linear`` does."""
        bound = 1.0 / math.sqrt(self.n_in)
        for parameter in self.parameters():
            fill(parameter, generators, lambda u: u.mul_(2.0).sub_(1.0).mul_(bound), torch.rand)

    def forward(self, X: Tensor) -> Tensor:
        """Map (R, B, n_in) to (R, B, n_out)."""
        if self.n_replicas > 1 and X.stride(0) == 0 and not X.requires_grad:
            # samples that all replicas share: one product instead of R
            weight = self.weight.movedim(0, 1).flatten(1)
            product = (X[0] @ weight).unflatten(1, (self.n_replicas, self.n_out)).movedim(1, 0)
        elif self.n_out <= _THIN:
            product = _ThinProduct.apply(X, self.weight)
        elif self.bias is None:
            return torch.bmm(X, self.weight)
        else:
            return torch.baddbmm(self.bias, X, self.weight)
        return product if self.bias is None else product + self.bias


class DrawingModule(nn.Module):
    """Draws while it computes, replica r from a stream of its own; in a copy they start anew."""

    _seeds: Sequence[int] = ()
    _streams: list | None = None

    def reset_parameters(self, generators: Sequence[torch.Generator]) -> None:
        """Take the seed of replica r's stream from ``generators[r]``."""
        self._seeds, self._streams = [self._seed_from(one) for one in generators], None

    def take_replicas(self, indices: Sequence[int]) -> None:
        """Keep the seeds of the replicas `indices`."""
        self._seeds, self._streams = [self._seeds[i] for i in indices], None

    def streams(self) -> list:
        """The streams of all replicas."""
        if self._streams is None:
            self._streams = [self._stream(seed) for seed in self._seeds]
        return self._streams

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_streams": None}


class ReplicaDropout(DrawingModule):
    """Inverted dropout with probability p and a generator for each replica."""

    # With torch.nn.Dropout's global generator masks would depend on the number of replicas.
    def __init__(self, p: float):
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"dropout must be a probability in [0, 1), got {p!r}.")
        self.p = float(p)

    def _seed_from(self, generator: torch.Generator) -> int:
        return int(torch.randint(2**62, (), generator=generator))

    def _stream(self, seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    def forward(self, X: Tensor) -> Tensor:
        """Zero a share p of X (R, B, n) and scale the rest by 1 / (1 - p), when training."""
        if not self.training or self.p == 0.0:
            return X
        if len(self._seeds) != X.shape[0]:
            found = f"for {len(self._seeds)} replicas, not {X.shape[0]}"
            raise ValueError(f"dropout is seeded {found}: call reset_parameters first.")
        # Masks are drawn on the CPU, whatever the device, so the same seed gives the same masks.
        uniform = torch.empty(X.shape, dtype=torch.float32)
        for row, generator in zip(uniform, self.streams(), strict=True):
            row.uniform_(generator=generator)
        mask = (uniform >= self.p).to(X.dtype).mul_(1.0 / (1.0 - self.p))
        return X * mask.to(X.device)


class MLPHead(Head):
    """Fully connected network of the earlier reproduction; () is the linear head."""

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
        widths = [self.n_features, *(checks.integer("a hidden width", w) for w in hidden_dims)]
        # all layers together, before the first one is drawn
        sizes = (a * b for a, b in itertools.pairwise([*widths, self.n_classes]))
        check_weights(self.n_replicas, *sizes)
        layers = []
        for n_in, n_out in itertools.pairwise(widths):
            linear = ReplicaLinear(self.n_replicas, n_in, n_out)
            layers += [linear, nn.ReLU(), ReplicaDropout(dropout)]
        if layers:
            self.encoder = nn.Sequential(*layers)
        self.readout = ReplicaLinear(self.n_replicas, widths[-1], self.n_classes)
        self.reset_parameters(range(self.n_replicas))


def expand_replica(head: Head, replica: int, n_copies: int) -> Head:
    """A head whose `n_copies` replicas are all copies of replica `replica` of `head`."""
    # The memo hands deepcopy the already sliced tensors, so the full stack is never duplicated.
    memo, index = {}, [replica] * checks.integer("n_copies", n_copies)
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
    """Replica `replica` of `head` as a head of its own (R = 1), sharing no memory with it."""
    if not 0 <= replica < head.n_replicas:
        raise IndexError(f"replica must be in 0 ... {head.n_replicas - 1}, got {replica}.")
    return expand_replica(head, replica, 1)
