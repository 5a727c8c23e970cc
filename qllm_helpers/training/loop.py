"""The one training loop: R replicas of any head side by side, each keeping its best weights.

Replicas share a Python step but nothing else: the loss is the sum over replicas of each replica's
mean cross-entropy, so the gradient of one replica does not see the others, Adam acts elementwise,
and the order of mini-batches, the initial weights and the dropout masks of a replica come from its
own seed. A replica therefore ends where it would end alone, up to the rounding of batched products
(our choice).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from qllm_helpers import checks
from qllm_helpers.heads.base import Head
from qllm_helpers.training.batches import (
    ReplicaData,
    as_embeddings,
    as_index,
    batches_of_epochs,
    prepare,
    resolve_device,
)

__all__ = ["TrainingOptions", "TrainingResult", "compute_logits", "train"]

# Rows (replicas x samples) of one forward pass without gradients: bounds memory, not the result.
_EVALUATION_ROWS = 8192


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; checked when created.

    `lr` and `weight_decay` are those of ``torch.optim.Adam``. The last mini-batch of an epoch may
    be smaller than `batch_size`. A replica stops once its best epoch is `patience` epochs old; None
    never stops early. `device` is "cpu" or "cuda"; `progress` shows a bar over epochs.
    """

    epochs: int = 60
    lr: float = 5e-3
    batch_size: int = 32
    weight_decay: float = 0.0
    patience: int | None = None
    device: str = "cpu"
    progress: bool = False

    def __post_init__(self):
        checks.integer("epochs", self.epochs)
        checks.integer("batch_size", self.batch_size)
        if self.patience is not None:
            checks.integer("patience", self.patience)
        checks.real("lr", self.lr, open_below=True)
        checks.real("weight_decay", self.weight_decay)
        resolve_device(self.device)


@dataclass(frozen=True)
class TrainingResult:
    """What a training run recorded; arrays are (R,).

    The tidy history has one row per replica and epoch until the replica stopped: replica, epoch
    (from 1), train_loss (mean over the epoch's mini-batches, as they were seen), validation_loss
    and validation_accuracy (fraction). The head holds the weights of `best_epoch`. What belongs to
    validation is NaN without validation data.
    """

    history: pd.DataFrame
    best_epoch: np.ndarray
    best_validation_accuracy: np.ndarray
    best_validation_loss: np.ndarray


class BestWeights:
    """Own copy of each replica's best weights, and when it was taken.

    The weights are real copies: a ``state_dict().copy()`` keeps references to the live tensors, and
    what it "restores" are the last weights (a trap in the earlier reproduction).
    """

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
        if improved.all():
            # also the way for a single replica, whose weights need no dimension for it
            for best, parameter in zip(self.copies, self.parameters, strict=True):
                best.copy_(parameter)
        elif improved.any():
            replicas = torch.from_numpy(np.flatnonzero(improved)).to(self.copies[0].device)
            for best, parameter in zip(self.copies, self.parameters, strict=True):
                best[replicas] = parameter[replicas]
        if self.patience is not None:
            self.active &= epoch - self.epoch < self.patience

    @torch.no_grad()
    def restore(self) -> None:
        """Write the best weights back into the head."""
        for best, parameter in zip(self.copies, self.parameters, strict=True):
            parameter.copy_(best)


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

    Computed in chunks. Raises ValueError if X has the wrong width or is not finite.
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
    """Cross-entropy and accuracy (fraction), both float64 (R,), of chunks of samples (R, n, d)."""
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
    """Raise ArithmeticError naming the first active replica whose loss is NaN or infinite."""
    bad = np.flatnonzero(active & ~np.isfinite(losses))
    if bad.size:
        raise ArithmeticError(
            f"the {kind} loss of the replica with seed {seeds[bad[0]]} is {losses[bad[0]]} in "
            f"epoch {epoch}: lower lr, add weight_decay, or standardise the features."
        )


def _check_run(head: Head, y, train_index, validation_index, seeds, options) -> tuple:
    """Check indices and seeds; return (train index, validation index or None, seeds)."""
    seeds = [int(seed) for seed in seeds]
    if len(seeds) != head.n_replicas or min(seeds) < 0:
        raise ValueError(f"need {head.n_replicas} non-negative seeds, one per replica: {seeds}.")
    train_index = as_index("train_index", train_index, head.n_replicas, len(y))
    if validation_index is not None:
        validation_index = as_index("validation_index", validation_index, head.n_replicas, len(y))
    elif options.patience is not None:
        raise ValueError("patience needs validation data: pass some, or use patience=None.")
    return train_index, validation_index, seeds


def _reached_parameters(head: Head, X: Tensor) -> list[Tensor]:
    """Trainable parameters that the logits depend on; the others keep their first values."""
    parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
    head.eval()  # so that no dropout mask is drawn
    gradients = torch.autograd.grad(head(X).sum(), parameters, allow_unused=True)
    return [p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


def _epochs(options: TrainingOptions):
    """Epoch numbers from 1, as a progress bar if asked for."""
    epochs = range(1, options.epochs + 1)
    if not options.progress:
        return epochs
    from tqdm.auto import tqdm

    return tqdm(epochs, desc="training", unit="epoch")


def train(
    head: Head, X, y, train_index, validation_index, *, seeds, options: TrainingOptions
) -> TrainingResult:
    """Train all replicas of a head by Adam on the cross-entropy and keep the best weights of each.

    Training starts from the weights as they are: call ``head.reset_parameters(seeds)`` first for a
    fresh start.
    After each epoch every replica is validated, and the weights of its best epoch are kept: highest
    validation accuracy, ties broken by lower validation loss, then by the earlier epoch.

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
    train_index, validation_index, seeds = _check_run(
        head, y, train_index, validation_index, seeds, options
    )
    device = resolve_device(options.device)
    data = prepare(head, X, y, device)
    head.to(device)
    parameters = _reached_parameters(head, data.take(train_index[:, :1].to(device)))
    best = BestWeights(parameters, head.n_replicas, options.patience)
    batches = batches_of_epochs(train_index, seeds, options.batch_size, device)
    if validation_index is not None:
        validation_index = validation_index.to(device)
    history = _run(head, data, batches, validation_index, best, seeds, options)
    head.eval()
    if validation_index is None:
        unknown = np.full(len(seeds), np.nan)
        last = np.full(len(seeds), options.epochs)
        return TrainingResult(history, last, unknown, unknown.copy())
    best.restore()
    return TrainingResult(history, best.epoch, best.accuracy, best.loss)


def _run(head, data, batches, validation_index, best, seeds, options) -> pd.DataFrame:
    """Run the epochs of `train`; the head holds the last weights afterwards, `best` the best."""
    groups = head.parameter_groups(best.parameters, options.lr)
    optimizer = torch.optim.Adam(groups, weight_decay=options.weight_decay, fused=True)
    if validation_index is not None:
        # Gathered once: they are the same in every epoch.
        samples = [data.take_shared(part) for part in _chunks(validation_index)]
        labels = data.labels[validation_index]
    loss = accuracy = np.full(len(seeds), np.nan)
    actives, records = [], []
    for epoch in _epochs(options):
        active = best.active.copy()
        train_loss = _train_epoch(head, data, next(batches), optimizer)
        _require_finite("training", train_loss, active, seeds, epoch)
        if validation_index is not None:
            loss, accuracy = _validate(head, samples, labels)
            _require_finite("validation", loss, active, seeds, epoch)
            best.update(epoch, loss, accuracy)
        actives.append(active)
        records.append((train_loss, loss, accuracy))
        if not best.active.any():
            break
    replica, epoch = np.nonzero(np.stack(actives, axis=1))
    values = np.stack(records)[epoch, :, replica]
    history = pd.DataFrame(values, columns=["train_loss", "validation_loss", "validation_accuracy"])
    history.insert(0, "epoch", epoch + 1)
    history.insert(0, "replica", replica)
    return history
