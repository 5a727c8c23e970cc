"""Published photonic machines: what was published, and what that is in our model of noise.

Most figures carry over as they stand. Phase errors do not: what is published is how far the light
behind a whole chip is from what it should be, so the error of a single phase shifter is looked for
that gives a simulated mesh the same distance.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from scipy.optimize import brentq

from qllm_helpers.photons.mesh import mesh_unitary
from qllm_helpers.photons.noise import Noise

__all__ = ["ASCELLA", "PUBLISHED", "all_alike", "loss", "mesh_deviation", "phase_error_for"]

#: Quandela's Ascella (Maring et al. 2024), a whole machine: six photons, twelve modes. Brightness
#: and indistinguishability are stated; transmittance is the stated efficiency of the machine, about
#: 8 %, over the brightness; g2 is the bound that follows from a purity above 99 %; the phase error
#: is `phase_error_for(0.030)` to two digits. How its detectors are used is stated, too.
ASCELLA = Noise(
    brightness=0.55,
    transmittance=0.145,
    indistinguishability=0.94,
    g2=0.01,
    phase_error=0.045,
    detector="threshold",
)
_SETTINGS_OF_A_CHIP = 300


def _figures(machine: str, source: str, *rows: tuple[str, str, str, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["figure", "published", "setting", "how"])
    table.insert(0, "source", source)
    table.insert(0, "machine", machine)
    return table


#: Published figures: machine, citation key of the book, what it is, as published, the setting of
#: `Noise` that it decides ("" for none), and how. The second one is a chip without a source.
PUBLISHED = pd.concat(
    [
        _figures(
            "Ascella",
            "maring2024versatile",
            ("photons per pulse behind the first lens", "55 %", "brightness", "as stated"),
            ("efficiency, source to detector", "about 8 %", "transmittance", "over brightness"),
            ("indistinguishability", "about 94 %", "indistinguishability", "as stated"),
            ("purity of single photons, 1 - g2", "above 99 %", "g2", "the bound"),
            ("distance of the light behind the chip", "3.0 ± 1.3 %", "phase_error", "simulation"),
            ("detectors", "clicks", "detector", "as stated"),
            ("fidelity of 12 × 12 unitaries", "99.7 ± 0.08 %", "", "defined elsewhere"),
            (
                "reflectivity of couplers, meant to be 50 %",
                "56.7 %",
                "",
                "its compiler corrects it",
            ),
        ),
        _figures(
            "20-mode chip",
            "taballione2023mode",
            ("optical loss, mean of the modes", "2.9 dB", "transmittance", "ratio of powers"),
            ("amplitude fidelity of random unitaries", "97.4 %", "phase_error", "simulation"),
            ("visibility of interference on chip", "98 %", "indistinguishability", "as stated"),
        ),
    ],
    ignore_index=True,
)


def loss(decibel: float) -> float:
    """Share of light that passes a loss in decibel.

    Parameters
    ----------
    decibel : float
        At least 0.

    Returns
    -------
    float
        In (0, 1].

    Raises
    ------
    ValueError
        If the loss is negative.
    """
    if not decibel >= 0:
        raise ValueError(f"a loss must be at least 0 dB, not {decibel!r}.")
    return 10 ** (-decibel / 10)


def all_alike(n_photons: int, indistinguishability: float) -> float:
    """Probability that n photons are all in the common state, in Perceval's model of a source.

    Parameters
    ----------
    n_photons : int
    indistinguishability : float
        Of two photons, in [0, 1].

    Returns
    -------
    float
    """
    return indistinguishability ** (n_photons / 2)


def mesh_deviation(phase_error: float, n_modes: int = 12, *, seed: int = 0) -> pd.Series:
    """How far light behind a rectangular mesh is from what it should be, if phases are off.

    Parameters
    ----------
    phase_error : float
        Every phase is off by a uniform draw from plus or minus this, radians.
    n_modes : int
    seed : int
        The same seed gives the same 300 settings of all phases, which are uniform on the circle,
        and errors in the same proportions.

    Returns
    -------
    Series
        Means over settings and input modes: "distance", the total variation distance of the light
        at the outputs; "fidelity", of the moduli of the amplitudes (sum of |u| |v|; our reading of
        an amplitude fidelity).
    """
    generator = np.random.default_rng(seed)
    shape = (_SETTINGS_OF_A_CHIP, n_modes * n_modes)
    phases = generator.uniform(0, 2 * math.pi, shape)
    errors = phase_error * generator.uniform(-1, 1, shape)
    wanted, real = (
        mesh_unitary(torch.from_numpy(angles), n_modes).abs().numpy()
        for angles in (phases, phases + errors)
    )
    distance = np.abs(wanted**2 - real**2).sum(axis=1).mean() / 2
    fidelity = (wanted * real).sum(axis=1).mean()
    return pd.Series({"distance": float(distance), "fidelity": float(fidelity)})


def phase_error_for(value: float, figure: str = "distance", n_modes: int = 12) -> float:
    """Phase error of a simulated mesh whose light is as far off as published.

    Parameters
    ----------
    value : float
        A fraction.
    figure : {"distance", "fidelity"}
        Of :func:`mesh_deviation`.
    n_modes : int

    Returns
    -------
    float
        Radians. All of the published deviation is taken for errors of phases, so it is an upper
        estimate.

    Raises
    ------
    ValueError
        If no phase error up to one radian does that.
    """
    exact, worst = (mesh_deviation(error, n_modes)[figure] for error in (0.0, 1.0))
    if not min(exact, worst) < value < max(exact, worst):
        raise ValueError(
            f"no phase error up to one radian gives a {figure} of {value!r}: it must lie between "
            f"{min(exact, worst):.3g} and {max(exact, worst):.3g}."
        )
    return brentq(lambda e: mesh_deviation(e, n_modes)[figure] - value, 0.0, 1.0, xtol=1e-4)
