"""What a training run remembers: its history, and each replica's best weights."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

__all__ = ["BestWeights", "History"]


class History:
    """Losses and accuracies per replica and epoch, until the replica stopped."""

    def __init__(self):
        self.records: list[dict[str, np.ndarray]] = []

    def add(self, epoch: int, active: np.ndarray, **columns: np.ndarray) -> None:
        """Record one epoch of the replicas that are still active; columns are arrays (R,)."""
        replicas = np.flatnonzero(active)
        record = {"replica": replicas, "epoch": np.full(replicas.size, epoch)}
        self.records.append(record | {name: values[active] for name, values in columns.items()})

    def frame(self) -> pd.DataFrame:
        """Tidy table, one row per replica and epoch, sorted by replica, then epoch."""
        names = self.records[0]
        table = {name: np.concatenate([record[name] for record in self.records]) for name in names}
        return pd.DataFrame(table).sort_values(["replica", "epoch"], ignore_index=True)


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
