"""What a real photonic chip does: Perceval's `NoiseModel` with detectors and shots.

It is fast because equal loss commutes with the interferometer (one factor a mode), and each photon
is in the common state with probability sqrt(indistinguishability), otherwise alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from qllm_helpers import checks
from qllm_helpers.photons.interferometer import output_probabilities
from qllm_helpers.photons.kernels import add_photon, bunching_factors, fock_tables
from qllm_helpers.photons.layer import PhotonicLayer

Generators = Sequence[np.random.Generator]


@dataclass(frozen=True)
class Noise:
    """Imperfections of source, circuit and detectors; the defaults are a perfect machine.

    Parameters
    ----------
    brightness, transmittance : float
        Probabilities, in [0, 1], that the source emits its photon, and that the photon is not lost
        on its way, detectors included. Only their product counts, as in MerLin.
    indistinguishability : float
        Overlap of two photons (the visibility of two-photon interference), in [0, 1].
    g2 : float
        Second-order correlation at zero delay, in [0, 0.5]: how often a second photon comes along,
        which does not interfere (Perceval's ``g2_distinguishable=True``).
    phase_error, phase_imprecision : float
        Radians: every phase is off by a uniform draw from plus or minus the first, once in the
        meshes, anew a sentence in the data (our choice), and rounded to multiples of the second.
    detector : {"number", "threshold"}
        Detectors that count photons, or that only tell none from some.
    post_select : bool
        Divide by the shots whose record is an output of the head (all photons there), not by all.
    """

    brightness: float = 1.0
    transmittance: float = 1.0
    indistinguishability: float = 1.0
    g2: float = 0.0
    phase_error: float = 0.0
    phase_imprecision: float = 0.0
    detector: str = "number"
    post_select: bool = True

    def __post_init__(self) -> None:
        most = dict.fromkeys(("brightness", "transmittance", "indistinguishability"), 1.0)
        most |= {"g2": 0.5, "phase_error": math.pi, "phase_imprecision": math.inf}
        for name, largest in most.items():
            checks.real(name, getattr(self, name), most=largest)
        checks.choice("detector", self.detector, ("number", "threshold"))

    @property
    def survival(self) -> float:
        """Probability that a photon is emitted and arrives."""
        return self.brightness * self.transmittance


def _add_photon(probabilities: Tensor, n_photons: int, single: Tensor) -> Tensor:
    """Probabilities (..., N) of n photons and those of another one, (..., m), that is alone."""
    tables = fock_tables(single.shape[-1], n_photons + 1, False)
    return add_photon(probabilities, single, tables, n_photons)


def _interfering(layer: PhotonicLayer, phases: Tensor, meshes, modes: Sequence[int]) -> Tensor:
    """Probabilities (R, B, N) of all Fock states, of like photons that enter in `modes`."""
    if not modes:
        return phases.new_ones(*phases.shape[:2], 1)
    tables = fock_tables(layer.n_modes, len(modes), False)
    weights = torch.tensor(bunching_factors(tables, modes), dtype=phases.dtype).numpy()
    return output_probabilities(phases, *meshes, tables, modes, weights, False, False)


def _mixture(layer: PhotonicLayer, phases: Tensor, meshes, alike: float) -> Tensor:
    """Probabilities of n photons of which each is like the others with probability `alike`."""
    modes, n, total = layer._photon_modes, layer.n_photons, 0.0
    for size in range(n + 1):
        weight = alike**size * (1 - alike) ** (n - size)
        if weight == 0:
            continue
        for chosen in combinations(range(n), size):
            part = _interfering(layer, phases, meshes, [modes[k] for k in chosen])
            for present, k in enumerate(set(range(n)) - set(chosen), start=size):
                part = _add_photon(part, present, _interfering(layer, phases, meshes, [modes[k]]))
            total = total + weight * part
    return total


def _emitted(layer: PhotonicLayer, phases: Tensor, meshes, noise: Noise) -> list[Tensor]:
    """Joint probabilities (R, B, N_k) of n, n + 1, ... photons behind a circuit without loss."""
    n = layer.n_photons
    alike = 0.0 if layer.distinguishable else math.sqrt(noise.indistinguishability)
    sectors = [_mixture(layer, phases, meshes, alike)]
    if noise.g2 == 0:
        return sectors
    # g2 = 2 p / (1 + p)^2 for a source that emits a second photon with probability p (MerLin)
    twice = ((1 - noise.g2) - math.sqrt(1 - 2 * noise.g2)) / noise.g2
    for mode in layer._photon_modes:
        single = _interfering(layer, phases, meshes, [mode])
        more = [_add_photon(twice * one, n + extra, single) for extra, one in enumerate(sectors)]
        sectors = [(1 - twice) * sector for sector in sectors]
        sectors = [sectors[0], *(a + b for a, b in zip(sectors[1:], more, strict=False)), more[-1]]
    return sectors


@lru_cache(maxsize=64)
def _detection(n_modes: int, n_photons: int, basis: tuple, survival: float, detector: str):
    """Probability to record each state of `basis` (N,) when a Fock state arrives, float64."""
    arrived = fock_tables(n_modes, n_photons, False).states
    most = max(n_photons, max(map(max, basis)))
    photons, counts = np.arange(most + 1)[:, None], np.arange(most + 1)[None]
    ways, lost = np.vectorize(math.comb)(photons, counts), np.maximum(photons - counts, 0)
    table = ways * survival**counts * (1.0 - survival) ** lost
    if detector == "threshold":
        table[:, 1], table[:, 2:] = 1 - table[:, 0], 0
    chances = np.ones((len(arrived), len(basis)))
    for before, after in zip(arrived.T, np.array(basis).T, strict=True):
        chances *= table[before[:, None], after]
    return torch.from_numpy(chances)


def recorded(
    layer: PhotonicLayer, phases: Tensor, noise: Noise, meshes: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Probability (R, B, N) to record every state of ``layer.basis``, before post-selection.

    `phases` and those of `meshes` (default: the layer's), radians, are the chip's, after `perturb`.
    """
    layer._check_phases(phases)
    meshes = (layer.left, layer.right) if meshes is None else meshes
    known = tuple(layer.basis), noise.survival, noise.detector
    total = 0.0
    for extra, sector in enumerate(_emitted(layer, phases, meshes, noise)):
        chances = _detection(layer.n_modes, layer.n_photons + extra, *known)
        total = total + sector @ chances.to(sector.dtype)
    return total


def perturb(angles: Tensor, noise: Noise, generators: Generators) -> Tensor:
    """Phases (R, ...), radians, as a chip sets them; the gradient is that of the exact phases."""
    exact = shifted = angles.detach()
    if noise.phase_imprecision > 0:
        shifted = torch.round(exact / noise.phase_imprecision) * noise.phase_imprecision
    if noise.phase_error > 0:
        reach = (-noise.phase_error, noise.phase_error)
        draws = [one.uniform(*reach, size=tuple(exact.shape[1:])) for one in generators]
        shifted = shifted + torch.from_numpy(np.stack(draws)).to(exact.dtype)
    return angles + (shifted - exact)


def draw_features(
    probabilities: Tensor, n_shots: int | None, post_select: bool, generators: Generators
) -> Tensor:
    """Frequencies (R, B, N) of outputs `recorded` in `n_shots` attempts (None: infinitely many).

    Zero is read where no shot is kept; the gradient is that of infinitely many (our choice).
    """
    exact = divided(probabilities, post_select)
    if n_shots is None:
        return exact
    chances = probabilities.detach().double().clamp_min(0)
    rest = (1 - chances.sum(-1, keepdim=True)).clamp_min(0)
    chances = torch.cat([chances, rest], dim=-1)
    chances = (chances / chances.sum(-1, keepdim=True)).numpy()
    draws = [one.multinomial(n_shots, p) for one, p in zip(generators, chances, strict=True)]
    counts = torch.from_numpy(np.stack(draws))[..., :-1].double() / n_shots
    return exact + (divided(counts, post_select).to(exact.dtype) - exact).detach()


def divided(values: Tensor, post_select: bool) -> Tensor:
    """Values (..., N) by their sum, where that is not zero, if `post_select`."""
    if not post_select:
        return values
    total = values.sum(-1, keepdim=True)
    return torch.where(total > 0, values / total.clamp_min(torch.finfo(values.dtype).tiny), 0.0)
