"""Published photonic machines: what was published, and what that is in our model of noise."""

import io
import math

import numpy as np
import pandas as pd
import torch
from scipy.optimize import brentq

from qllm_helpers.files import read_verified
from qllm_helpers.photons.interferometer import mesh_unitary
from qllm_helpers.photons.noise import Noise

#: Published single-photon sources, by the citation key of the book. Fractions: photons per pulse,
#: second-order correlation, two-photon visibility. `loredo2016scalable` reports brightness and
#: visibility for different devices.
SOURCES = pd.read_csv(io.BytesIO(read_verified("sources.csv")))
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

#: Published figures: machine, citation key of the book, what it is, as published, the setting of
#: `Noise` that it decides ("" for none), and how. The second one is a chip without a source.
PUBLISHED = pd.read_csv(io.BytesIO(read_verified("machines.csv")), keep_default_na=False)


def mesh_deviation(phase_error: float, n_modes: int = 12, *, seed: int = 0) -> pd.Series:
    """Means over 300 chips whose phases are off by up to `phase_error`, radians, and their inputs.

    "distance": total variation of the light; "fidelity": sum of |u| |v| (our reading of it).
    """
    generator = np.random.default_rng(seed)
    shape = (300, n_modes * n_modes)
    phases, errors = generator.uniform(0, math.tau, shape), generator.uniform(-1, 1, shape)
    angles = torch.from_numpy(np.stack([phases, phases + phase_error * errors]))
    wanted, real = (mesh_unitary(one, n_modes).abs().numpy() for one in angles)
    distance = np.abs(wanted**2 - real**2).sum(axis=1).mean() / 2
    fidelity = (wanted * real).sum(axis=1).mean()
    return pd.Series({"distance": float(distance), "fidelity": float(fidelity)})


def phase_error_for(value: float, figure: str = "distance", n_modes: int = 12) -> float:
    """Phase error, radians, that alone gives a mesh a published deviation: an upper estimate."""
    low, high = sorted(mesh_deviation(error, n_modes)[figure] for error in (0.0, 1.0))
    if not low < value < high:
        bounds = f"it must lie between {low:.3g} and {high:.3g}"
        raise ValueError(f"no phase error up to one radian gives a {figure} of {value!r}: {bounds}")
    return brentq(lambda e: mesh_deviation(e, n_modes)[figure] - value, 0.0, 1.0, xtol=1e-4)
