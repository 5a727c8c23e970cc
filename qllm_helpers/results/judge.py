"""Judge: a reader's own head on the splits, rows and tests of the studies; a referee's doubts."""

from __future__ import annotations

import json
import math
import re
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
from qllm_helpers.studies.grid import load_units
from qllm_helpers.studies.own import EXCHANGED, Entrant, find_data, find_head, find_place
from qllm_helpers.studies.run import run_study
from qllm_helpers.studies.table import with_predictions
from qllm_helpers.text.embeddings import load_embeddings
from qllm_helpers.text.encoders import DEFAULT_ENCODER

#: Whom every head is compared with, labels of the studies `paper` and `few_shot`; the one that the
#: sentence is about first.
REFERENCES = ("LogisticRegression, C = 1", "SVC RBF, C = 1", "8 modes, 2 photons")
#: The linear map that is fitted where no rows are shipped; else the one nearest in size, if it is
#: no more than `NEAR` times larger or smaller, joins the references.
LINEAR, LINEAR_MAPS, NEAR = "NN[0]", r"NN\[0\]|linear map of rank \d+|.*photons?, linear", 2.0
#: Share of runs that would have seen the difference that a card calls detectable.
POWER = 0.8


@dataclass(frozen=True)
class Card:
    """What a head was found to be; printed, one sentence and the warnings.

    Attributes
    ----------
    head, address : str
        Its label, and where its class stands.
    verdicts : DataFrame
        One row a reference, with the columns of :func:`load_verdicts`, ``n_parameters`` of the
        reference, and ``detectable``: the difference (fraction) that would have been seen with
        80 % power.
    fits : DataFrame
        Rows of the first reference, the head and the others, with ``predictions``.
    rows : list of dict
        What this run computed, as studies keep it.
    warnings, failures, notes : list of str
        What a referee would object to; seeds that gave no row; how the comparison was made.
    doubt : bool
        Whether the head may have seen the test sentences.
    """

    head: str
    address: str
    verdicts: pd.DataFrame
    fits: pd.DataFrame
    rows: list[dict]
    warnings: list[str]
    failures: list[str]
    notes: list[str]
    doubt: bool

    @property
    def sentence(self) -> str:
        """The verdicts in one sentence."""
        first, *others = self.verdicts.to_dict("records")
        said = f"against {first['reference']}: {verdict(first)}"
        said += "".join(f"; against {row['reference']}: {row['verdict']}" for row in others)
        return "Has it seen these sentences? " * self.doubt + f"{self.head} {said}."

    def __str__(self) -> str:
        more = [f"! {line}" for line in (*self.warnings, *self.failures)]
        return "\n".join([self.sentence, *more])


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

    It is fitted on the splits of the studies, and compared with their rows by their tests: paired
    seeds crossed with sentences, corrected by Holm over the card. A stopped run goes on where it
    was; ``joblib.parallel_config`` puts it on a cluster. ``figures.write_card`` writes a report.

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
    dataset, encoder, doubles = find_data(X, y, dataset, encoder)
    place = find_place(dataset, encoder, protocol, samples_per_class, seeds)
    failed, options = [], {"n_jobs": n_jobs, "store": store, "progress": progress}
    rows = _own_rows(entrant, place, name, options | {"failures": failed})
    own = with_predictions("judge", [row for row in rows if row["head"] == name])
    probe = next((row for row in rows if row["head"] == name + EXCHANGED), None)
    known, more = _references(place, own["n_parameters"].median(), options | {"failures": failed})
    table = _verdicts(place, own, known, name, margin)
    warnings, doubt = _doubts(table, entrant, place, probe)
    if doubles:
        warnings.append(f"{doubles} samples that occur more than once were left out.")
    first = known["head"] == REFERENCES[0]
    return Card(
        **{"head": name, "address": entrant.address, "verdicts": table, "rows": [*rows, *more]},
        **{"fits": pd.concat([known[first], own, known[~first]]), "failures": _reasons(failed)},
        **{"warnings": warnings, "doubt": doubt, "notes": _notes(own, probe, place, not more)},
    )


def _own_rows(entrant: Entrant, place: dict, name: str, options: dict) -> list[dict]:
    """Rows of the head, and one of it after it was taught wrong labels."""
    failed = options["failures"]
    with TemporaryDirectory() as folder:
        if entrant.identity is None:  # a kept row might be another head's
            options = options | {"store": Path(folder)}
        rows = run_study(entrant.units(place, name), **options)
        # seeds that are fitted in one run fail in one; alone, most may succeed
        together = [unit for unit, _ in failed if len(unit.seeds) > 1]
        if together:
            failed[:] = [pair for pair in failed if pair[0] not in together]
            apart = [replace(unit, seeds=(seed,)) for unit in together for seed in unit.seeds]
            rows += run_study(apart, **options)
    return rows


def _references(place: dict, size: float, options: dict) -> tuple[pd.DataFrame, list[dict]]:
    """Rows of the references with predictions, and those of them that were computed now."""
    study = place["protocol"]
    every = having(shipped_fits({study})[study], {"fine_tuned": False, "selection": "pool"})
    wanted = {name: place[name] for name in ("dataset", "encoder", "samples_per_class")}
    here = having(every, wanted)
    if set(place["seeds"]) <= set(here["seed"]):
        names = [*REFERENCES, *_nearest(here, size)]
        return here[here["head"].isin(names) & here["seed"].isin(place["seeds"])], []
    body = place["encoder"] if place["encoder"] in set(every["encoder"]) else DEFAULT_ENCODER
    settings = having(every, {"encoder": body}).drop_duplicates("head").set_index("head")
    units = [
        replace(unit, **place, study="judge", settings=(json.loads(setting),))
        for unit in load_units(study, encoder=body)
        if unit.head in (*REFERENCES, LINEAR) and not unit.fine_tuned and unit.selection == "pool"
        for setting in [settings.loc[unit.head, "hyperparameters"]]
    ]
    rows = run_study(units, **options)
    return with_predictions("judge", rows), rows


def _nearest(rows: pd.DataFrame, size: float) -> list[str]:
    """The linear map with about as many parameters, if there is one."""
    maps = rows[rows["head"].str.fullmatch(LINEAR_MAPS)].drop_duplicates("head")
    if pd.isna(size) or size == 0 or maps.empty:
        return []
    times = np.abs(np.log(maps.set_index("head")["n_parameters"].astype(float) / size))
    return [times.idxmin()] if times.min() <= math.log(NEAR) else []


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
    effect = TTestPower().solve_power(nobs=n_seeds, alpha=LEVEL / n_tests, power=POWER)
    return effect * math.sqrt(n_seeds) * error


def _doubts(table, entrant: Entrant, place: dict, probe: dict | None) -> tuple[list[str], bool]:
    """What a referee would object to, and whether the test sentences may have been seen."""
    found, seen, n_seeds = [], [], len(place["seeds"])
    own, best = table["accuracy"].max(), table["reference_accuracy"].max()
    if 1 - own < (1 - best) / 3 and own - best > 0.05:
        seen.append(f"its accuracy is {own:.3f}, and that of the best reference {best:.3f}")
    if probe and probe["outside_accuracy"] > _guess(place) + max(0.05, 2 / probe["n_test"] ** 0.5):
        share = f"{probe['outside_accuracy']:.3f}"
        seen.append(f"taught wrong labels, it still gives the right ones: accuracy {share}")
    if seen:
        found.append(f"Has it seen these sentences? {'; '.join(seen)}. Do not trust the verdict.")
    if n_seeds < SEEDS:
        found.append(f"{n_seeds} seeds are fewer than {SEEDS}: with others it may be otherwise.")
    wide = (table["high_90"] - table["low_90"]) / 2 >= table["margin"]
    if names := list(table["reference"][wide & (table["verdict"] == "inconclusive")]):
        found.append("The spread is too wide to conclude anything: not even a difference of zero "
                     f"would count as equivalent to {', '.join(names)}.")  # fmt: skip
    if entrant.identity is None:
        found.append("It cannot be told what the head is made of, so nothing was kept: a stopped "
                     "run starts anew. Put its code into a file.")  # fmt: skip
    return found, bool(seen)


def _guess(place: dict) -> float:
    """Accuracy of always saying the commonest label."""
    y = load_embeddings(place["dataset"], place["encoder"]).y
    return float(np.bincount(y).max() / len(y))


def _reasons(failed: list) -> list[str]:
    """One line for every reason, with the heads and the seeds that it stopped."""
    found: dict[tuple, list[int]] = {}
    for unit, reason in failed:
        found.setdefault((unit.head, reason), []).extend(unit.seeds)
    return [
        f"{head}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}: {reason}"
        for (head, reason), seeds in found.items()
    ]


def _notes(own: pd.DataFrame, probe: dict | None, place: dict, shipped: bool) -> list[str]:
    """How the comparison was made, and what nobody can know from here."""
    found = [
        "Every seed fits a fresh copy of the head. It gets the training sentences of its split "
        "with their labels, and then the test sentences without: no test label leaves the judge."
    ]
    if len(own):
        row = own.iloc[0]
        size = "not known" if pd.isna(row["n_parameters"]) else f"{row['n_parameters']:,}"
        found.append(f"{row['n_train']:,} sentences train, {row['n_test']:,} test; parameters of "
                     f"the head: {size}.")  # fmt: skip
    if probe:
        found.append(
            "What a head knows from elsewhere it also knows after training on wrong labels. Taught "
            f"each label in place of another, it is right on {probe['outside_accuracy']:.1%} of "
            f"the test sentences (seed {probe['seed']}); always saying the commonest label, "
            f"{_guess(place):.1%}. A head that hides what it knows would pass."
        )
    return [
        *found,
        "Settings were taken as given: none was chosen in this run. If they were chosen before on "
        "sentences that test here, the verdict is too kind, and nobody can see it from here.",
        "The references are rows of the book."
        if shipped
        else "The references were fitted in this run, with settings that the book chose on SST-2.",
        "Intervals (95 %) hold the draw of seeds and of test sentences; p-values are corrected by "
        "Holm over the card. The detectable difference is what a two-sided t-test over the seeds, "
        "with the interval's standard error and Holm's strictest level, sees in 80 % of runs.",
    ]
