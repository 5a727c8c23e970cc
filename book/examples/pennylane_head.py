"""A linear map to four angles, a PennyLane circuit, a linear map to the labels."""

import pennylane as qml
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn


class PennyLaneHead(ClassifierMixin, BaseEstimator):
    """Four qubits and two layers of gates, trained by Adam on mini-batches of 32 sentences."""

    def __init__(self, epochs=10, lr=0.01):
        self.epochs = epochs
        self.lr = lr

    def fit(self, X, y):
        X, y = torch.as_tensor(X), torch.as_tensor(y)
        wires = range(4)

        @qml.qnode(qml.device("default.qubit", wires=4), interface="torch", diff_method="backprop")
        def circuit(inputs, weights):
            qml.AngleEmbedding(inputs, wires)
            qml.BasicEntanglerLayers(weights, wires)
            return [qml.expval(qml.PauliZ(wire)) for wire in wires]

        layer = qml.qnn.TorchLayer(circuit, {"weights": (2, 4)})
        self.network_ = nn.Sequential(
            nn.Linear(X.shape[1], 4), layer, nn.Linear(4, int(y.max()) + 1)
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
