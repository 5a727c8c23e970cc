"""A linear map to three phases, a MerLin circuit, a linear map to the labels: plain PyTorch."""

import merlin
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn


class MerlinHead(ClassifierMixin, BaseEstimator):
    """Four modes and two photons, trained by Adam on mini-batches of 32 sentences."""

    def __init__(self, epochs=10, lr=0.01):
        self.epochs = epochs
        self.lr = lr

    def fit(self, X, y):
        X, y = torch.as_tensor(X), torch.as_tensor(y)
        circuit = merlin.QuantumLayer.simple(input_size=3)
        width = circuit.output_size
        self.network_ = nn.Sequential(
            nn.Linear(X.shape[1], 3), circuit, nn.Linear(width, int(y.max()) + 1)
        )
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
