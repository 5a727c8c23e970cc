"""Layers with a replica dimension: what heads are built of (conventions in `heads`)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["ReplicaDropout", "ReplicaLinear", "require_integer"]


def require_integer(name: str, value: int, minimum: int = 1) -> int:
    """Return `value` as an int, or raise ValueError if it is no integer of at least `minimum`."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = None
    if number is None or number != value or number < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}.")
    return number


# Outputs up to which a batched product is faster with its thin factor laid out the other way.
_THIN = 16


class _ThinProduct(torch.autograd.Function):
    """X (R, B, n_in) times weight (R, n_in, n_out) with few outputs.

    Batched products are two to eight times slower when a factor is a few columns wide than when the
    same factor is a few rows high (measured), so both products with such a factor are turned round.
    """

    @staticmethod
    def forward(context, X, weight):
        context.save_for_backward(X, weight)
        return torch.bmm(X, weight.mT.contiguous().mT)

    @staticmethod
    def backward(context, gradient):
        X, weight = context.saved_tensors
        needs_X, needs_weight = context.needs_input_grad
        return (
            torch.bmm(gradient, weight.mT) if needs_X else None,
            torch.bmm(gradient.mT, X).mT if needs_weight else None,
        )


class ReplicaLinear(nn.Module):
    """R independent affine maps, computed as one batched matrix product.

    Parameters
    ----------
    n_replicas, n_in, n_out : int
        Number of replicas, of inputs and of outputs.
    bias : bool
        Whether to add a trainable offset.

    Attributes
    ----------
    weight : Parameter of shape (R, n_in, n_out)
    bias : Parameter of shape (R, 1, n_out), or None
    """

    def __init__(self, n_replicas: int, n_in: int, n_out: int, bias: bool = True):
        super().__init__()
        self.n_replicas = require_integer("n_replicas", n_replicas)
        self.n_in = require_integer("n_in", n_in)
        self.n_out = require_integer("n_out", n_out)
        self.weight = nn.Parameter(torch.empty(self.n_replicas, self.n_in, self.n_out))
        self.bias = nn.Parameter(torch.empty(self.n_replicas, 1, self.n_out)) if bias else None
        self.reset_parameters([torch.Generator().manual_seed(r) for r in range(self.n_replicas)])

    @torch.no_grad()
    def reset_parameters(self, generators: Sequence[torch.Generator]) -> None:
        """Draw weights and bias uniformly from ±1/sqrt(n_in), as ``torch.nn.Linear`` does.

        Parameters
        ----------
        generators : sequence of R CPU generators
            Replica r draws from ``generators[r]`` only. Draws are float64 and then rounded, so
            heads of either precision start from the same weights.
        """
        bound = 1.0 / math.sqrt(self.n_in)
        for parameter in (self.weight, self.bias):
            if parameter is None:
                continue
            for r, generator in enumerate(generators):
                draw = torch.rand(parameter.shape[1:], generator=generator, dtype=torch.float64)
                parameter[r].copy_((2.0 * draw - 1.0) * bound)

    def forward(self, X: Tensor) -> Tensor:
        """Map (R, B, n_in) to (R, B, n_out)."""
        if self.n_replicas > 1 and X.stride(0) == 0 and not X.requires_grad:
            return self._map_shared(X[0])
        if self.n_out <= _THIN:
            product = _ThinProduct.apply(X, self.weight)
            return product if self.bias is None else product + self.bias
        if self.bias is None:
            return torch.bmm(X, self.weight)
        return torch.baddbmm(self.bias, X, self.weight)

    def _map_shared(self, X: Tensor) -> Tensor:
        """Map samples (B, n_in) that all replicas share, in one product instead of R."""
        weight = self.weight.movedim(0, 1).flatten(1)
        product = (X @ weight).unflatten(1, (self.n_replicas, self.n_out)).movedim(1, 0)
        return product if self.bias is None else product + self.bias

    def extra_repr(self) -> str:
        """Summarise the sizes for ``repr``."""
        return (
            f"n_replicas={self.n_replicas}, n_in={self.n_in}, n_out={self.n_out}, "
            f"bias={self.bias is not None}"
        )


class ReplicaDropout(nn.Module):
    """Inverted dropout whose masks are drawn per replica from the replica's own generator.

    ``torch.nn.Dropout`` draws one mask for the whole batch from the global generator, so the mask
    of a replica would depend on how many others train beside it.

    Parameters
    ----------
    p : float
        Probability of zeroing an activation, in [0, 1).
    """

    def __init__(self, p: float):
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"dropout must be a probability in [0, 1), got {p!r}.")
        self.p = float(p)
        self._seeds: list[int] = []
        self._generators: list[torch.Generator] | None = None

    def reset_parameters(self, generators: Sequence[torch.Generator]) -> None:
        """Seed one mask generator per replica with a number drawn from ``generators[r]``."""
        self._seeds = [
            int(torch.randint(2**62, (), generator=generator)) for generator in generators
        ]
        self._generators = None

    def forward(self, X: Tensor) -> Tensor:
        """Zero a share p of X (R, B, n) and scale the rest by 1 / (1 - p), when training."""
        if not self.training or self.p == 0.0:
            return X
        if self._generators is None:
            self._generators = [torch.Generator().manual_seed(seed) for seed in self._seeds]
        if len(self._generators) != X.shape[0]:
            raise ValueError(
                f"dropout is seeded for {len(self._generators)} replicas but got {X.shape[0]}; "
                "call reset_parameters on the head with one seed per replica."
            )
        # Masks are drawn on the CPU, whatever the device, so the same seed gives the same masks.
        uniform = torch.empty(X.shape, dtype=torch.float32)
        for row, generator in zip(uniform, self._generators, strict=True):
            row.uniform_(generator=generator)
        mask = (uniform >= self.p).to(X.dtype).mul_(1.0 / (1.0 - self.p))
        return X * mask.to(X.device)

    def take_replicas(self, indices: Sequence[int]) -> None:
        """Keep the generators' seeds of the replicas `indices` (masks restart from their seed)."""
        self._seeds = [self._seeds[i] for i in indices]
        self._generators = None

    def __getstate__(self) -> dict:
        """Leave the generators out of copies: they restart from their seeds."""
        return {**self.__dict__, "_generators": None}
