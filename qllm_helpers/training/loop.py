"""The one training loop: R replicas of any head side by side, each keeping its best weights.

The loss is the sum of the replicas' mean cross-entropies and Adam acts elementwise, so a replica
ends where it would end alone, up to the rounding of batched products (our choice).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from qllm_helpers import checks
from qllm_helpers.heads.base import Head

__all__ = ["TrainingOptions", "TrainingResult", "compute_logits", "train"]

# Keeps the mini-batch stream of a seed apart from the weight stream of the same seed.
_BATCH_STREAM = 1
# Rows (replicas x samples) of one forward pass without gradients: bounds memory, not the result.
_EVALUATION_ROWS = 8192


def resolve_device(name: str) -> torch.device:
    """Torch device called "cpu", "cuda" or "cuda:<index>"; ValueError if it is not available."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"unknown device {name!r}: use 'cpu' or 'cuda'.") from error
    known = {"cpu": 1, "cuda": torch.cuda.device_count()}
    if (device.index or 0) >= known.get(device.type, 0):
        raise ValueError(f"device {name!r} is not available here: use device='cpu'.")
    return device


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; checked when created.

    `lr` and `weight_decay` are those of ``torch.optim.AdamW``: decay apart from the gradient. The
    last mini-batch of an epoch may be smaller than `batch_size`. A replica stops once its best
    epoch is `patience` epochs old; None never stops early. Only every `validate_every`-th epoch and
    the last one are validated. `device` is "cpu" or "cuda"; `progress` shows a bar over epochs.
    """

    epochs: int = 60
    lr: float = 5e-3
    batch_size: int = 32
    weight_decay: float = 0.0
    patience: int | None = None
    validate_every: int = 1
    device: str = "cpu"
    progress: bool = False

    def __post_init__(self):
        checks.integer("epochs", self.epochs)
        checks.integer("batch_size", self.batch_size)
        checks.integer("validate_every", self.validate_every)
        if self.patience is not None:
            checks.integer("patience", self.patience)
        checks.real("lr", self.lr, open_below=True)
        checks.real("weight_decay", self.weight_decay)
        resolve_device(self.device)


@dataclass(frozen=True)
class TrainingResult:
    """What a training run recorded; arrays are (R,), and NaN where nothing was validated.

    The history has one row per replica and epoch until the replica stopped: replica, epoch (from
    1), train_loss (mean over mini-batches, as seen), validation_loss, validation_accuracy.
    """

    history: pd.DataFrame
    best_epoch: np.ndarray
    best_validation_accuracy: np.ndarray
    best_validation_loss: np.ndarray


class BestWeights:
    """Each replica's best weights, as copies: ``state_dict().copy()`` would share live tensors."""

    def __init__(self, parameters: list[Tensor], n_replicas: int, patience: int | None):
        self.parameters = parameters
        self.patience = patience
        self.copies = [parameter.detach().clone() for parameter in parameters]
        self.epoch = np.zeros(n_replicas, dtype=np.int64)
        self.accuracy = np.full(n_replicas, -np.inf)
        self.loss = np.full(n_replicas, np.inf)
        self.active = np.ones(n_replicas, dtype=bool)

    @torch.no_grad()
    def update(self, epoch: int, loss: np.ndarray, accuracy: np.ndarray) -> None:
        """Take the weights of the replicas that improved: accuracy first, then loss, then age."""
        tie = (accuracy == self.accuracy) & (loss < self.loss)
        improved = self.active & ((accuracy > self.accuracy) | tie)
        self.epoch[improved] = epoch
        self.accuracy[improved] = accuracy[improved]
        self.loss[improved] = loss[improved]
        if improved.any():
            # all is also the way for a single replica, whose weights need no dimension for it
            replicas = ... if improved.all() else np.flatnonzero(improved)
            for best, parameter in zip(self.copies, self.parameters, strict=True):
                best[replicas] = parameter[replicas]
        if self.patience is not None:
            self.active &= epoch - self.epoch < self.patience

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best weights back."""
        for best, parameter in zip(self.copies, self.parameters, strict=True):
            parameter.copy_(best)


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
    offsets = torch.arange(head.n_replicas)[:, None] * (X.shape[1] if X.ndim == 3 else 0)
    rows = X.reshape(-1, head.n_features)
    return ReplicaData(rows.to(device), offsets.to(device), labels.long().to(device))


def batches_of_epochs(
    train_index: Tensor, seeds: Sequence[int], batch_size: int, device: torch.device
) -> Iterator[tuple[Tensor, ...]]:
    """Mini-batches (R, B) of each epoch, without end; replica r's order is ``seeds[r]``'s alone."""
    generators = []
    for seed in seeds:
        state = np.random.SeedSequence([seed, _BATCH_STREAM]).generate_state(1, np.uint64)
        generators.append(torch.Generator().manual_seed(int(state[0] >> np.uint64(1))))
    while True:
        order = [torch.randperm(train_index.shape[1], generator=g) for g in generators]
        shuffled = train_index.gather(1, torch.stack(order)).to(device)
        yield shuffled.split(batch_size, dim=1)


def _replica_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy (R,) of logits (R, B, C) and labels (R, B)."""
    losses = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.unflatten(0, labels.shape).mean(1)


def _chunks(rows: Tensor) -> tuple[Tensor, ...]:
    """Parts of an array (R, n, ...) along its samples, each small enough for one pass."""
    return rows.split(max(1, _EVALUATION_ROWS // len(rows)), dim=1)


@torch.no_grad()
def compute_logits(head: Head, X) -> Tensor:
    """Logits (R, n, C) of samples X (n, d) or (R, n, d) in evaluation mode, on the head's device.

    Raises ValueError if X has the wrong width or is not finite.
    """
    X = as_embeddings(X, head).to(next(head.parameters()).device)
    X = X.expand(head.n_replicas, *X.shape[-2:])
    was_training = head.training
    head.eval()
    logits = torch.cat([head(part) for part in _chunks(X)], dim=1)
    head.train(was_training)
    return logits


@torch.no_grad()
def _validate(head: Head, samples: list[Tensor], labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropies and accuracies, float64 (R,), of chunks of samples (R, n, d)."""
    head.eval()
    logits = torch.cat([head(part) for part in samples], dim=1)
    losses = _replica_losses(logits, labels).double()
    accuracies = (logits.argmax(-1) == labels).double().mean(1)
    return losses.cpu().numpy(), accuracies.cpu().numpy()


def _train_epoch(head: Head, data: ReplicaData, batches, optimizer) -> np.ndarray:
    """One pass over the training part; mean training loss, float64 (R,)."""
    head.train()
    total, seen = 0.0, 0
    for index in batches:
        optimizer.zero_grad(set_to_none=True)
        losses = _replica_losses(head(data.take(index)), data.labels[index])
        losses.sum().backward()
        optimizer.step()
        total = total + losses.detach() * index.shape[1]
        seen += index.shape[1]
    return (total / seen).double().cpu().numpy()


def _require_finite(kind: str, losses: np.ndarray, active, seeds, epoch: int) -> None:
    bad = np.flatnonzero(active & ~np.isfinite(losses))
    if bad.size:
        loss, seed = losses[bad[0]], seeds[bad[0]]
        raise ArithmeticError(
            f"the {kind} loss of the replica with seed {seed} is {loss} in epoch {epoch}: lower "
            "lr, add weight_decay, or standardise the features."
        )


def _reached_parameters(head: Head, X: Tensor) -> list[Tensor]:
    """Trainable parameters that the logits depend on; the others keep their first values."""
    parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
    head.eval()  # so that no dropout mask is drawn
    gradients = torch.autograd.grad(head(X).sum(), parameters, allow_unused=True)
    return [p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


def train(
    head: Head, X, y, train_index, validation_index, *, seeds, options: TrainingOptions
) -> TrainingResult:
    """Train all replicas of a head by AdamW on the cross-entropy and keep the best weights of each.

    Training starts from the weights as they are, so call ``head.reset_parameters(seeds)`` first.
    The best epoch of a replica has the highest validation accuracy; ties are broken by the lower
    validation loss, then by the earlier epoch.

    Parameters
    ----------
    head : Head with R replicas
        Changed in place, and moved to ``options.device``.
    X : array (n, d) shared by the replicas, or (R, n, d)
    y : integer array (n,)
        Labels 0 ... C - 1.
    train_index : integer array (R, n_train)
    validation_index : integer array (R, n_validation), or None
        None keeps the last weights.
    seeds : sequence of R non-negative integers
        Replica r's order of mini-batches comes from ``seeds[r]`` alone.
    options : TrainingOptions

    Returns
    -------
    TrainingResult

    Raises
    ------
    ValueError
        If data, indices, seeds or options do not fit together; before any work.
    ArithmeticError
        If a loss becomes NaN or infinite.
    """
    seeds, shape = [int(seed) for seed in seeds], (head.n_replicas, len(y))
    if len(seeds) != head.n_replicas or min(seeds) < 0:
        raise ValueError(f"need {head.n_replicas} non-negative seeds, one per replica: {seeds}.")
    train_index = as_index("train_index", train_index, *shape)
    device = resolve_device(options.device)
    if validation_index is not None:
        validation_index = as_index("validation_index", validation_index, *shape).to(device)
    elif options.patience is not None:
        raise ValueError("patience needs validation data: pass some, or use patience=None.")
    data = prepare(head, X, y, device)
    head.to(device)
    parameters = _reached_parameters(head, data.take(train_index[:, :1].to(device)))
    best = BestWeights(parameters, head.n_replicas, options.patience)
    batches = batches_of_epochs(train_index, seeds, options.batch_size, device)
    history = _run(head, data, batches, validation_index, best, seeds, options)
    head.eval()
    if validation_index is None:
        unknown = np.full(len(seeds), np.nan)
        return TrainingResult(history, np.full(len(seeds), options.epochs), unknown, unknown.copy())
    best.restore()
    return TrainingResult(history, best.epoch, best.accuracy, best.loss)


def _run(head, data, batches, validation_index, best, seeds, options) -> pd.DataFrame:
    """Run the epochs of `train`; the head holds the last weights afterwards, `best` the best."""
    groups = head.parameter_groups(best.parameters, options.lr)
    optimizer = torch.optim.AdamW(groups, weight_decay=options.weight_decay, fused=True)
    if validation_index is not None:
        # Gathered once: they are the same in every epoch.
        samples = [data.take_shared(part) for part in _chunks(validation_index)]
        labels = data.labels[validation_index]
    actives, records = [], []
    epochs = range(1, options.epochs + 1)
    for epoch in tqdm(epochs, desc="training", unit="epoch", disable=not options.progress):
        active = best.active.copy()
        train_loss = _train_epoch(head, data, next(batches), optimizer)
        _require_finite("training", train_loss, active, seeds, epoch)
        loss = accuracy = np.full(len(seeds), np.nan)
        due = epoch % options.validate_every == 0 or epoch == options.epochs
        if due and validation_index is not None:
            loss, accuracy = _validate(head, samples, labels)
            _require_finite("validation", loss, active, seeds, epoch)
            best.update(epoch, loss, accuracy)
        actives.append(active)
        records.append((train_loss, loss, accuracy))
        if not best.active.any():
            break
    replica, epoch = np.nonzero(np.stack(actives, axis=1))
    values = np.stack(records)[epoch, :, replica]
    history = pd.DataFrame({"replica": replica, "epoch": epoch + 1})
    history[["train_loss", "validation_loss", "validation_accuracy"]] = values
    return history
