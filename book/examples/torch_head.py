"""What the circuits of the examples share: the linear maps around them, and plain PyTorch."""

import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn


class TorchHead(ClassifierMixin, BaseEstimator):
    """A linear map to a circuit's inputs, the circuit, and a linear map to the labels.

    Adam on mini-batches of 32 sentences. A subclass has the method `circuit`, which gives a torch
    module, its number of inputs, and its number of outputs.
    """

    def __init__(self, epochs=10, lr=0.01):
        self.epochs = epochs
        self.lr = lr

    def fit(self, X, y):
        X, y = torch.as_tensor(X), torch.as_tensor(y)
        circuit, n_inputs, n_outputs = self.circuit()
        before, after = nn.Linear(X.shape[1], n_inputs), nn.Linear(n_outputs, int(y.max()) + 1)
        self.network_ = nn.Sequential(before, circuit, after)
        optimiser = torch.optim.Adam(self.network_.parameters(), lr=self.lr)
        for _ in range(self.epochs):
            for batch in torch.randperm(len(X)).split(32):
                optimiser.zero_grad()
                nn.functional.cross_entropy(self.network_(X[batch]), y[batch]).backward()
                optimiser.step()
        return self

    def predict(self, X):
        with torch.no_grad():
            return self.network_(torch.as_tensor(X)).argmax(1).numpy()
