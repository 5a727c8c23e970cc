"""A reader's own head and data as units of a study: found, checked, and named by what they are."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from torch import nn

from qllm_helpers.classifiers.replicated import ReplicatedClassifier
from qllm_helpers.files import DataError, cached_arrays, sha256
from qllm_helpers.heads import parameters as counting
from qllm_helpers.studies.grid import KNOWN, Unit, digest, load_address
from qllm_helpers.text.corpora import keep_own, load_embeddings
from qllm_helpers.text.encoders import body_identity, encode
from qllm_helpers.text.tuning import isolated_randomness

#: What follows the name of a head that was taught the wrong labels on purpose.
EXCHANGED = ", labels exchanged"
#: Sentences that every label of a reader's data needs: some train, some validate, some test.
SMALLEST = 12
_INSTALLED = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}


class OwnHead(BaseEstimator):
    """A reader's head as studies fit it: seeded, and refused if it does not answer with labels.

    If `exchanged`, it learns for every label the next one: whoever is right after that did not
    learn it from the training part.
    """

    def __init__(self, head, exchanged: bool = False, random_state: int | None = None):
        self.head = head
        self.exchanged = exchanged
        self.random_state = random_state

    def fit(self, X, y):
        """Fit a fresh copy on X (n, d) and labels y (n,)."""
        self.classes_, self.head_ = np.unique(y), clone(self.head, safe=False)
        known = self.head_.get_params() if hasattr(self.head_, "get_params") else ()
        if names := [name for name in known if name.rpartition("__")[2] == "random_state"]:
            self.head_.set_params(**dict.fromkeys(names, self.random_state))
        with isolated_randomness(self.random_state):
            self.head_.fit(X, (y + self.exchanged) % len(self.classes_))
        return self

    def predict(self, X) -> np.ndarray:
        """Labels (n,) of samples X (n, d); ValueError for anything else that the head says."""
        with isolated_randomness(self.random_state):
            said = np.asarray(self.head_.predict(X))
        if said.shape != (len(X),):
            raise ValueError(f"predict gave the shape {said.shape} for {len(X)} sentences")
        if not (right := np.isin(said, self.classes_)).all():
            raise ValueError(f"predict gave {said[~right][0]!r}, which is none of the labels")
        return said.astype(np.int64)

    def count_parameters(self, X) -> counting.ParameterCount:
        """Trainable numbers of the head, or of the torch modules that it holds; None: unknown."""
        try:
            return counting.ParameterCount(counting.count_parameters(self.head_).nominal)
        except (TypeError, ValueError):
            held = [one for one in vars(self.head_).values() if isinstance(one, nn.Module)]
        total = sum(p.numel() for one in held for p in counting.trainable(one).values())
        return counting.ParameterCount(counting.PartCount(total) if held else None)


@dataclass(frozen=True)
class Entrant:
    """A head that is judged; stands for its class in a grid. No `identity`: nothing is kept."""

    head: object
    address: str
    identity: str | None
    family = "own"

    def __call__(self, exchanged: bool = False, **_) -> BaseEstimator:
        if isinstance(self.head, ReplicatedClassifier) and not exchanged:
            return clone(self.head)
        return OwnHead(self.head, exchanged)

    def units(self, place: dict, name: str) -> list[Unit]:
        """A unit a seed (one in all, if the head fits all at once), and one with wrong labels.

        `place` has the fields of a unit that say what it is fitted on.
        """
        alias, seeds = f"{self.identity or uuid4().hex}:{type(self.head).__name__}", place["seeds"]
        KNOWN[alias] = self
        about = {"address": self.address, "identity": self.identity}
        place = place | {"study": "judge", "estimator": alias, "settings": ({},)}
        together = isinstance(self.head, ReplicatedClassifier)
        parts = [seeds] if together else [(seed,) for seed in seeds]
        units = [Unit(**place | {"head": name, "parameters": about, "seeds": p}) for p in parts]
        wrong = {"head": name + EXCHANGED, "parameters": about | {"exchanged": True}}
        return [*units, Unit(**place | wrong | {"seeds": seeds[:1]})]


def find_head(head) -> Entrant:
    """A head from an instance, a class, a factory or an address; ValueError if it is none."""
    head = load_address(head) if isinstance(head, str) else head
    name = getattr(head, "__name__", type(head).__name__)
    try:
        if isinstance(head, type) or (callable(head) and not hasattr(head, "fit")):
            head = head()
        clone(head, safe=False)
    except Exception as error:
        how = "give an instance, or a function that makes one"
        raise ValueError(f"{name} cannot be made and copied ({error}): {how}") from error
    for method in ("fit", "predict"):
        if not callable(getattr(head, method, None)):
            raise ValueError(f"{name} has no {method}: a head needs fit(X, y) and predict(X)")
    address = f"{type(head).__module__}:{type(head).__qualname__}"
    return Entrant(head, address, _identity(head, address))


def _identity(head, address: str) -> str | None:
    """Digest of the parameters of a head, or of all that it holds, and of its code."""
    try:
        parts = head.get_params() if hasattr(head, "get_params") else vars(head)
        content = joblib.hash(clone(head, safe=False), hash_name="sha1")
        return digest([address, content, _code([head, *parts.values()])])
    except Exception:  # what cannot be hashed cannot be told from another one
        return None


def _code(values: list) -> dict[str, str]:
    """Digests of the files that define these, and of those that they use; versions if installed."""
    found, waiting = {}, values
    while waiting:
        value = waiting.pop()
        name = getattr(value, "__name__" if isinstance(value, ModuleType) else "__module__", None)
        if not isinstance(name, str) or name in found:
            continue
        module, top = sys.modules.get(name), name.partition(".")[0]
        file = getattr(module, "__file__", None)
        if name == "__main__" and file is None:
            raise LookupError("what is defined in a notebook or at a prompt has no file")
        if file is None or top == "qllm_helpers" or _INSTALLED & {*Path(file).parents}:
            found[name] = str(getattr(sys.modules.get(top), "__dict__", {}).get("__version__", ""))
        else:
            found[name] = sha256(Path(file))
            waiting += vars(module).values()
    return found


def find_data(X, y, dataset: str, encoder: str) -> tuple[str, str, int]:
    """Names by which data and body are loaded, and how many samples occur once more.

    Of a corpus of the book, a CSV file, or sentences or vectors `X` with labels `y`.
    """
    if X is None and y is None:
        if not dataset.endswith(".csv"):
            load_embeddings(dataset, encoder)
            return dataset, encoder, 0
        try:
            table = pd.read_csv(dataset, usecols=["text", "label"])
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read texts and labels from {dataset}: {error}") from error
        X, y = table["text"].fillna("").astype(str).tolist(), table["label"]
    if X is None or y is None:
        raise ValueError("give both X and y, or neither")
    X = X.to_numpy() if hasattr(X, "to_numpy") else X
    check_consistent_length(X, y)
    names, labels = np.unique(column_or_1d(y).astype(str), return_inverse=True)
    if len(names) < 2 or min(np.bincount(labels)) < SMALLEST or pd.isna(y).any():
        counts = dict(zip(names.tolist(), np.bincount(labels).tolist(), strict=True))
        raise ValueError(f"two or more labels with {SMALLEST} samples each are needed: {counts}")
    if isinstance(X[0], str):
        key = digest([list(X), body_identity(encoder)])[:32]
        X = cached_arrays("embeddings", key, lambda: {"X": encode(list(X), encoder)})["X"]
    else:
        encoder = "given features"
    X = check_array(X, dtype=np.float32)
    # the same sentence in both parts of a split would be known from training
    first = np.sort(np.unique(X, axis=0, return_index=True)[1])
    return keep_own(X[first], labels[first]), encoder, len(X) - len(first)
