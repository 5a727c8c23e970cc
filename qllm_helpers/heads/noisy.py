"""A photonic head whose circuit runs with imperfections and a finite number of shots."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from qllm_helpers import checks
from qllm_helpers.heads.base import DrawingModule
from qllm_helpers.heads.photonic import PhotonicHead
from qllm_helpers.photons.layer import PhotonicLayer
from qllm_helpers.photons.noise import Noise, draw_features, perturb, recorded

# Streams of random numbers of one seed: the chip's own errors, and everything drawn for a sentence.
_CHIP, _SENTENCES = 2, 3


class NoisyLayer(DrawingModule):
    """A `PhotonicLayer`, which holds the weights, seen through imperfections and shots.

    `n_shots` are attempts for every sentence, None infinitely many. The attribute ``active`` says
    whether the imperfections are there; without them this is `layer` itself.
    """

    def __init__(self, layer: PhotonicLayer, noise: Noise, n_shots: int | None = None) -> None:
        super().__init__()
        self.layer, self.noise, self.active = layer, noise, True
        self.n_shots = None if n_shots is None else checks.integer("n_shots", n_shots)
        self._seeds = list(range(layer.n_replicas))

    def _seed_from(self, generator: torch.Generator) -> int:
        # without drawing from it: the layer's weights stay those of the ideal head with this seed
        return generator.initial_seed()

    def _stream(self, seed: int) -> np.random.Generator:
        return np.random.default_rng([seed, _SENTENCES])

    def _chip(self) -> tuple[Tensor, Tensor]:
        """Phases of the two meshes as this chip sets them: the same errors every time."""
        chips = [np.random.default_rng([seed, _CHIP]) for seed in self._seeds]
        return tuple(perturb(m, self.noise, chips) for m in (self.layer.left, self.layer.right))

    def forward(self, phases: Tensor) -> Tensor:
        """Map phases (R, B, m) in radians to frequencies (R, B, N) of the layer's outputs."""
        if not self.active or (self.noise == Noise() and self.n_shots is None):
            return self.layer(phases)
        phases = perturb(phases, self.noise, self.streams())
        probabilities = recorded(self.layer, phases, self.noise, self._chip())
        return draw_features(probabilities, self.n_shots, self.noise.post_select, self.streams())


class NoisyPhotonicHead(PhotonicHead):
    """`PhotonicHead` with a `NoisyLayer` in the middle: the same weights from the same seed.

    Arguments but `noise` and `n_shots` are those of `PhotonicHead`. ValueError for a readout of
    mean photon numbers, several encoders, or a twin but "distinguishable" and "frozen".
    """

    def __init__(self, *sizes: int, noise: Noise, n_shots: int | None = None, **options) -> None:
        super().__init__(*sizes, **options)
        if not isinstance(self.quantum, PhotonicLayer):
            raise ValueError(
                "Only a single photonic layer whose probabilities are read can be noisy: leave out "
                "readout, n_encoders and the twins that run on a computer."
            )
        self.quantum = NoisyLayer(self.quantum, noise, n_shots)
        self.reset_parameters(range(self.n_replicas))

    def ideal(self) -> PhotonicHead:
        """The head with the same weights (the same tensors) and a perfect machine."""
        head = copy.copy(self)
        head._modules = {**self._modules, "quantum": self.quantum.layer}
        head.__class__ = PhotonicHead
        return head
