"""A reader's own head and data as units of a study: found, checked, and named by what they are."""

from __future__ import annotations

import random
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from uuid import uuid4

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from torch import nn

from qllm_helpers import checks, files
from qllm_helpers.classifiers.replicated import ReplicatedClassifier
from qllm_helpers.files import DataError
from qllm_helpers.heads import parameters as counting
from qllm_helpers.studies import grid
from qllm_helpers.studies.data import study_split
from qllm_helpers.studies.grid import PROTOCOLS, Unit, digest, load_address
from qllm_helpers.text.embeddings import keep_own, load_embeddings
from qllm_helpers.text.encoders import body_identity, encode

#: What follows the name of a head that was taught the wrong labels on purpose.
EXCHANGED = ", labels exchanged"
#: Sentences that every label of a reader's data needs: some train, some validate, some test.
SMALLEST = 12
_INSTALLED = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}


class OwnHead(BaseEstimator):
    """A reader's head as studies fit it: seeded, and refused if it does not answer with labels.

    If `exchanged`, it learns for every label the next one: who is right after that did not learn
    it from the training part.
    """

    def __init__(self, head, exchanged: bool = False, random_state: int | None = None):
        self.head = head
        self.exchanged = exchanged
        self.random_state = random_state

    def fit(self, X, y):
        """Fit a fresh copy on X (n, d) and labels y (n,)."""
        self.classes_ = np.unique(y)
        y = (y + self.exchanged) % len(self.classes_)
        self.head_ = clone(self.head, safe=False)
        known = self.head_.get_params() if hasattr(self.head_, "get_params") else ()
        if names := [name for name in known if name.rpartition("__")[2] == "random_state"]:
            self.head_.set_params(**dict.fromkeys(names, self.random_state))
        with _seeded(self.random_state):
            self.head_.fit(X, y)
        return self

    def predict(self, X) -> np.ndarray:
        """Labels (n,) of samples X (n, d); ValueError for anything else that the head says."""
        with _seeded(self.random_state):
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


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draws from the global generators repeat; their states are put back afterwards."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


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
        """One unit a seed (one in all, if all can be fitted in one run), and one more, exchanged.

        `place` has the fields of a unit that say what it is fitted on.
        """
        alias = f"{self.identity or uuid4().hex}:{self.address.rpartition(':')[2]}"
        grid.KNOWN[alias] = self
        parts = {"parameters": {"address": self.address, "identity": self.identity}}
        parts |= place | {"study": "judge", "estimator": alias, "settings": ({},), "head": name}
        seeds = [(seed,) for seed in place["seeds"]]
        if isinstance(self.head, ReplicatedClassifier):
            seeds = [place["seeds"]]
        wrong = {"head": name + EXCHANGED, "parameters": parts["parameters"] | {"exchanged": True}}
        exchanged = Unit(**parts | wrong | {"seeds": place["seeds"][:1]})
        return [*(Unit(**parts | {"seeds": part}) for part in seeds), exchanged]


def find_head(head) -> Entrant:
    """A head from an instance, a class, a factory or an address; ValueError if it is none."""
    head = load_address(head) if isinstance(head, str) else head
    name = getattr(head, "__name__", type(head).__name__)
    if isinstance(head, type) or not hasattr(head, "fit"):
        if not callable(head):
            raise ValueError(f"{name} is no head: it needs fit(X, y) and predict(X)")
        try:
            head = head()
        except TypeError as error:
            how = "give an instance, or a function that makes one"
            raise ValueError(f"{name} cannot be made without arguments ({error}): {how}") from error
    for method in ("fit", "predict"):
        if not callable(getattr(head, method, None)):
            raise ValueError(f"{name} has no {method}: a head needs fit(X, y) and predict(X)")
    try:
        clone(head, safe=False)
    except Exception as error:
        raise ValueError(f"{name} cannot be copied for every seed: {error}") from error
    kind = type(head)
    try:
        identity = digest(identify(head))
    except (LookupError, TypeError, RecursionError):
        identity = None
    return Entrant(head, f"{kind.__module__}:{kind.__qualname__}", identity)


def identify(value):
    """Plain data that differ where two objects, or the code behind them, do; LookupError if not."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic | bytes):
        return repr(value)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        content = files.sha256(np.ascontiguousarray(value).tobytes())
        return [str(value.dtype), list(value.shape), content]
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return _origin(value)
    if type(value) in (list, tuple):
        return [type(value).__name__, *map(identify, value)]
    if type(value) is dict:
        return ["dict", *([identify(key), identify(one)] for key, one in value.items())]
    if hasattr(value, "get_params"):
        return [_origin(type(value)), identify(value.get_params(deep=False))]
    # what a copy of it would be made from
    parts = value.__reduce_ex__(4)
    parts = [parts] if isinstance(parts, str) else parts
    parts = [list(part) if isinstance(part, Iterator) else part for part in parts]
    return [_origin(type(value)), *map(identify, parts)]


def _origin(thing) -> list:
    """Name of a class or function, and the code that it stands in."""
    if "<" in thing.__qualname__:  # it may depend on where it was defined
        raise LookupError(f"{thing.__qualname__} has no name of its own")
    module = thing.__module__ or "builtins"
    return [module, thing.__qualname__, sorted(_code(module).items())]


def _code(module: str) -> dict[str, str]:
    """Digests of a module's file and of those that it uses; of installed packages the version."""
    found, waiting = {}, [module]
    while waiting:
        name = waiting.pop()
        top, module = name.partition(".")[0], sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if name == "__main__" and file is None:
            raise LookupError("what is defined in a notebook or at a prompt has no file")
        if file is None or top == "qllm_helpers" or _INSTALLED & {*Path(file).parents}:
            found[top] = str(getattr(sys.modules.get(top), "__version__", ""))
        elif name not in found:
            found[name] = files.sha256(Path(file))
            homes = [
                one.__name__ if isinstance(one, ModuleType) else getattr(one, "__module__", None)
                for one in vars(module).values()
            ]
            waiting += [home for home in homes if isinstance(home, str)]
    return found


def find_data(X, y, dataset: str, encoder: str) -> tuple[str, str, int]:
    """Names by which data and body are loaded, and how many samples occur once more.

    A corpus of the book, a CSV file with the columns text and label, or sentences or vectors `X`
    with labels `y`. DataError or ValueError for what cannot be used.
    """
    if X is None and y is None and not dataset.endswith(".csv"):
        load_embeddings(dataset, encoder)
        return dataset, encoder, 0
    if X is None and y is None:
        X, y = _read(Path(dataset))
    if X is None or y is None:
        raise ValueError("give both X and y, or neither")
    check_consistent_length(X, y)
    y = column_or_1d(y)
    if pd.isna(y).any():
        raise ValueError(f"sample {int(pd.isna(y).argmax())} has no label")
    names, labels = np.unique(y, return_inverse=True)
    few = names[np.bincount(labels, minlength=len(names)) < SMALLEST]
    if len(names) < 2 or len(few):
        what = f"{few[0]!r} has fewer" if len(few) else f"there is one label, {names[0]!r}"
        raise ValueError(f"two or more labels with {SMALLEST} samples each are needed: {what}")
    if isinstance(X[0], str):
        texts = [str(text) for text in X]
        key = digest([texts, body_identity(encoder)])[:32]
        X = files.cached_arrays("embeddings", key, lambda: {"X": encode(texts, encoder)})["X"]
    else:
        encoder = "given features"
    X = check_array(X, dtype=np.float32)
    # the same sentence in both parts of a split would be known from training
    first = np.sort(np.unique(X, axis=0, return_index=True)[1])
    return keep_own(X[first], labels[first]), encoder, len(X) - len(first)


def _read(path: Path) -> tuple[list[str], np.ndarray]:
    """Texts and labels of a CSV file."""
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        table = pd.read_csv(path)
    except ValueError as error:
        raise DataError(f"{path} is no CSV file in UTF-8: {error}") from error
    if missing := {"text", "label"} - set(table):
        raise DataError(f"{path} has no column {min(missing)}; it has {', '.join(table)}")
    if table["text"].isna().any():
        raise DataError(f"row {int(table['text'].isna().argmax()) + 2} of {path} has no text")
    return table["text"].astype(str).tolist(), table["label"].to_numpy()


def find_place(dataset, encoder, protocol, samples_per_class, seeds) -> dict:
    """The fields of a unit that say what it is fitted on, after all splits were drawn once."""
    checks.choice("protocol", protocol, PROTOCOLS)
    seeds = range(checks.integer("seeds", seeds, 2))
    if samples_per_class is None:  # as the studies: a quarter of the rarest label is left over
        rarest = np.bincount(load_embeddings(dataset, encoder).y).min()
        samples_per_class = min(PROTOCOLS[protocol], 2 ** int(np.log2(0.75 * rarest)))
    for seed in seeds:
        study_split(dataset, encoder, protocol, samples_per_class, seed)
    place = {"dataset": dataset, "encoder": encoder, "protocol": protocol, "fine_tuned": False}
    return place | {
        "samples_per_class": int(samples_per_class),
        "seeds": tuple(seeds),
        "selection": "pool",
    }
