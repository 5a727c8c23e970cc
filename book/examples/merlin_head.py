"""A MerLin circuit between two linear maps."""

import merlin
from torch_head import TorchHead


class MerlinHead(TorchHead):
    """Four modes and two photons; three of the phases are inputs."""

    def circuit(self):
        layer = merlin.QuantumLayer.simple(input_size=3)
        return layer, 3, layer.output_size
