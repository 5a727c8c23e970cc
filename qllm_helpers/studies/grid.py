"""Studies as data: which heads, settings and protocol, how many seeds (``data/studies.toml``).

A study names heads, bodies and ways of selecting; every combination is a unit, unless a head says
that it has fewer. The settings that a head may choose from stand in the table ``search``.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from math import comb
from pathlib import Path

import numpy as np

from qllm_helpers import checks
from qllm_helpers.files import DATA_DIR, UnknownNameError, sha256
from qllm_helpers.text.corpora import corpus

#: Names that the book uses.
STUDY_NAMES = (
    *("few_shot", "paper", "photons", "qubits", "screen"),
    *("finetune", "multiclass", "sample_efficiency", "noise", "end_to_end"),
)
#: Raise it when a change of the code changes results: stored rows of older versions are ignored.
RESULTS_VERSION = 4
#: Largest difference (fraction) of a recomputed accuracy to the shipped one that counts as the
#: same. On one machine it is zero; other processors round differently, and training amplifies it.
TOLERANCE = 0.02
#: Columns that say which unit of a study a row is of.
PLACE = ("head", "dataset", "encoder", "samples_per_class", "fine_tuned", "selection")
#: Sentences of each label, unless the study says otherwise.
PROTOCOLS = {"paper": 256, "few_shot": 8}
#: Ways to choose among a head's settings: once on the development pool, last weights; or for every
#: seed on its own validation sentences, best epoch, as the publications did.
SELECTIONS = ("pool", "validation")
#: What a part of a study may say differently from the study, and a head as well.
_WAYS = {"fine_tuned", "selection", "encoder"}
_PART_FIELDS = {"dataset", "samples_per_class"} | _WAYS
_STUDY_FIELDS = _PART_FIELDS | {"title", "protocol", "seeds", "heads", "parts"}
_HEAD_FIELDS = {"label", "estimator", "fixed", "vary", "tune", "seeds", "seeds_apart"} | _WAYS


#: Estimators that a grid can name, beside any address "package.module:Name".
_HERE = "qllm_helpers.classifiers"
_BUILT_IN = {
    "LogisticRegression": "sklearn.linear_model",
    "SVC": "sklearn.svm",
    "MLPClassifier": f"{_HERE}.estimators",
    "PhotonicClassifier": f"{_HERE}.estimators",
    "QubitClassifier": f"{_HERE}.estimators",
    "QuadraticFormClassifier": f"{_HERE}.estimators",
    "NoisyPhotonicClassifier": f"{_HERE}.estimators",
    "PhotonicKernelClassifier": f"{_HERE}.kernel",
    "FourierClassifier": f"{_HERE}.kernel",
    "EndToEndClassifier": f"{_HERE}.text",
}
#: scikit-learn's own classes do not say it.
_FAMILIES = {"LogisticRegression": "linear", "SVC": "svc"}
#: Classes by name and address, as they were found; a reader's own head is entered here.
KNOWN: dict[str, type] = {}


def estimator_class(name: str) -> type:
    """The class of a name. Raises UnknownNameError if there is none, or it has no family."""
    if name in KNOWN:
        return KNOWN[name]
    if name not in _BUILT_IN and ":" not in name:
        known = ", ".join(sorted({*_BUILT_IN, *KNOWN}))
        raise UnknownNameError(
            f'unknown estimator {name!r}; known: {known}, and any address "package.module:Name"'
        )
    kind = load_address(name if ":" in name else f"{_BUILT_IN[name]}:{name}")
    if not hasattr(kind, "family") and kind.__name__ not in _FAMILIES:
        raise UnknownNameError(f"the class of {name!r} needs the attribute `family`, as 'mlp'")
    return KNOWN.setdefault(name, kind)


def load_address(address: str):
    """What stands at "package.module:Name"; UnknownNameError if nothing does."""
    module, _, attribute = address.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownNameError(f"there is no estimator at {address!r}: {error}") from error


def reads_texts(name: str) -> bool:
    """Whether ``fit(texts, y, X_val, y_val)`` of a class takes sentences, not their embeddings."""
    return getattr(estimator_class(name), "reads_texts", False)


def digest(value) -> str:
    """SHA-256 of the canonical JSON of some plain data."""
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


@dataclass(frozen=True)
class Unit:
    """One configuration: the unit of work, of storage and of resumption.

    Attributes
    ----------
    study, head : str
        Names, for the table only: two studies share the result of an equal configuration.
    estimator : str
        Registered name, or ``"package.module:Name"``.
    parameters : dict
        Parameters that are the same for all settings.
    settings : tuple of dict
        Hyper-parameters to choose from; ``epochs`` may be a list of numbers of epochs.
    dataset, encoder, protocol : str
    fine_tuned : bool
        Whether the body is fine-tuned on the training part of each seed.
    samples_per_class : int
    seeds : tuple of int
    selection : {"pool", "validation"}
        Where a setting is chosen: once on the development pool, keeping the last weights, or seed
        by seed on the validation part, keeping the best epoch.
    redraws : tuple of int
        How many redraws of the pool judge every setting, and how many the best ones; () as usual.
    """

    study: str
    head: str
    estimator: str
    parameters: dict
    settings: tuple[dict, ...]
    dataset: str
    encoder: str
    protocol: str
    fine_tuned: bool
    samples_per_class: int
    seeds: tuple[int, ...]
    selection: str = "validation"
    redraws: tuple[int, ...] = ()

    @property
    def place(self) -> tuple:
        """What a row is known by, with a seed: the values of :data:`PLACE`."""
        return tuple(getattr(self, name) for name in PLACE)

    @property
    def estimator_name(self) -> str:
        """Name of the estimator without the module that it is in."""
        return self.estimator.rpartition(":")[2]

    @property
    def family(self) -> str:
        """A key of ``figures.FAMILY_STYLE``; a head with its quantum layer replaced is a twin."""
        kind, circuit = estimator_class(self.estimator), self.parameters.get("circuit")
        family = circuit or getattr(kind, "family", None) or _FAMILIES[kind.__name__]
        return "twin" if self.parameters.get("twin") else family

    def specification(self, data_digest: str) -> dict:
        """Everything that the rows depend on, except the machine."""
        parts = {key: value for key, value in asdict(self).items() if key not in ("study", "head")}
        if not self.redraws:  # units from before there was such a field keep their keys
            del parts["redraws"]
        more = {"data_digest": data_digest, "results_version": RESULTS_VERSION}
        return parts | {"estimator": self.estimator_name} | more

    def key(self, data_digest: str) -> str:
        """SHA-256 of the canonical JSON of :meth:`specification`."""
        return digest(self.specification(data_digest))

    def cost(self) -> float:
        """Rough relative work, to start the largest units first and for the remaining time."""
        known = self.parameters.get
        modes, photons = known("n_modes", 0) * known("n_encoders", 1), known("n_photons", 0)
        states = 4 * modes**2 + comb(modes + photons - 1, photons) * photons if modes else 0
        if "n_qubits" in self.parameters and known("twin") != "quadratic":
            # gates times amplitudes, of the encoders and of the circuit on the latent values
            qubits, latent = known("n_qubits"), known("n_latent", known("n_qubits"))
            blocks = known("n_encoders", 1) * known("n_layers", 1) * known("connectivity", 1)
            again = (1 + known("connectivity", 1)) * (known("n_reuploads", 2) + 1)
            states += (qubits * blocks * 2**qubits + latent * again * 2**latent) / 256
        epochs = np.max(self.settings[0].get("epochs", known("epochs", 60 if states else 1)))
        # on the pool the seeds are fitted once, after a search of about seven redraws a setting
        own, tries = len(self.seeds), len(self.settings)
        fits = own + 7 * tries * (tries > 1) if self.selection == "pool" else own * tries
        width = sum(known("hidden_dims", ())) + 100
        return fits * epochs * max(1.7 * self.samples_per_class, 32) * (width + states) / 1e6


def _refuse_unknown(table: dict, fields: set[str], where: str) -> None:
    if unknown := sorted(set(table) - fields):
        raise ValueError(f"unknown field {unknown[0]!r} of {where}")


def _product(grid: dict) -> list[dict]:
    """All combinations of a table of lists, in the order in which it is written."""
    for name, values in grid.items():
        if not isinstance(values, list):
            raise ValueError(f"{name} must be a list of values to try, not {values!r}")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _search(head: dict, part: dict, search: dict) -> dict:
    """All settings of a head: a list of epochs stays one, since it is read off one training run.

    With the `redraws` that judge them, where the search says how many.
    """
    if "tune" not in head:
        return {"settings": ({},)}
    name, selection = head["tune"], part["selection"]
    if isinstance(name, dict):
        name = name.get(part["dataset"], name.get(str(part["samples_per_class"])))
    known = search.get(selection, {})
    if name not in known:
        raise ValueError(
            f"no search {selection}.{name} for {head['label']!r}; known: {list(known)}"
        )
    grid = dict(known[name])
    sample = grid.pop("sample", None)  # this many of all combinations, at random
    frozen, tuned = (grid.pop(key, None) for key in ("redraws", "redraws_tuned"))
    redraws = tuple((tuned if part["fine_tuned"] and tuned else frozen) or ())
    epochs = {"epochs": grid.pop("epochs")} if isinstance(grid.get("epochs"), list) else {}
    if epochs and selection == "validation":
        raise ValueError("on validation the best epoch is kept: give one number of epochs")
    fixed = {name: grid.pop(name) for name, value in [*grid.items()] if not isinstance(value, list)}
    combinations = _product(grid)
    if sample is not None:
        most = len(combinations)
        checks.integer(f"sample of the search {name!r}", sample, most=most)
        order = np.random.default_rng(0).permutation(most)[:sample]
        combinations = [combinations[one] for one in order]
    return {"settings": tuple(one | fixed | epochs for one in combinations), "redraws": redraws}


def _head_units(head: dict, common: dict, n_seeds: int | None, search: dict) -> list[Unit]:
    estimator_class(head["estimator"])  # refuses unknown ones
    common = common | {"estimator": head["estimator"]} | _search(head, common, search)
    seeds, units = common["seeds"], []
    if "seeds" in head and n_seeds is None:  # fewer than the study's: it would take too long
        name = f"seeds of {head['label']!r}"
        seeds = seeds[: checks.integer(name, head["seeds"], most=len(seeds))]
    # a fit of minutes is a unit of its own, so that a stopped run loses no more than one
    parts = [(seed,) for seed in seeds] if head.get("seeds_apart") else [seeds]
    for variant in (one for grid in head.get("vary", [{}]) for one in _product(grid)):
        parameters = head.get("fixed", {}) | variant
        counts = {name: parameters.get(f"n_{name}s") for name in ("mode", "photon", "qubit")}
        words = {f"{name}s": f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items() if n}
        named = common | {"head": head["label"].format(**words | parameters)}
        units += [Unit(**named | {"parameters": parameters, "seeds": part}) for part in parts]
    return units


def _ways(table: dict) -> dict[str, list]:
    """Bodies and selections of a study, or of a head that has fewer, as lists."""
    return {name: np.atleast_1d(table[name]).tolist() for name in sorted(_WAYS & {*table})}


def _refuse_unequal(name: str, units: list[Unit]) -> None:
    """Refuse heads that differ in their budget, and two rows that would look the same."""
    for selection in SELECTIONS:
        mine = [unit for unit in units if unit.selection == selection and unit.settings != ({},)]
        budgets = {len(unit.settings): unit.head for unit in mine}
        if len(budgets) > 1:
            said = ", ".join(f"{head!r} {tried}" for tried, head in budgets.items())
            raise ValueError(f"settings to try must be as many for every head of {name!r}: {said}")
    places = [(*unit.place, seed) for unit in units for seed in unit.seeds]
    if len(set(places)) < len(places):
        raise ValueError(f"two heads of study {name!r} have the same label")


def _expand(name: str, table: dict, n_seeds: int | None, search: dict) -> list[Unit]:
    """Units of one study in the order of the file, part by part."""
    _refuse_unknown(table, _STUDY_FIELDS, f"study {name!r}")
    checks.choice(f"protocol of study {name!r}", table.get("protocol"), PROTOCOLS)
    for part in table.get("parts", []):
        _refuse_unknown(part, _PART_FIELDS, f"a part of study {name!r}")
    for head in table["heads"]:
        _refuse_unknown(head, _HEAD_FIELDS, f"the head {head.get('label')!r}")
    common = {"study": name, "protocol": table["protocol"], "dataset": table.get("dataset")}
    common["samples_per_class"] = table.get("samples_per_class", PROTOCOLS[table["protocol"]])
    common["seeds"], units = tuple(range(n_seeds or table["seeds"])), []
    ways = _product({"fine_tuned": [False], "selection": ["pool"]} | _ways(table))
    for way, part in itertools.product(ways, table.get("parts", [{}])):
        part = common | way | part
        corpus(part["dataset"])
        checks.choice("selection", part["selection"], SELECTIONS)
        for head in table["heads"]:
            if all(part[way] in kept for way, kept in _ways(head).items()):
                units += _head_units(head, part, n_seeds, search)
    _refuse_unequal(name, units)
    return units


@cache
def _read(path: Path, _modified: int) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def load_units(
    study: str,
    *,
    path: Path | None = None,
    n_seeds: int | None = None,
    heads: str | None = None,
    encoder: str | None = None,
) -> list[Unit]:
    """Units of a study.

    Parameters
    ----------
    study : str
        Name of a table in the file.
    path : Path or None
        TOML file with grids; None for the shipped one.
    n_seeds : int or None
        Use seeds 0 ... n_seeds - 1 instead of the study's own.
    heads : str or None
        Shell pattern; only heads whose label matches.
    encoder : str or None
        Use this body instead of the study's own.

    Returns
    -------
    list of Unit

    Raises
    ------
    UnknownNameError
        If there is no such study, or no head matches.
    ValueError
        If the grid or `n_seeds` cannot be used.
    """
    path = path or DATA_DIR / "studies.toml"
    tables = _read(path, path.stat().st_mtime_ns)
    known = [name for name in tables if name != "search"]
    if study not in known:
        raise UnknownNameError(f"no study {study!r} in {path.name}; it has {', '.join(known)}")
    if n_seeds is not None:
        checks.integer("n_seeds", n_seeds)
    table = tables[study] | ({} if encoder is None else {"encoder": encoder})
    units = _expand(study, table, n_seeds, tables.get("search", {}))
    chosen = [unit for unit in units if heads is None or fnmatchcase(unit.head, heads)]
    if not chosen:
        known = ", ".join(unit.head for unit in units)
        raise UnknownNameError(f"no head of {study!r} matches {heads!r}; heads: {known}")
    return chosen
