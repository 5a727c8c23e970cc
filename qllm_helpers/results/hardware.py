"""What the study of noise says about hardware: its rows as sweeps."""

from __future__ import annotations

import io
import math

import pandas as pd

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


def noise_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Photonic rows of the study ``noise`` with every setting of :data:`PERFECT` as a column."""
    chosen = rows[rows["estimator"].isin(["PhotonicClassifier", "NoisyPhotonicClassifier"])]
    known = {
        name: chosen[name].astype(object).fillna(value) if name in chosen else value
        for name, value in PERFECT.items()
    }
    kinds = {name: type(value) for name, value in PERFECT.items()}
    return chosen.assign(**known).astype(kinds | {"n_modes": int, "n_photons": int})


def sweep(rows: pd.DataFrame, setting: str, **fixed) -> pd.DataFrame:
    """Accuracy along one setting, all others of a perfect machine unless `fixed` (None: free).

    n_modes is 8, n_photons 2, space "fock" and twin None (has none) if not given; a list allows
    several values. Returns `setting`, columns with several values, mean, low, high, n_seeds.
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
