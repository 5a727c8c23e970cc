"""Classical stand-ins for the photonic layer: same inputs, same outputs, as many parameters.

A quantum head has to beat these before its advantage can be called quantum (the "ablation twins" of
Bowles et al., *Better than classical?*, arXiv 2403.07059; the maps themselves are our choice).

========================  =======================================================================
`twin`                    what takes the place of the photonic layer
========================  =======================================================================
``None``                  nothing: the photonic layer itself
``"distinguishable"``     the same interferometers, photons that do not interfere with each other
``"frozen"``              the same interferometers at their random start, never trained
``"cosine"``              cosines and sines of linear combinations of the phases
``"linear"``              a linear map (two square factors) of the phases
``"identity"``            the phases themselves: the head is a linear map of rank m
========================  =======================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from qllm_helpers.photons.layer import PhotonicLayer

TWINS = (None, "distinguishable", "frozen", "cosine", "linear", "identity")


class ClassicalTwin(nn.Module):
    """Two trainable m x m matrices per replica and the basis of a photonic layer.

    Parameters
    ----------
    layer : PhotonicLayer
        Whose input width m, outputs N and number of replicas are taken over.

    Attributes
    ----------
    first, second : Parameter, shape (R, m, m)
        2 m^2 parameters per replica, as many as the two meshes of the photonic layer.
    """

    def __init__(self, layer: PhotonicLayer) -> None:
        super().__init__()
        self.n_replicas, self.n_modes = layer.n_replicas, layer.n_modes
        self.n_outputs = layer.n_outputs
        shape = (self.n_replicas, self.n_modes, self.n_modes)
        self.first, self.second = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(shape))
        states = torch.tensor(layer.basis, dtype=torch.float32)
        self.register_buffer("_occupations", states, persistent=False)

    @torch.no_grad()
    def reset_parameters(self, generators: Sequence[torch.Generator]) -> None:
        """Draw normal entries of variance 1 / m, so that a phase keeps its scale."""
        for matrix in (self.first, self.second):
            for replica, generator in enumerate(generators):
                draw = torch.randn(matrix.shape[1:], generator=generator, dtype=torch.float64)
                matrix[replica] = draw / math.sqrt(self.n_modes)


class CosineTwin(ClassicalTwin):
    """out_t = (1 + (cos(t . A phi) + sin(t . B phi)) / 2) / N for every output state t.

    Like the probabilities of n photons these are trigonometric polynomials in the phases, whose
    frequencies follow the occupations t, with mean 1 / N.
    """

    def forward(self, phases: torch.Tensor) -> torch.Tensor:
        """Map phases (R, B, m) in radians to features (R, B, N)."""
        waves = torch.cos(torch.bmm(phases, self.first) @ self._occupations.mT)
        waves = waves + torch.sin(torch.bmm(phases, self.second) @ self._occupations.mT)
        return (1 + waves / 2) / self.n_outputs


class LinearTwin(ClassicalTwin):
    """out_t = (1 + t . B A phi) / N for every output state t: linear up to a constant."""

    def forward(self, phases: torch.Tensor) -> torch.Tensor:
        """Map phases (R, B, m) in radians to features (R, B, N)."""
        mixed = torch.bmm(torch.bmm(phases, self.first), self.second)
        return (1 + mixed @ self._occupations.mT) / self.n_outputs


def quantum_part(layer_options: dict, twin: str | None) -> tuple[nn.Module | None, int]:
    """The photonic layer or its twin, and its number of outputs.

    Parameters
    ----------
    layer_options : dict
        Arguments of `PhotonicLayer`.
    twin : str or None
        One of `TWINS`.

    Returns
    -------
    module or None
        None for "identity".
    n_outputs : int

    Raises
    ------
    ValueError
        For an unknown twin or impossible layer options.
    """
    if twin not in TWINS:
        raise ValueError(f"twin must be one of {TWINS}, not {twin!r}.")
    layer = PhotonicLayer(**layer_options, distinguishable=twin == "distinguishable")
    if twin == "identity":
        return None, layer.n_modes
    if twin in ("cosine", "linear"):
        return {"cosine": CosineTwin, "linear": LinearTwin}[twin](layer), layer.n_outputs
    layer.requires_grad_(twin != "frozen")
    return layer, layer.n_outputs
