"""One unit of a study: its settings are tried, one is chosen, and the test part is scored once.

On the development pool, whose sentences decide no verdict, every setting is tried on a few redraws
and the best ones on all of them: successive halving (Jamieson and Talwalkar, arXiv 1502.07943) in
two rounds. Numbers of epochs cost nothing extra, as they are read off the learning curve.
"""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version

import numpy as np
from sklearn.base import clone
from sklearn.metrics import f1_score, log_loss

from qllm_helpers.classifiers.replicated import ReplicatedClassifier, TrainedClassifier, fit_many
from qllm_helpers.files import DATA_DIR, cached_arrays
from qllm_helpers.heads import parameters as counting
from qllm_helpers.studies import data as splits
from qllm_helpers.studies.data import PARTS, UnitData, corpus_part, one_thread, unit_data
from qllm_helpers.studies.grid import Unit, estimator_class, reads_texts
from qllm_helpers.studies.table import to_text
from qllm_helpers.text.encoders import resolve_precision

#: Sentences (without their labels) on which a parameter with a gradient counts as live.
LIVE_SAMPLES = 512
#: Networks with more live parameters get no effective count: its matrix is this number squared,
#: and the sentences have no more than 19,226 logits. Other heads need no such matrix.
MAX_RANK = 6000
#: Redraws of the first round, settings that go on, and redraws in all, by whether the body is
#: tuned: a tuned body takes a minute for each redraw. A long search says that it has fewer.
FIRST_ROUND, FINALISTS = 5, 4
REDRAWS = {False: 20, True: 5}
#: Units that try more settings than this, or on fewer redraws, try each one by itself and keep it.
MAX_SETTINGS = 16
_UNIT = ("dataset", "encoder", "protocol", "samples_per_class", "fine_tuned", "family", "selection")
_CONFIGURATION = ("n_modes", "n_photons", "n_qubits", "encoding", "space", "readout", "twin")


@lru_cache(maxsize=1)
def provenance() -> dict[str, str]:
    """Versions of what computes, and the platform, of this process."""
    packages = ("numpy", "numba", "torch", "scikit-learn", "merlinquantum")
    versions = {name.replace("-", "_"): version(name) for name in packages}
    machine = f"{platform.system()}-{platform.machine()}"
    return {"python": platform.python_version(), **versions, "platform": machine}


def git_revision() -> str:
    """Commit of the checkout, with "+" if code was changed since; "" outside a checkout."""
    root = DATA_DIR.parent.parent
    if not (root / ".git").exists():
        return ""

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    revision = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--", "qllm_helpers/*.py")
    return revision + "+" if revision and changed else revision


#: A fit and what is known of it without the test part.
Candidate = namedtuple("Candidate", "fit setting validation_accuracy validation_loss")
# a split without a validation part: who is trained on it keeps the last weights
_TrainOnly = namedtuple("_TrainOnly", "train")


def _fit_replicas(estimator, data: UnitData, seeds, validates: bool) -> list[tuple]:
    """Fits of all seeds, validation accuracy and loss; who `validates` keeps its best epoch."""
    if isinstance(estimator, ReplicatedClassifier):
        splits = data.splits if validates else [_TrainOnly(split.train) for split in data.splits]
        fitted = fit_many(estimator, data.X, data.y, splits, seeds)
        if validates:
            return [(fit, fit.validation_accuracy_, fit.validation_loss_) for fit in fitted]
        return [(fit, *_validated(fit, data, r)) for r, fit in enumerate(fitted)]
    fits = []
    for replica, (seed, split) in enumerate(zip(seeds, data.splits, strict=True)):
        fit = clone(estimator)
        if "random_state" in fit.get_params():
            fit.set_params(random_state=seed)
        # of the others only those that train a body keep a best epoch
        tells = validates and getattr(fit, "reads_texts", False)
        parts = (split.train, split.validation) if tells else (split.train,)
        fit.fit(*(one for part in parts for one in (data.features(replica, part), data.y[part])))
        if tells and isinstance(fit, TrainedClassifier):  # saves reading all sentences again
            fits.append((fit, fit.validation_accuracy_, fit.validation_loss_))
        else:
            fits.append((fit, *_validated(fit, data, replica)))
    return fits


def _validated(fit, data: UnitData, replica: int) -> tuple[float, float]:
    """Accuracy, and loss where there are probabilities, on the seed's validation part."""
    part = data.splits[replica].validation
    X, y = data.features(replica, part), data.y[part]
    accuracy, loss = float(np.mean(fit.predict(X) == y)), float("nan")
    if hasattr(fit, "predict_proba"):
        loss = float(log_loss(y, fit.predict_proba(X), labels=fit.classes_))
    return accuracy, loss


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

    def row(self) -> dict:
        """The setting with its best number of epochs, as a row of the table of choices."""
        best, curve = int(np.argmax(self.merits)), self.accuracies.mean(axis=0)
        epochs = {} if self.epochs == [None] else {"epochs": self.epochs[best]}
        return {
            "setting": self.setting | epochs,
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
    first, every = redraws(unit)
    tried = try_settings(unit, unit.settings, range(first))
    # sorted keeps the order of equal ones: the first round's winner, then the grid's
    order = sorted(range(len(tried)), key=lambda one: -tried[one].merits.max())[:FINALISTS]
    if rest := range(first, every):
        more = try_settings(unit, [unit.settings[one] for one in order], rest)
        for one, again in zip(order, more, strict=True):
            both = np.concatenate([tried[one].accuracies, again.accuracies])
            tried[one] = replace(again, accuracies=both)
    best = min(order, key=lambda one: -tried[one].merits.max())
    rows = [one.row() | {"chosen": number == best} for number, one in enumerate(tried)]
    return rows[best]["setting"], rows


def redraws(unit: Unit) -> tuple[int, int]:
    """How many redraws of the pool judge every setting, and how many the best ones."""
    first, every = unit.redraws or (FIRST_ROUND, REDRAWS[unit.fine_tuned])
    return first, min(every, REDRAWS[unit.fine_tuned])


def is_searched_apart(unit: Unit) -> bool:
    """Whether trying the settings of a unit takes so long that each one is kept."""
    long = bool(unit.redraws) or len(unit.settings) > MAX_SETTINGS
    return long and unit.selection == "pool" and unit.settings != ({},)


def try_settings(unit: Unit, settings: Sequence[dict], numbers: range) -> list[Tried]:
    """Accuracies of settings on redraws of the pool; their numbers are seeds of weights, too."""
    tried, unit = [], replace(unit, seeds=tuple(numbers))
    data, kept = unit_data(unit, pool=True), is_searched_apart(unit)
    for setting in settings:
        compute = partial(_accuracies, unit, setting, data)
        alone = replace(unit, settings=(setting,), redraws=())
        key = alone.key(splits.data_digest(unit.dataset, unit.encoder))
        scores = (cached_arrays("tried", key, compute) if kept else compute())["accuracies"]
        epochs = setting.get("epochs")
        if listed := isinstance(epochs, list):
            setting = {name: value for name, value in setting.items() if name != "epochs"}
        chance = 1 / (int(data.y.max()) + 1)
        tried.append(Tried(setting, epochs if listed else [None], scores, chance))
    return tried


def _accuracies(unit: Unit, setting: dict, data: UnitData) -> dict[str, np.ndarray]:
    """Accuracies (redraws, numbers of epochs) on what judges: the last epoch's unless listed."""
    epochs = setting.get("epochs")
    last = {"epochs": max(epochs)} if isinstance(epochs, list) else {}
    estimator = _estimator(unit, setting | last)
    if isinstance(estimator, ReplicatedClassifier):
        # nothing is read off in between, where most of a short training's time would go
        every = int(np.gcd.reduce(epochs)) if last else estimator.epochs
        estimator.set_params(validate_every=every)
    together = isinstance(estimator, TrainedClassifier)
    fits = _fit_replicas(estimator, data, unit.seeds, validates=together)
    if not together:
        return {"accuracies": np.array([[accuracy] for _, accuracy, _ in fits])}
    curves = [fit.history_.set_index("epoch")["validation_accuracy"] for fit, *_ in fits]
    scores = [curve[epochs if last else curve.index[-1:]] for curve in curves]
    return {"accuracies": np.array(scores, dtype=float)}


def _estimator(unit: Unit, setting: dict):
    """An unfitted estimator of a unit."""
    estimator = estimator_class(unit.estimator)(**unit.parameters | setting)
    if reads_texts(unit.estimator) and "encoder" in estimator.get_params():
        estimator.set_params(encoder=unit.encoder)
    return estimator


def select(candidates: Sequence[Candidate]) -> Candidate:
    """Highest validation accuracy; ties: lower validation loss if known, then the first setting."""
    loss = [np.nan_to_num(one.validation_loss, nan=np.inf) for one in candidates]
    accuracy = [one.validation_accuracy for one in candidates]
    return candidates[np.lexsort((loss, np.negative(accuracy)))[0]]


def chosen_fits(unit: Unit, data: UnitData) -> list[Candidate]:
    """For every seed the fit with the best of the unit's settings on its validation part."""
    fitted = []
    for setting in unit.settings:
        validates = unit.selection == "validation"
        fits = _fit_replicas(_estimator(unit, setting), data, unit.seeds, validates)
        fitted.append([Candidate(fit, setting, *scores) for fit, *scores in fits])
    return [select(candidates) for candidates in zip(*fitted, strict=True)]


def run_unit(unit: Unit) -> list[dict]:
    """Rows of a unit, one per seed: the test part is used once a seed, by the chosen fit.

    The first one holds ``choices``, what the development pool said of every setting.
    """
    with one_thread():
        on_pool = unit.selection == "pool"
        setting, choices = choose(unit) if on_pool else (None, [])
        data, start = unit_data(unit), time.perf_counter()
        chosen = chosen_fits(replace(unit, settings=(setting,)) if on_pool else unit, data)
        seconds = (time.perf_counter() - start) / len(unit.seeds)
        shared = _counts(chosen[0].fit, data) | {"fit_seconds": seconds}
        rows = [_row(unit, replica, one, data) | shared for replica, one in enumerate(chosen)]
    return [rows[0] | {"choices": choices}, *rows[1:]]


def _counts(fit, data: UnitData) -> dict:
    """Parameter counts of the first seed's fit, taken as those of all seeds."""
    X = data.features(0, np.concatenate([getattr(data.splits[0], part) for part in PARTS]))
    own = hasattr(fit, "count_parameters")
    counted = fit.count_parameters(X) if own else _count_on_sentences(fit, X)
    parts = {"": counted.nominal, "live_": counted.live, "effective_": counted.effective}
    return {
        f"n_{name}parameters": None if part is None else int(part.total)
        for name, part in parts.items()
    }


def _count_on_sentences(fit, X: np.ndarray) -> counting.ParameterCount:
    """Count on as many samples as the rank needs; no rank for networks with many parameters."""
    if not hasattr(fit, "module_"):
        return counting.count_parameters(fit, X)
    live = counting.live_parameters(fit.module_, X[:LIVE_SAMPLES])
    number = sum(int(mask.sum()) for mask in live.values())
    count = replace(counting.count_parameters(fit), live=counting.PartCount(number))
    if number > MAX_RANK and not counting.has_generic_ranks(fit.module_):
        return count
    samples = X[: max(LIVE_SAMPLES, 8 + number // len(fit.classes_))]
    return replace(count, effective=counting.effective_parameters(fit.module_, samples, live))


def _row(unit: Unit, replica: int, candidate: Candidate, data: UnitData) -> dict:
    split = data.splits[replica]
    predicted = candidate.fit.predict(data.features(replica, split.test))
    y, part = data.y[split.test], corpus_part(unit)
    outside = splits.outside_pool(*part[:3])[splits.study_split(*part, unit.seeds[replica]).test]
    known = candidate.fit.get_params() if hasattr(candidate.fit, "get_params") else {}
    return {
        **{name: known.get(name) for name in _CONFIGURATION},
        **{name: getattr(unit, name) for name in _UNIT},
        "estimator": unit.estimator_name,
        "configuration": json.dumps(unit.parameters, sort_keys=True),
        "seed": unit.seeds[replica],
        "hyperparameters": json.dumps(candidate.setting, sort_keys=True),
        "n_train": len(split.train),
        "n_test": len(split.test),
        "validation_accuracy": candidate.validation_accuracy,
        "validation_loss": candidate.validation_loss,
        "test_accuracy": float(np.mean(predicted == y)),
        "outside_accuracy": float(np.mean((predicted == y)[outside])),
        "macro_f1": float(f1_score(y, predicted, average="macro")),
        "predictions": to_text(predicted, int(data.y.max()) + 1),
        "precision": resolve_precision("auto", unit.encoder),
        **provenance(),
        "data_digest": splits.data_digest(unit.dataset, unit.encoder),
    }
