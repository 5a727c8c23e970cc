"""Judge: a reader's own head on the splits, rows and tests of the studies; a referee's doubts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.power import TTestPower

from qllm_helpers import checks
from qllm_helpers.results.contrasts import LEVEL, MARGIN, NOT_RUN, verdict
from qllm_helpers.results.intervals import having
from qllm_helpers.results.verdicts import SEEDS, expand, shipped_fits, verdict_table
from qllm_helpers.studies.data import study_split
from qllm_helpers.studies.grid import PROTOCOLS
from qllm_helpers.studies.own import EXCHANGED, Entrant, find_data, find_head
from qllm_helpers.studies.run import run_study, shipped_units
from qllm_helpers.studies.table import with_predictions
from qllm_helpers.text.corpora import load_embeddings
from qllm_helpers.text.encoders import DEFAULT_ENCODER

#: Whom every head is compared with, labels of the studies `paper` and `few_shot`; the one that the
#: sentence is about first.
REFERENCES = ("LogisticRegression, C = 1", "SVC RBF, C = 1", "8 modes, 2 photons")
#: The linear map that is fitted where no rows are shipped; else the one nearest in size, if it is
#: no more than `NEAR` times larger or smaller, joins the references.
LINEAR, LINEAR_MAPS, NEAR = "NN[0]", r"NN\[0\]|linear map of rank \d+|.*photons?, linear", 2.0


@dataclass(frozen=True)
class Card:
    """What a head was found to be; printed, one sentence and the objections.

    Attributes
    ----------
    head, address : str
        Its label, and where its class stands.
    verdicts : DataFrame
        One row a reference, with the columns of :func:`load_verdicts`, ``n_parameters`` of the
        reference, and ``detectable``, the difference (fraction) seen with 80 % power.
    fits, rows : DataFrame, list of dict
        What is compared, the first reference first; and what this run computed, as studies keep it.
    seen, objections : list of str
        Why the head seems to know the test sentences, and all that a referee would object to.
    taught, known, guess : float
        Share of the test sentences of seed 0 on which the head is right after training on right
        and on wrong labels, and share of the commonest label.
    """

    head: str
    address: str
    verdicts: pd.DataFrame
    fits: pd.DataFrame
    rows: list[dict]
    seen: list[str]
    objections: list[str]
    taught: float
    known: float
    guess: float

    @property
    def sentence(self) -> str:
        """The verdicts in one sentence."""
        first, *others = self.verdicts.to_dict("records")
        said = f"against {first['reference']}: {verdict(first)}"
        said += "".join(f"; against {row['reference']}: {row['verdict']}" for row in others)
        return "Has it seen these sentences? " * bool(self.seen) + f"{self.head} {said}."

    def __str__(self) -> str:
        return "\n! ".join([self.sentence, *self.objections])


def judge(
    head,
    X=None,
    y=None,
    *,
    dataset: str = "sst2",
    protocol: str = "paper",
    encoder: str = DEFAULT_ENCODER,
    samples_per_class: int | None = None,
    seeds: int = SEEDS,
    margin: float = MARGIN,
    name: str | None = None,
    n_jobs: int | None = None,
    store: Path | None = None,
    progress: bool = False,
) -> Card:
    """Is a head of your own better than the references of this book?

    It is fitted on the splits of the studies, and compared with their rows by their tests, which
    Holm corrects over the card. A stopped run goes on where it was; ``joblib.parallel_config`` puts
    it on a cluster. ``figures.write_card`` writes a report.

    Parameters
    ----------
    head : estimator, class, function or str
        Anything with ``fit(X, y)`` and ``predict(X)``; a class or a function that makes it without
        arguments; or its address, ``"package.module:Name"``. Every seed fits a fresh copy, whose
        ``random_state`` is the seed, and numpy's, torch's and Python's generators start from it.
    X, y : sequences of n, optional
        Your own data: sentences or vectors (n, d), and labels. The references are fitted on them
        in this run, with the settings that the book chose for SST-2.
    dataset : str
        Else ``"sst2"``, ``"sst5"``, ``"trec"``, or a CSV file with the columns text and label.
    protocol : {"paper", "few_shot"}
    encoder : str
        The body, frozen: any sentence-transformers model.
    samples_per_class : int or None
        Sentences of each label that train and validate; None: as in the studies.
    seeds : int
        Use seeds 0 ... seeds - 1, at least two.
    margin : float
        Largest difference (fraction) that counts as none.
    name : str or None
        Label of the head; None: that of its class.
    n_jobs, store, progress
        As for :func:`run_study`.

    Returns
    -------
    Card

    Raises
    ------
    ValueError, DataError
        If the head, the data or an option cannot be used, before any fit.
    """
    checks.real("margin", margin, open_below=True)
    entrant = find_head(head)
    name = name or type(entrant.head).__name__
    if name in REFERENCES or re.fullmatch(LINEAR_MAPS, name):
        raise ValueError(f"a reference is called {name!r} already: give the head another name")
    checks.choice("protocol", protocol, PROTOCOLS)
    seeds = tuple(range(checks.integer("seeds", seeds, 2)))
    dataset, encoder, doubles = find_data(X, y, dataset, encoder)
    place = _place(dataset, encoder, protocol, samples_per_class, seeds)
    options = {"n_jobs": n_jobs, "progress": progress, "store": store, "failures": []}
    return _card(entrant, name, place, margin, options, doubles)


def _card(entrant: Entrant, name: str, place: dict, margin, options, doubles) -> Card:
    """Rows, verdicts and doubts."""
    with TemporaryDirectory() as folder:  # without an identity, a kept row might be another head's
        kept = {"store": Path(folder)} if entrant.identity is None else {}
        rows = run_study(entrant.units(place, name), **options | kept)
    own = with_predictions("judge", [row for row in rows if row["head"] == name])
    known, more = _references(place, own["n_parameters"].astype(float).median(), options)
    table, first = _verdicts(place, own, known, name, margin), known["head"] == REFERENCES[0]
    scores = {(row["head"], row["seed"]): row["outside_accuracy"] for row in rows}
    taught, wrong = (scores.get((one, 0), math.nan) for one in (name, name + EXCHANGED))
    share = np.bincount(load_embeddings(place["dataset"], place["encoder"]).y)
    answers = {"taught": taught, "known": wrong, "guess": float(share.max() / share.sum())}
    seen = _seen(table, **answers)
    doubts = [*_objections(table, seen, entrant.identity, len(place["seeds"]))]
    doubts += [f"{doubles} samples that occur more than once were left out."] * (doubles > 0)
    return Card(
        **{"head": name, "address": entrant.address, "verdicts": table, "rows": [*rows, *more]},
        **{"fits": pd.concat([known[first], own, known[~first]]), "seen": seen, **answers},
        objections=[*doubts, *_failures(options["failures"])],
    )


def _place(dataset, encoder, protocol, samples_per_class, seeds) -> dict:
    """The fields of a unit that say what it is fitted on, after every split was drawn once."""
    if samples_per_class is None:  # as the studies: a quarter of the rarest label is left over
        rarest = np.bincount(load_embeddings(dataset, encoder).y).min()
        samples_per_class = min(PROTOCOLS[protocol], 2 ** int(np.log2(0.75 * rarest)))
    for seed in seeds:
        study_split(dataset, encoder, protocol, samples_per_class, seed)
    place = {"dataset": dataset, "encoder": encoder, "protocol": protocol, "seeds": seeds}
    place |= {"samples_per_class": samples_per_class}
    return place | {"fine_tuned": False, "selection": "pool"}


def _references(place: dict, size: float, options: dict) -> tuple[pd.DataFrame, list[dict]]:
    """Rows of the references with predictions, and those of them that were computed now."""
    study = place["protocol"]
    every = shipped_fits({study})[study]
    every = having(every, {name: place[name] for name in ("fine_tuned", "selection")})
    same = ("dataset", "encoder", "samples_per_class")
    here = having(every, {name: place[name] for name in same})
    if set(place["seeds"]) <= set(here["seed"]):
        maps = here[here["head"].str.fullmatch(LINEAR_MAPS)].drop_duplicates("head")
        times = np.abs(np.log(maps.set_index("head")["n_parameters"].astype(float) / size))
        names = [*REFERENCES, *times[times <= math.log(NEAR)].nsmallest(1).index]
        return here[here["head"].isin(names) & here["seed"].isin(place["seeds"])], []
    body = place["encoder"] if place["encoder"] in set(every["encoder"]) else DEFAULT_ENCODER
    units = [
        replace(unit, **place, study="judge")
        for unit in shipped_units(study, body)
        if unit.head in (*REFERENCES, LINEAR) and not unit.fine_tuned
    ]
    rows = run_study(units, **options)
    return with_predictions("judge", rows), rows


def _verdicts(place: dict, own: pd.DataFrame, known: pd.DataFrame, name: str, margin: float):
    """The table of verdicts on the head, and what differences the run could have seen."""
    # a head or a reference that failed on all seeds but one has no spread: it counts as not run
    fits = pd.concat([own, known])
    fits = fits[fits.groupby("head")["seed"].transform("size") > 1]
    study = known["study"].iloc[0] if len(known) else "judge"
    claim = {"question": "better", "head": name, "family": "card", "dataset": place["dataset"]}
    claim |= {"encoders": [place["encoder"]], "samples_per_class": place["samples_per_class"]}
    claim |= {"study": "judge", "reference_study": study, "margin": margin}
    claim |= {"because": "as many seeds as were asked for"}
    others = dict.fromkeys([*REFERENCES, *known["head"]])
    claims = [claim | {"claim": f"{name} beats {other}", "reference": other} for other in others]
    table = verdict_table([expand(one)[0] for one in claims], {"judge": fits, study: fits})
    sizes = known.drop_duplicates("head").set_index("head")["n_parameters"]
    table["n_parameters"] = table["reference"].map(sizes).astype("Int64")
    return table.assign(detectable=table.apply(_detectable, axis=1, n_tests=len(table)))


def _detectable(row: pd.Series, n_tests: int) -> float:
    """The difference that is seen with 80 % power, at the strictest level of Holm's correction."""
    if row["verdict"] == NOT_RUN:
        return math.nan
    n_seeds = int(row["n_seeds"])
    error = (row["high"] - row["low"]) / 2 / stats.t.isf(LEVEL / 2, n_seeds - 1)
    effect = TTestPower().solve_power(nobs=n_seeds, alpha=LEVEL / n_tests, power=0.8)
    return effect * math.sqrt(n_seeds) * error


def _seen(table: pd.DataFrame, taught: float, known: float, guess: float) -> list[str]:
    """Signs that a head knows the test sentences: far too good, or right in spite of its labels."""
    found, own, best = [], table["accuracy"].max(), table["reference_accuracy"].max()
    if 1 - own < (1 - best) / 3 and own - best > 0.05:
        found.append(f"Its accuracy is {own:.3f}, and that of the best reference {best:.3f}.")
    # a head that follows its labels cannot be right on one sentence in both ways
    if known > guess + 0.05 and known + taught > 1.05:
        found.append(f"Taught wrong labels, it still gives the right ones: accuracy {known:.3f}.")
    return found


def _objections(table, seen, identity, n_seeds) -> Iterator[str]:
    """What a referee would object to."""
    yield from (f"Has it seen these sentences? {line} Do not trust the verdict." for line in seen)
    if n_seeds < SEEDS:
        yield f"{n_seeds} seeds are fewer than {SEEDS}: others may say otherwise."
    wide = (table["high_90"] - table["low_90"]) / 2 >= table["margin"]
    if names := list(table["reference"][wide & (table["verdict"] == "inconclusive")]):
        why = "not even a difference of zero would count as equivalent to"
        yield f"The spread is too wide to conclude anything: {why} {', '.join(names)}."
    if len(table) == len(REFERENCES):
        yield "No linear map of about its size is among the references."
    if identity is None:
        why = "what the head is made of cannot be told; put its code into a file"
        yield f"Nothing was kept, so that a stopped run starts anew: {why}."


def _failures(failed: list) -> list[str]:
    """One line for every reason, with the head and the seeds that it stopped."""
    found: dict[tuple, list] = {}
    for unit, reason in failed:
        found.setdefault((unit.head, reason), []).extend(unit.seeds)
    return [
        f"{head} has no row of seed {', '.join(map(str, sorted(seeds)))}: {reason}"
        for (head, reason), seeds in found.items()
    ]
