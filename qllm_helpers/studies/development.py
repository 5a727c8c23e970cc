"""Settings chosen on the development pool, whose sentences decide no verdict.

Every setting is tried on a few redraws of the pool, the best ones on all of them: successive
halving (Jamieson and Talwalkar, arXiv 1502.07943) in two rounds. Numbers of epochs cost nothing
extra, as they are read off the learning curve.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import clone

from qllm_helpers.classifiers.replicated import ReplicatedClassifier, fit_many
from qllm_helpers.studies.data import UnitData, unit_data
from qllm_helpers.studies.grid import Unit, estimator_class

#: Redraws of the first round, settings that go on, and redraws in all, by whether the body is
#: tuned: a tuned body takes a minute for each redraw.
FIRST_ROUND, FINALISTS = 5, 4
REDRAWS = {False: 20, True: 5}


@dataclass(frozen=True)
class Tried:
    """Accuracies (redraws, numbers of epochs) of one setting on the sentences that judge."""

    setting: dict
    epochs: list
    accuracies: np.ndarray
    chance: float

    @property
    def merits(self) -> np.ndarray:
        """Mean accuracy at each number of epochs; lower by one where a single fit broke.

        Broken is a fit less than half as far above chance as the mean.
        """
        mean, lowest = self.accuracies.mean(axis=0), self.accuracies.min(axis=0)
        return mean - (lowest < (mean + self.chance) / 2)

    @property
    def best(self) -> int:
        """Index of the best number of epochs; of equal ones the first."""
        return int(np.argmax(self.merits))

    def chosen(self) -> dict:
        """The setting with its best number of epochs."""
        epochs = {} if self.epochs == [None] else {"epochs": self.epochs[self.best]}
        return self.setting | epochs

    def row(self) -> dict:
        """The setting as a row of the table of choices."""
        best, curve = self.best, self.accuracies.mean(axis=0)
        return {
            "setting": self.chosen(),
            "n_redraws": len(self.accuracies),
            "mean": float(curve[best]),
            "lowest": float(self.accuracies[:, best].min()),
            "broken": bool(self.merits[best] < 0),
            "epochs": self.epochs,
            "curve": curve.tolist(),
        }


def choose(unit: Unit) -> tuple[dict, list[dict]]:
    """The best setting of a unit on the development pool, and all that were tried, as rows."""
    if len(unit.settings) == 1 and not isinstance(unit.settings[0].get("epochs"), list):
        return unit.settings[0], []
    first = replace(unit, seeds=tuple(range(FIRST_ROUND)))
    data = unit_data(first, pool=True)
    tried = [_try(first, setting, data) for setting in unit.settings]
    order = sorted(range(len(tried)), key=lambda one: -tried[one].merits.max())
    rest = replace(unit, seeds=tuple(range(FIRST_ROUND, REDRAWS[unit.fine_tuned])))
    if rest.seeds:
        data = unit_data(rest, pool=True)
        for one in order[:FINALISTS]:
            more = _try(rest, unit.settings[one], data).accuracies
            both = np.concatenate([tried[one].accuracies, more])
            tried[one] = replace(tried[one], accuracies=both)
    # sorted keeps the order of equal ones: the first round's winner, then the grid's
    best = min(order[:FINALISTS], key=lambda one: -tried[one].merits.max())
    rows = [one.row() | {"chosen": number == best} for number, one in enumerate(tried)]
    return tried[best].chosen(), rows


def _try(unit: Unit, setting: dict, data: UnitData) -> Tried:
    """Accuracies of a setting on redraws `unit.seeds`, which are the seeds of the weights too."""
    epochs = setting.get("epochs")
    setting = {name: value for name, value in setting.items() if name != "epochs"}
    if not isinstance(epochs, list):
        setting, epochs = setting | ({} if epochs is None else {"epochs": epochs}), [None]
    last = {} if epochs == [None] else {"epochs": max(epochs)}
    estimator = estimator_class(unit.estimator)(**unit.parameters | setting | last)
    if isinstance(estimator, ReplicatedClassifier):
        fits = fit_many(estimator, data.X, data.y, data.splits, unit.seeds)
        curves = [fit.history_.set_index("epoch")["validation_accuracy"] for fit in fits]
        accuracies = [curve[[one or curve.index[-1] for one in epochs]] for curve in curves]
    else:
        accuracies = [[_score(estimator, data, r, seed)] for r, seed in enumerate(unit.seeds)]
    return Tried(setting, epochs, np.array(accuracies, dtype=float), 1 / (int(data.y.max()) + 1))


def _score(estimator, data: UnitData, replica: int, seed: int) -> float:
    fit, split = clone(estimator), data.splits[replica]
    if "random_state" in fit.get_params():
        fit.set_params(random_state=seed)
    fit.fit(data.features(replica, split.train), data.y[split.train])
    return fit.score(data.features(replica, split.validation), data.y[split.validation])
