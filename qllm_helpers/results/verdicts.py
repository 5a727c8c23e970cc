"""Claims, written down as data before they are looked at, and one verdict for each.

Two heads are paired over seeds and crossed with test sentences: another draw of either would give
another difference. The two-way bootstrap (Owen 2007, "The pigeonhole bootstrap") draws both again.
"""

from __future__ import annotations

import io
import tomllib
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from qllm_helpers import checks
from qllm_helpers.files import DATA_DIR, read_verified, write_atomic, write_manifest
from qllm_helpers.results.contrasts import MARGIN, NOT_RUN, t_tests, with_verdicts
from qllm_helpers.results.intervals import having
from qllm_helpers.studies.data import outside_pool, split_of
from qllm_helpers.studies.table import load_predictions, load_results, predictions_file
from qllm_helpers.text.corpora import load_embeddings

CLAIMS, TABLE = "claims.toml", "results/verdicts.csv"
#: Seeds that a verdict needs, unless its claim says why there are fewer.
SEEDS = 20
DRAWS = 2000
_REQUIRED = ("claim", "question", "head", "reference", "study", "family")
#: What a claim may leave out; without `samples_per_class`, its study has one size only.
_DEFAULTS = {
    **{"dataset": "sst2", "bodies": ["frozen"], "encoders": ["all-mpnet-base-v2"]},
    **{"reference_study": None, "samples_per_class": None, "selection": "pool", "because": ""},
    **{"reference_body": None, "shift": 0.0},
    **{"margin": MARGIN, "margin_reason": "one point, our choice"},
}
_PLACE = ("dataset", "encoder", "fine_tuned", "selection", "samples_per_class")
_NUMBERS = ("accuracy", "reference_accuracy", "difference", "low", "high", "low_90", "high_90")
_NUMBERS += ("p", "p_corrected", "p_equivalence", "margin", "shift")
_COLUMNS = (
    *("claim", "question", "head", "reference", "body", "reference_body", "study"),
    *("reference_study", "protocol"),
    *("dataset", "selection", "samples_per_class", *_NUMBERS, "verdict", "holds", "n_seeds"),
    *("n_sentences", "family", "margin_reason", "because"),
)
_TYPES = dict.fromkeys(("samples_per_class", "n_seeds", "n_sentences"), "Int64")
_TYPES |= dict.fromkeys(_NUMBERS, float) | {"holds": "boolean", "because": str}


def read_claims(path: Path = DATA_DIR / CLAIMS) -> list[dict]:
    """A dict for each body of each claim; ValueError for unknown fields and for duplicates."""
    claims = tomllib.loads(path.read_text(encoding="utf-8")).get("claims", [])
    rows = [row for claim in claims for row in expand(claim)]
    names, pairs = [claim["claim"] for claim in claims], set()
    for row in rows:
        sides = ("study", "head", "body"), ("reference_study", "reference", "reference_body")
        sides = frozenset(tuple(row[name] for name in side) for side in sides)
        pair = (sides, *(row[name] for name in _PLACE))
        if pair in pairs or names.count(row["claim"]) > 1:
            raise ValueError(f"claim {row['claim']!r}, or its pair of heads, comes twice")
        pairs.add(pair)
    return rows


def expand(claim: dict) -> list[dict]:
    """A claim with its defaults, once for each body; ValueError if it cannot be judged."""
    name = f"claim {claim.get('claim')!r}"
    for field in claim:
        checks.choice(f"a field of {name}", field, (*_REQUIRED, *_DEFAULTS))
    if missing := [field for field in _REQUIRED if field not in claim]:
        raise ValueError(f"{name} needs the field {missing[0]!r}")
    claim = _DEFAULTS | {"reference_study": claim["study"]} | claim
    checks.choice(f"question of {name}", claim["question"], ("better", "equivalent"))
    checks.real(f"margin of {name}", claim["margin"], open_below=True)
    checks.real(f"shift of {name}", claim["shift"], -1.0, 1.0)
    other = claim.pop("reference_body")
    for body in (*claim["bodies"], other or "frozen"):
        checks.choice(f"body of {name}", body, ("frozen", "tuned", "end to end"))
    return [
        claim
        | {"encoder": encoder, "fine_tuned": body == "tuned", "body": f"{encoder}, {body}"}
        | {"reference_body": f"{encoder}, {other or body}"}
        for encoder, body in product(claim["encoders"], claim["bodies"])
    ]


def shipped_fits(names: set[str]) -> dict[str, pd.DataFrame]:
    """Rows of those studies that are shipped, with their `predictions`."""
    return {
        name: load_results(name).assign(predictions=load_predictions(name))
        for name in names
        if predictions_file(name).is_file()
    }


@lru_cache(maxsize=2)
def _sentence_weights(n: int) -> np.ndarray:
    """How often each draw takes each of n sentences: float32, (n, draws)."""
    draw = np.random.default_rng(n)
    taken = (np.bincount(draw.integers(n, size=n), minlength=n) for _ in range(DRAWS))
    return np.stack([one.astype(np.float32) for one in taken]).T


@lru_cache(maxsize=16)
def _counts(tested: bytes, n_seeds: int) -> np.ndarray:
    """How many sentences test each seed in each draw: the same for all heads of a protocol."""
    tested = np.frombuffer(tested, dtype=bool).reshape(n_seeds, -1).astype(np.float32)
    return tested @ _sentence_weights(tested.shape[1])


def crossed(gap: np.ndarray) -> tuple[float, float]:
    """Mean over seeds of a difference of accuracies, and its error by the two-way bootstrap.

    `gap`, (seeds, sentences), is -1, 0 or 1, and NaN where a sentence does not test a seed.
    """
    gap = gap[:, ~np.isnan(gap).all(axis=0)].astype(np.float32)
    tested, gap = ~np.isnan(gap), np.nan_to_num(gap)
    n_seeds, n_sentences = gap.shape
    sums = gap @ _sentence_weights(n_sentences)  # exact: whole numbers
    means = sums.astype(float) / _counts(tested.tobytes(), n_seeds)
    even, draw = np.full(n_seeds, 1 / n_seeds), np.random.default_rng(n_seeds)
    draws = (draw.multinomial(n_seeds, even, size=DRAWS).T * means).mean(axis=0)
    mean = (gap.sum(axis=1, dtype=float) / tested.sum(axis=1)).mean()
    return float(mean), float(draws.std(ddof=1))


@lru_cache(maxsize=16)
def _corpus(dataset: str, encoder: str, protocol: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and which sentences decide verdicts."""
    return load_embeddings(dataset, encoder).y, outside_pool(dataset, encoder, protocol)


def _right(rows: pd.DataFrame) -> pd.DataFrame:
    """Seeds by sentences of the corpus: 1 right, 0 wrong, NaN in the pool or not tested."""
    y, outside = _corpus(*rows.iloc[0][["dataset", "encoder", "protocol"]])
    right = np.full((len(rows), len(y)), np.nan, dtype=np.float32)
    for answers, (_, row) in zip(right, rows.iterrows(), strict=True):
        test = split_of(row).test
        answers[test] = row["predictions"] == y[test]
    right[:, ~outside] = np.nan
    return pd.DataFrame(right, index=rows["seed"])


def _judged(claim: dict, fits: dict[str, pd.DataFrame]) -> dict:
    """What is known of a claim before the correction; nothing if a side has no rows."""
    wanted, sides = {name: claim[name] for name in _PLACE if claim[name] is not None}, []
    for study, head in (("study", "head"), ("reference_study", "reference")):
        rows = fits.get(claim[study], pd.DataFrame(columns=["head", *_PLACE]))
        if head == "reference":
            wanted["fine_tuned"] = claim["reference_body"].endswith("tuned")
        rows = having(rows, {"head": claim[head]} | wanted)
        if rows.empty:
            return {}
        if rows["seed"].duplicated().any():
            raise ValueError(f"{claim[head]!r} has two rows of one seed: name samples_per_class")
        sides.append(_right(rows))
    head, reference = sides[0].align(sides[1], join="inner", axis=0)
    seeds, gap = len(head), (head - reference).to_numpy()
    mean, error = crossed(gap)
    if not head.isna().equals(reference.isna()):
        raise ValueError(f"the sides of {claim['claim']!r} have different test sentences")
    if seeds < 2 or (seeds < SEEDS and not claim["because"]):
        raise ValueError(f"{claim['claim']!r} has {seeds} of {SEEDS} seeds, and no `because`")
    means = {"accuracy": head, "reference_accuracy": reference}
    return {
        **{name: side.astype(float).mean(axis=1).mean() for name, side in means.items()},
        **t_tests(mean - claim["shift"], error, seeds - 1, claim["margin"]),
        **{"n_seeds": seeds, "n_sentences": int((~np.isnan(gap)).any(axis=0).sum())},
        **rows.iloc[0][["protocol", "samples_per_class"]],
    }


def verdict_table(claims: list[dict] | None = None, fits: dict | None = None) -> pd.DataFrame:
    """The table of :func:`load_verdicts` from claims and rows with predictions (None: shipped)."""
    claims = read_claims() if claims is None else claims
    named = {claim[study] for claim in claims for study in ("study", "reference_study")}
    fits = shipped_fits(named) if fits is None else fits
    rows = [claim | _judged(claim, fits) for claim in claims]
    table = pd.DataFrame(rows, columns=_COLUMNS).astype(_TYPES)
    families = [with_verdicts(part) for _, part in table.groupby("family")]
    table = pd.concat(families or [table]).sort_index()
    holds = table["verdict"].eq(table["question"]).astype("boolean")
    return table.assign(holds=holds.where(table["n_seeds"].notna()))


def verdicts_on(encoder: str, study: str, fits: pd.DataFrame) -> pd.DataFrame:
    """What a study's claims come to on another body, from rows with their `predictions`."""
    mine = {"encoder": encoder, "because": "a reader's own run"}
    claims = {}
    for claim in read_claims():
        if claim["study"] == claim["reference_study"] == study:
            body = f"{encoder}, {claim['body'].partition(', ')[2]}"
            claims[claim["claim"], body] = claim | mine | {"body": body}
    table = verdict_table([*claims.values()], {study: fits})
    return table[table["verdict"] != NOT_RUN]


def write_verdicts(table: pd.DataFrame) -> Path:
    """Ship the table, and the digest of the claims."""
    content = table.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    write_atomic(DATA_DIR / TABLE, content.encode())
    write_manifest(TABLE, CLAIMS)
    return DATA_DIR / TABLE


def load_verdicts() -> pd.DataFrame:
    """Every claim of the book with its verdict, a row for each body.

    Returns
    -------
    DataFrame
        ``claim``; ``question`` (better, equivalent); ``head``, ``reference``; ``body``, as in
        "all-mpnet-base-v2, frozen" (or "tuned" before, or "end to end" with the head), and
        ``reference_body``, mostly the same; ``study``, ``reference_study``, ``protocol``,
        ``dataset``, ``selection``, ``samples_per_class``;
        ``accuracy``, ``reference_accuracy`` (means over seeds outside the development pool),
        ``difference`` (fractions; less ``shift``, a reported one, mostly 0); ``low``, ``high``, its
        95 % interval over seeds and sentences; ``low_90``, ``high_90``, that of 90 %, for the two
        one-sided tests; ``p`` (two-sided), ``p_corrected``, ``p_equivalence``, both corrected by
        Holm over the ``family``; ``margin``, ``margin_reason``; ``verdict`` (better, worse,
        equivalent, inconclusive, not run); ``holds``, whether it is what the question asks for;
        ``n_seeds``, ``n_sentences``; ``because``, why there are fewer than 20 seeds. DataError if
        the table is missing, or differs from its SHA-256.
    """
    content = read_verified(TABLE, regenerate="qllm verdicts --write")
    return pd.read_csv(io.BytesIO(content), dtype=_TYPES).fillna({"because": ""})


def find(table: pd.DataFrame, **where) -> pd.Series:
    """The one row whose columns have these values, as in ``find(table, head=..., body=...)``."""
    found = having(table, where)
    if len(found) != 1:
        raise ValueError(f"{len(found)} verdicts, not one, have {where}")
    return found.iloc[0]
