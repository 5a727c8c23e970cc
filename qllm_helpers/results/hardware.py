"""What the study of noise says about hardware: its rows as sweeps, and what a run would cost."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qllm_helpers.photons.noise import Noise
from qllm_helpers.results.intervals import paired_values, summarise

__all__ = [
    "BUDGETS",
    "CLOUD",
    "Machine",
    "SOURCES",
    "estimate",
    "kept_share",
    "losses",
    "noise_rows",
    "shots_for",
    "sweep",
]

#: Published single-photon sources, by the citation key of the book. Fractions: photons per pulse,
#: second-order correlation, two-photon visibility. `loredo2016scalable` reports brightness and
#: visibility for different devices.
SOURCES = pd.DataFrame(
    [
        ("wang2019towards", 0.60, 0.025, 0.975),
        ("loredo2016scalable", 0.14, 0.029, 0.96),
    ],
    columns=["source", "brightness", "g2", "indistinguishability"],
)
#: Shots of the study.
BUDGETS = (10, 100, 1000, 10_000, 100_000)
_NOISE = {name: field.default for name, field in Noise.__dataclass_fields__.items()}
#: Settings of a row that the study varies, with their value on a perfect machine.
PERFECT = _NOISE | {"n_shots": math.inf, "noise_in_training": False}
_CIRCUIT = ("n_modes", "n_photons", "space", "twin")
_ESTIMATORS = ("PhotonicClassifier", "NoisyPhotonicClassifier")


@dataclass(frozen=True)
class Machine:
    """A photonic processor as its operator describes it.

    Attributes
    ----------
    pulses_per_second : float
        Attempts per second, hertz.
    price_per_circuit, price_per_shot, price_per_hour : float
        Euro.
    source : str
        Citation key of the figures.
    """

    pulses_per_second: float
    price_per_circuit: float
    price_per_shot: float
    price_per_hour: float
    source: str


#: A cloud offer of November 2025: 12 photons, 24 modes.
CLOUD = Machine(3e6, 0.3, 1e-6, 1000.0, "scaleway2025quandela")


def noise_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of photonic heads with one column for every setting of the machine.

    Parameters
    ----------
    rows : DataFrame
        Of the study ``noise``.

    Returns
    -------
    DataFrame
        With a column for every setting of ``PERFECT``; ideal heads have the values of a perfect
        machine, with infinitely many shots as ``inf``.
    """
    chosen = rows[rows["estimator"].isin(_ESTIMATORS)].copy()
    settings = [PERFECT | json.loads(text) for text in chosen["configuration"]]
    for name in PERFECT:
        chosen[name] = [setting[name] for setting in settings]
    return chosen.astype({"n_modes": int, "n_photons": int, "n_shots": float})


def sweep(rows: pd.DataFrame, setting: str, **fixed) -> pd.DataFrame:
    """Accuracy along one setting, all others being those of a perfect machine unless `fixed`.

    Parameters
    ----------
    rows : DataFrame
        From :func:`noise_rows`.
    setting : str
        Column that varies.
    **fixed
        Columns and their values: settings of the machine, or n_modes (8 if not given),
        n_photons (2), space ("fock") and twin (None). A list allows several values, and None for
        a setting leaves it free.

    Returns
    -------
    DataFrame
        `setting`, the columns with several values, and mean, low, high, n_seeds, ascending.

    Raises
    ------
    ValueError
        If no row is left.
    """
    wanted = PERFECT | {"n_modes": 8, "n_photons": 2, "space": "fock", "twin": None} | fixed
    wanted.pop(setting)
    keep, by = pd.Series(True, index=rows.index), [setting]
    for name, value in wanted.items():
        if isinstance(value, list):
            keep &= rows[name].isin(value)
            by.append(name)
        elif name in _CIRCUIT and value is None:
            keep &= rows[name].isna()
        elif value is not None:
            keep &= rows[name].eq(value)
    if not keep.any():
        raise ValueError(f"no rows of a sweep of {setting} with {fixed}")
    table = summarise(rows[keep], by=by)
    return table.sort_values(by, ignore_index=True)[[*by, "mean", "low", "high", "n_seeds"]]


def losses(rows: pd.DataFrame, heads: dict[str, str]) -> pd.DataFrame:
    """Paired difference of heads to their references: what a machine costs, seed by seed.

    Parameters
    ----------
    rows : DataFrame
    heads : dict of str to str
        Head and its reference.

    Returns
    -------
    DataFrame
        head, reference, and the columns of :func:`qllm_helpers.results.contrasts.difference_tests`.
    """
    from qllm_helpers.results.contrasts import difference_tests

    wide = paired_values(rows, by="head", value="test_accuracy")
    pairs = {pair: (wide[pair[0]] - wide[pair[1]]).dropna() for pair in heads.items()}
    return pd.DataFrame(list(pairs), columns=["head", "reference"]).join(difference_tests(pairs))


def shots_for(table: pd.DataFrame, target: float) -> float:
    """Least number of shots whose mean accuracy reaches a target, or inf.

    Parameters
    ----------
    table : DataFrame
        From ``sweep(rows, "n_shots")``.
    target : float
        Accuracy, a fraction.
    """
    enough = table.loc[table["mean"] >= target, "n_shots"]
    return float(enough.min()) if len(enough) else math.inf


def kept_share(n_photons: int, noise: Noise) -> float:
    """Share of attempts in which all photons of a source without second photons arrive.

    Parameters
    ----------
    n_photons : int
    noise : Noise

    Returns
    -------
    float
        survival ** n_photons: the price of post-selection in shots is one over it.
    """
    return noise.survival**n_photons


def estimate(
    kept_shots: float,
    share: float,
    machine: Machine = CLOUD,
    *,
    n_sentences: int = 1000,
    seconds_to_switch: float = 0.01,
) -> pd.Series:
    """Attempts, wall time and price of sentences on a processor, queues not included.

    Parameters
    ----------
    kept_shots : float
        Shots with all photons that every sentence needs.
    share : float
        Share of attempts that are kept, from :func:`kept_share`.
    machine : Machine
    n_sentences : int
        Each is a circuit of its own: its phases are the sentence.
    seconds_to_switch : float
        To set the phases of the next sentence (our assumption: thermal phase shifters).

    Returns
    -------
    Series
        attempts (all sentences), seconds, euro_by_shot, euro_by_hour.

    Raises
    ------
    ValueError
        If the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"the kept share must be in (0, 1], not {share}: no shot would be left.")
    attempts = np.ceil(kept_shots / share) * n_sentences
    seconds = attempts / machine.pulses_per_second + n_sentences * seconds_to_switch
    by_shot = n_sentences * machine.price_per_circuit + attempts * machine.price_per_shot
    by_hour = machine.price_per_hour * seconds / 3600
    values = {"attempts": attempts, "seconds": seconds}
    return pd.Series(values | {"euro_by_shot": by_shot, "euro_by_hour": by_hour})
