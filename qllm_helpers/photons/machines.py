"""Published photonic machines: what was published, and what that is in our model of noise.

Most figures carry over as they stand. Phase errors do not: what is published is how far the light
behind a whole chip is from what it should be, so the error of a single phase shifter is looked for
that gives a simulated mesh the same distance.
"""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import torch
from scipy.optimize import brentq

from qllm_helpers import checks
from qllm_helpers.files import read_verified
from qllm_helpers.photons.mesh import mesh_unitary
from qllm_helpers.photons.noise import Noise

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


#: Published figures: machine, citation key of the book, what it is, as published, the setting of
#: `Noise` that it decides ("" for none), and how. The second one is a chip without a source.
PUBLISHED = pd.read_csv(io.BytesIO(read_verified("machines.csv")), keep_default_na=False)


def loss(decibel: float) -> float:
    """Share of light, in (0, 1], that passes a loss in decibel, at least 0 dB."""
    return 10 ** (-checks.real("a loss, at least 0 dB,", decibel) / 10)


def all_alike(n_photons: int, indistinguishability: float) -> float:
    """Probability that n photons are all in the common state, in Perceval's model of a source.

    The indistinguishability, in [0, 1], is that of two photons.
    """
    return indistinguishability ** (n_photons / 2)


def mesh_deviation(phase_error: float, n_modes: int = 12, *, seed: int = 0) -> pd.Series:
    """How far light behind a rectangular mesh is from what it should be, if phases are off.

    Every phase is off by a uniform draw from plus or minus `phase_error`, radians. Means over 300
    uniform settings of all phases, the same for the same seed, and over input modes: "distance",
    the total variation distance of the light at the outputs; "fidelity", of the moduli of the
    amplitudes (sum of |u| |v|; our reading of an amplitude fidelity).
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
    """Phase error, radians, of a simulated mesh whose light is as far off as published.

    `value` is a fraction, `figure` one of `mesh_deviation`'s. All of the published deviation is
    taken for errors of phases, so it is an upper estimate. Raises ValueError if no phase error up
    to one radian does that.
    """
    exact, worst = (mesh_deviation(error, n_modes)[figure] for error in (0.0, 1.0))
    if not min(exact, worst) < value < max(exact, worst):
        raise ValueError(
            f"no phase error up to one radian gives a {figure} of {value!r}: it must lie between "
            f"{min(exact, worst):.3g} and {max(exact, worst):.3g}."
        )
    return brentq(lambda e: mesh_deviation(e, n_modes)[figure] - value, 0.0, 1.0, xtol=1e-4)
