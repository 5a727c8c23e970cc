"""A PennyLane circuit between two linear maps."""

import pennylane as qml
from torch_head import TorchHead

WIRES = range(4)


@qml.qnode(qml.device("default.qubit", wires=4), interface="torch", diff_method="backprop")
def rotations(inputs, weights):
    """Angles in, two layers of gates, the mean of Z of every qubit out."""
    qml.AngleEmbedding(inputs, WIRES)
    qml.BasicEntanglerLayers(weights, WIRES)
    return [qml.expval(qml.PauliZ(wire)) for wire in WIRES]


class PennyLaneHead(TorchHead):
    """Four qubits; their angles are the inputs."""

    def circuit(self):
        return qml.qnn.TorchLayer(rotations, {"weights": (2, 4)}), 4, 4
