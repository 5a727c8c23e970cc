"""The one training loop: R replicas of any head side by side, each keeping its best weights.

Replicas share a Python step but nothing else: the loss is the sum over replicas of each replica's
mean cross-entropy, so the gradient of one replica does not see the others, Adam acts elementwise,
and the order of mini-batches, the initial weights and the dropout masks of a replica come from its
own seed. A replica therefore ends where it would end alone, up to the rounding of batched products
(our choice).
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from qllm_helpers import checks
from qllm_helpers.heads.base import Head
from qllm_helpers.training.batches import (
    BatchOrder,
    ReplicaData,
    as_embeddings,
    as_index,
    prepare,
    resolve_device,
)
from qllm_helpers.training.tracking import BestWeights, History

__all__ = ["TrainingOptions", "TrainingResult", "compute_logits", "train"]

# Rows (replicas x samples) of one forward pass without gradients: bounds memory, not the result.
_EVALUATION_ROWS = 8192


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; checked when created.

    Parameters
    ----------
    epochs : int
        Passes over the training part.
    lr : float
        Learning rate of Adam.
    batch_size : int
        Samples per mini-batch; the last one of an epoch may be smaller.
    weight_decay : float
        L2 penalty added to the gradient, as in ``torch.optim.Adam``.
    patience : int or None
        A replica stops once its best epoch is this many epochs old; None never stops early.
    device : str
        "cpu" or "cuda".
    progress : bool
        Whether to show a progress bar over epochs.
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
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr must be a positive number, got {self.lr!r}.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay!r}.")
        resolve_device(self.device)


@dataclass(frozen=True)
class TrainingResult:
    """What a training run recorded.

    Attributes
    ----------
    history : DataFrame
        Tidy, one row per replica and epoch until the replica stopped: replica, epoch (from 1),
        train_loss (mean over the epoch's mini-batches, as they were seen), validation_loss and
        validation_accuracy (fraction); the last two are NaN without validation data.
    best_epoch : int array (R,)
        Epoch whose weights the head holds now.
    best_validation_accuracy, best_validation_loss : float array (R,)
        At that epoch; NaN without validation data.
    """

    history: pd.DataFrame
    best_epoch: np.ndarray
    best_validation_accuracy: np.ndarray
    best_validation_loss: np.ndarray


def _replica_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy (R,) of logits (R, B, C) and labels (R, B)."""
    losses = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.unflatten(0, labels.shape).mean(1)


@torch.no_grad()
def compute_logits(head: Head, X) -> Tensor:
    """Logits of a head in evaluation mode, computed in chunks.

    Parameters
    ----------
    head : Head
    X : array (n, d) shared by the replicas, or (R, n, d)

    Returns
    -------
    Tensor (R, n, C) on the head's device

    Raises
    ------
    ValueError
        If X has the wrong width or is not finite.
    """
    X = as_embeddings(X, head).to(next(head.parameters()).device)
    X = X.expand(head.n_replicas, *X.shape[-2:])
    chunk = max(1, _EVALUATION_ROWS // head.n_replicas)
    was_training = head.training
    head.eval()
    logits = torch.cat([head(part) for part in X.split(chunk, dim=1)], dim=1)
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


def _train_epoch(head: Head, data: ReplicaData, batches, optimizer) -> Tensor:
    """One pass over the training part; mean training loss (R,), still on the device."""
    head.train()
    total, seen = 0.0, 0
    for index in batches:
        optimizer.zero_grad(set_to_none=True)
        losses = _replica_losses(head(data.take(index)), data.labels[index])
        losses.sum().backward()
        optimizer.step()
        total = total + losses.detach() * index.shape[1]
        seen += index.shape[1]
    return total / seen


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
    order = BatchOrder(train_index, seeds, options.batch_size, device)
    if validation_index is not None:
        validation_index = validation_index.to(device)
    history, best = _run(head, data, order, validation_index, seeds, options)
    head.eval()
    if validation_index is None:
        unknown = np.full(len(seeds), np.nan)
        last = np.full(len(seeds), options.epochs)
        return TrainingResult(history.frame(), last, unknown, unknown.copy())
    best.restore()
    return TrainingResult(history.frame(), best.epoch, best.accuracy, best.loss)


def _reached_parameters(head: Head, X: Tensor) -> list[Tensor]:
    """Trainable parameters that the logits depend on; the others keep their first values."""
    parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
    head.eval()  # so that no dropout mask is drawn
    gradients = torch.autograd.grad(head(X).sum(), parameters, allow_unused=True)
    return [p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


def _run(head, data, order, validation_index, seeds, options) -> tuple[History, BestWeights]:
    """Run the epochs of `train` on checked inputs; the head holds the last weights afterwards."""
    parameters = _reached_parameters(head, data.take(order.train_index[:, :1].to(data.rows.device)))
    groups = head.parameter_groups(parameters, options.lr)
    optimizer = torch.optim.Adam(groups, weight_decay=options.weight_decay, fused=True)
    history, best = History(), BestWeights(parameters, head.n_replicas, options.patience)
    if validation_index is not None:
        # Gathered once: they are the same in every epoch.
        chunk = max(1, _EVALUATION_ROWS // head.n_replicas)
        samples = [data.take_shared(part) for part in validation_index.split(chunk, dim=1)]
        labels = data.labels[validation_index]
    loss = accuracy = np.full(len(seeds), np.nan)
    for epoch in _epochs(options):
        active = best.active.copy()
        train_loss = _train_epoch(head, data, order.epoch(), optimizer).double().cpu().numpy()
        _require_finite("training", train_loss, active, seeds, epoch)
        if validation_index is not None:
            loss, accuracy = _validate(head, samples, labels)
            _require_finite("validation", loss, active, seeds, epoch)
            best.update(epoch, loss, accuracy)
        history.add(
            epoch,
            active,
            train_loss=train_loss,
            validation_loss=loss,
            validation_accuracy=accuracy,
        )
        if not best.active.any():
            break
    return history, best
