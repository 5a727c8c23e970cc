"""Data for the training loop: checked, on the device, addressed by (replica, sample)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qllm_helpers.heads.base import Head

# Keeps the mini-batch stream of a seed apart from the weight stream of the same seed.
_BATCH_STREAM = 1


def resolve_device(name: str) -> torch.device:
    """Torch device called "cpu", "cuda" or "cuda:<index>"; ValueError if it is not available."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"unknown device {name!r}: use 'cpu' or 'cuda'.") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"unsupported device {name!r}: use 'cpu' or 'cuda'.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} is not available here: use device='cpu'.")
    return device


@dataclass(frozen=True)
class ReplicaData:
    """Embeddings and labels on the device, addressed by (replica, sample)."""

    rows: Tensor  # (n, d) shared by the replicas, or (R * n, d)
    offsets: Tensor  # (R, 1): where the rows of a replica start
    labels: Tensor  # (n,)

    def take(self, index: Tensor) -> Tensor:
        """Gather the samples `index` (R, B) as (R, B, d)."""
        flat = (index + self.offsets).flatten()
        return self.rows.index_select(0, flat).unflatten(0, index.shape)

    def take_shared(self, index: Tensor) -> Tensor:
        """`take`, as one array that the replicas share if their samples are the same."""
        if len(self.rows) == len(self.labels) and bool((index == index[:1]).all()):
            return self.rows[index[0]].expand(len(index), -1, -1)
        return self.take(index)


def as_index(name: str, index, n_replicas: int, n_samples: int) -> Tensor:
    """Check an (R, n) index array and return it as an int64 tensor."""
    array = np.asarray(index)
    if array.ndim != 2 or array.shape[0] != n_replicas or array.shape[1] == 0:
        raise ValueError(f"{name} must have shape ({n_replicas}, n > 0), got {array.shape}.")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integers, got {array.dtype}.")
    if array.min() < 0 or array.max() >= n_samples:
        raise ValueError(f"{name} must lie in 0 ... {n_samples - 1}.")
    return torch.from_numpy(array.astype(np.int64))


def as_embeddings(X, head: Head) -> Tensor:
    """Check embeddings (n, d) or (R, n, d) and return them in the precision of the head."""
    dtype = next(head.parameters()).dtype
    # Always a copy: memory of torch's own alignment, so that the vectorised products round the
    # same way wherever the array comes from (a memory map, a slice, another process).
    X = torch.as_tensor(np.require(X, requirements="W") if isinstance(X, np.ndarray) else X)
    X = X.to(dtype, copy=True).contiguous()
    if X.ndim not in (2, 3) or X.shape[-1] != head.n_features:
        raise ValueError(
            f"X must be (n, {head.n_features}) or ({head.n_replicas}, n, {head.n_features}), "
            f"got {tuple(X.shape)}."
        )
    if X.ndim == 3 and X.shape[0] != head.n_replicas:
        raise ValueError(f"X is for {X.shape[0]} replicas, the head has {head.n_replicas}.")
    if not bool(torch.isfinite(X).all()):
        raise ValueError("X contains NaN or infinity: remove those samples before training.")
    return X


def prepare(head: Head, X, y, device: torch.device) -> ReplicaData:
    """Check the data and put it on the device."""
    X = as_embeddings(X, head)
    labels = torch.as_tensor(np.asarray(y))
    if labels.shape != (X.shape[-2],) or labels.is_floating_point():
        raise ValueError(f"y must hold {X.shape[-2]} integer labels, got {tuple(labels.shape)}.")
    if int(labels.min()) < 0 or int(labels.max()) >= head.n_classes:
        raise ValueError(f"labels must lie in 0 ... {head.n_classes - 1}.")
    stride = X.shape[1] if X.ndim == 3 else 0
    offsets = torch.arange(head.n_replicas)[:, None] * stride
    rows = X.reshape(-1, head.n_features)
    return ReplicaData(rows.to(device), offsets.to(device), labels.long().to(device))


def batches_of_epochs(
    train_index: Tensor, seeds: Sequence[int], batch_size: int, device: torch.device
) -> Iterator[tuple[Tensor, ...]]:
    """Mini-batches (R, B) of one epoch after the other, without end.

    An epoch visits every training sample once; replica r draws its order from ``seeds[r]`` alone.
    """
    generators = []
    for seed in seeds:
        state = np.random.SeedSequence([seed, _BATCH_STREAM]).generate_state(1, np.uint64)
        generators.append(torch.Generator().manual_seed(int(state[0] >> np.uint64(1))))
    while True:
        order = [torch.randperm(train_index.shape[1], generator=g) for g in generators]
        shuffled = train_index.gather(1, torch.stack(order)).to(device)
        yield shuffled.split(batch_size, dim=1)
