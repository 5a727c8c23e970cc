"""What the study of noise says about hardware: its rows as sweeps, and what a run would cost."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qllm_helpers import checks
from qllm_helpers.files import read_verified
from qllm_helpers.photons.noise import Noise
from qllm_helpers.results.intervals import summarise

#: Published single-photon sources, by the citation key of the book. Fractions: photons per pulse,
#: second-order correlation, two-photon visibility. `loredo2016scalable` reports brightness and
#: visibility for different devices.
SOURCES = pd.read_csv(io.BytesIO(read_verified("sources.csv")))
#: Settings of a row that the study varies, with their value on a perfect machine.
PERFECT = {name: field.default for name, field in Noise.__dataclass_fields__.items()}
PERFECT |= {"n_shots": math.inf, "noise_in_training": False}


@dataclass(frozen=True)
class Machine:
    """A photonic processor as its operator describes it: attempts per second, prices in euro."""

    pulses_per_second: float
    price_per_circuit: float
    price_per_shot: float
    price_per_hour: float
    source: str


#: A cloud offer of November 2025: 12 photons, 24 modes. The source is a key of the bibliography.
CLOUD = Machine(3e6, 0.3, 1e-6, 1000.0, "scaleway2025quandela")


def noise_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of photonic heads of the study ``noise``, with every setting of :data:`PERFECT`.

    Ideal heads have the values of a perfect machine, with infinitely many shots as ``inf``.
    """
    chosen = rows[rows["estimator"].isin(["PhotonicClassifier", "NoisyPhotonicClassifier"])]
    known = {
        name: chosen[name].astype(object).fillna(value) if name in chosen else value
        for name, value in PERFECT.items()
    }
    kinds = {name: type(value) for name, value in PERFECT.items()}
    return chosen.assign(**known).astype(kinds | {"n_modes": int, "n_photons": int})


def sweep(rows: pd.DataFrame, setting: str, **fixed) -> pd.DataFrame:
    """Accuracy along one setting, all others being those of a perfect machine unless `fixed`.

    `fixed` names settings of the machine, or n_modes (8 if not given), n_photons (2), space
    ("fock") and twin (None: rows that have none); a list allows several values, None leaves a
    setting free. Returns `setting`, columns with several values, mean, low, high, n_seeds.
    """
    wanted = PERFECT | {"n_modes": 8, "n_photons": 2, "space": "fock", "twin": None} | fixed
    wanted.pop(setting)
    keep, by = pd.Series(True, index=rows.index), [setting]
    for name, value in wanted.items():
        if isinstance(value, list):
            keep &= rows[name].isin(value)
            by.append(name)
        elif value is not None:
            keep &= rows[name].eq(value)
        elif name in ("space", "twin"):
            keep &= rows[name].isna()
    if not keep.any():
        raise ValueError(f"no rows of a sweep of {setting} with {fixed}")
    table = summarise(rows[keep], by=by)
    return table.sort_values(by, ignore_index=True)[[*by, "mean", "low", "high", "n_seeds"]]


def estimate(
    kept_shots: float,
    share: float,
    machine: Machine = CLOUD,
    *,
    n_sentences: int = 1000,
    seconds_to_switch: float = 0.01,
) -> pd.Series:
    """Attempts, seconds and euro (paid by the shot, or by the hour) of sentences on a processor.

    Every sentence needs `kept_shots` with all photons, of which a `share` of the attempts is kept
    (survival of one photon to the power of their number), and is a circuit of its own, whose phases
    take `seconds_to_switch` to set (our assumption: thermal phase shifters). Queues not included.
    """
    checks.real("the kept share", share, 0, 1, open_below=True)
    attempts = np.ceil(kept_shots / share) * n_sentences
    seconds = attempts / machine.pulses_per_second + n_sentences * seconds_to_switch
    by_shot = n_sentences * machine.price_per_circuit + attempts * machine.price_per_shot
    by_hour = machine.price_per_hour * seconds / 3600
    values = {"attempts": attempts, "seconds": seconds}
    return pd.Series(values | {"euro_by_shot": by_shot, "euro_by_hour": by_hour})
