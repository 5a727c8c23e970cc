"""A photonic head whose circuit runs with imperfections and a finite number of shots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from qllm_helpers.heads.layers import require_integer
from qllm_helpers.heads.photonic import PhotonicHead
from qllm_helpers.photons.layer import PhotonicLayer
from qllm_helpers.photons.noise import Noise, draw_features, perturb, recorded

__all__ = ["NoisyLayer", "NoisyPhotonicHead"]

# Streams of random numbers of one seed: the chip's own errors, and everything drawn for a sentence.
_CHIP, _SENTENCES = 2, 3


class NoisyLayer(nn.Module):
    """A `PhotonicLayer` seen through imperfections and shots.

    Parameters
    ----------
    layer : PhotonicLayer
        Holds the weights, which are the ideal layer's.
    noise : Noise
    n_shots : int or None
        Attempts for every sentence; None for infinitely many.

    Attributes
    ----------
    active : bool
        Whether the imperfections are there; without them this is `layer` itself.

    Raises
    ------
    ValueError
        If `n_shots` is no positive integer.
    """

    def __init__(self, layer: PhotonicLayer, noise: Noise, n_shots: int | None = None) -> None:
        super().__init__()
        self.layer, self.noise, self.active = layer, noise, True
        self.n_shots = None if n_shots is None else require_integer("n_shots", n_shots)
        self._seeds = list(range(layer.n_replicas))
        self._streams: list[np.random.Generator] | None = None

    def reset_parameters(self, generators: Sequence) -> None:
        """Take over the seeds of the generators, without drawing from them.

        The weights that `layer` then draws are those of the ideal head with the same seed.
        """
        self._seeds = [generator.initial_seed() for generator in generators]
        self._streams = None

    def take_replicas(self, indices: Sequence[int]) -> None:
        """Keep the seeds of the replicas `indices`; what is drawn for sentences starts anew."""
        self._seeds, self._streams = [self._seeds[i] for i in indices], None

    def __getstate__(self) -> dict:
        """Leave the streams out of copies: they start anew from their seeds."""
        return {**self.__dict__, "_streams": None}

    def _chip(self) -> tuple[Tensor, Tensor]:
        """Phases of the two meshes as this chip sets them: the same errors every time."""
        chips = [np.random.default_rng([seed, _CHIP]) for seed in self._seeds]
        return tuple(perturb(m, self.noise, chips) for m in (self.layer.left, self.layer.right))

    def forward(self, phases: Tensor) -> Tensor:
        """Map phases (R, B, m) in radians to frequencies (R, B, N) of the layer's outputs."""
        if not self.active or (self.noise.is_ideal and self.n_shots is None):
            return self.layer(phases)
        if self._streams is None:
            self._streams = [np.random.default_rng([seed, _SENTENCES]) for seed in self._seeds]
        phases = perturb(phases, self.noise, self._streams)
        probabilities = recorded(self.layer, phases, self.noise, self._chip())
        return draw_features(probabilities, self.n_shots, self.noise.post_select, self._streams)


class NoisyPhotonicHead(PhotonicHead):
    """`PhotonicHead` with a `NoisyLayer` in the middle: the same weights from the same seed.

    Parameters
    ----------
    n_features, n_classes, n_modes, n_photons, n_replicas : int
    noise : Noise
    n_shots : int or None
    **options
        Of `PhotonicHead`: encoding, hidden_dim, space, input_state, and as twin only None,
        "distinguishable" or "frozen".

    Raises
    ------
    ValueError
        For another twin, a readout of mean photon numbers, or an impossible option.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        n_modes: int = 8,
        n_photons: int = 2,
        *,
        noise: Noise,
        n_shots: int | None = None,
        n_replicas: int = 1,
        **options,
    ) -> None:
        super().__init__(
            n_features, n_classes, n_modes, n_photons, n_replicas=n_replicas, **options
        )
        if not isinstance(self.quantum, PhotonicLayer):
            raise ValueError(
                "Only a single photonic layer whose probabilities are read can be noisy: leave out "
                "readout, n_encoders and the twins that run on a computer."
            )
        self.quantum = NoisyLayer(self.quantum, noise, n_shots)
        self.reset_parameters(range(self.n_replicas))

    def ideal(self) -> PhotonicHead:
        """The head with the same weights (the same tensors) and a perfect machine."""
        import copy

        head = copy.copy(self)
        head._modules = {**self._modules, "quantum": self.quantum.layer}
        head.__class__ = PhotonicHead
        return head
