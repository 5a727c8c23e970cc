"""What the body contributes and what the head does: every head on a frozen and on a tuned body.

All comparisons are made within a seed, so that head and body see the same split, and all heads of
a seed share one tuned body. Which differences are formed is our choice; the paper has neither
seeds nor both bodies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qllm_helpers.results.contrasts import kinds, match_heads
from qllm_helpers.results.intervals import paired_values, summarise
from qllm_helpers.results.selection import select_best
from qllm_helpers.results.statistics import MARGIN, difference_tests

__all__ = [
    "BODIES",
    "QUESTIONS",
    "body_contrasts",
    "both_bodies",
    "chosen_by_family",
    "label_similarity",
    "twin_effects",
    "two_way_table",
    "variance_shares",
]

REFERENCE = "LogisticRegression"
#: Names of the two bodies, by a row's column ``fine_tuned``.
BODIES = {False: "frozen", True: "tuned"}
#: What :func:`body_contrasts` answers.
QUESTIONS = ("body", "head", "interaction", "unequal")
GAIN = "tuned - frozen"


def label_similarity(vectors: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean cosine similarity of two sentences with the same label, and with different ones.

    Parameters
    ----------
    vectors : ndarray, shape (n, d)
    labels : array_like of int, shape (n,)

    Returns
    -------
    dict of str to float
        ``within`` and ``between`` labels, from -1 to 1; a sentence is not compared with itself.

    Raises
    ------
    ValueError
        If there are no two sentences with the same label, or none with different labels.
    """
    labels = np.asarray(labels)
    same = labels[:, None] == labels
    pairs = {"within": same & ~np.eye(len(labels), dtype=bool), "between": ~same}
    if not all(chosen.any() for chosen in pairs.values()):
        raise ValueError("need two sentences of one label and two labels")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return {name: float((unit @ unit.T)[chosen].mean()) for name, chosen in pairs.items()}


def both_bodies(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the heads that were run on both bodies, with the name of the body.

    Parameters
    ----------
    rows : DataFrame
        One row per fit, with a column ``fine_tuned``.

    Returns
    -------
    DataFrame
        With ``body``, one of the values of :data:`BODIES`. Seeds that a head has on one body only
        are left out.

    Raises
    ------
    ValueError
        If no head has rows on both bodies.
    """
    named = rows.assign(body=rows["fine_tuned"].map(BODIES))
    bodies = named.groupby(["head", "seed"])["body"].transform("nunique")
    named = named[bodies == len(BODIES)]
    if named.empty:
        raise ValueError("no head has rows on a frozen and on a tuned body: run `qllm study`")
    return named


def two_way_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean test accuracy of every head on either body, with the difference beside it.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.

    Returns
    -------
    DataFrame
        One row a head, index ``head``, in order of appearance. Columns in two levels: for
        ``frozen`` and ``tuned`` the ``mean``, ``low`` and ``high`` of the test accuracy
        (fractions, 95 % t interval over seeds), for ``tuned - frozen`` those of the paired
        difference.

    Raises
    ------
    ValueError
        As :func:`both_bodies`, and if a head shares fewer than two seeds.
    """
    named = both_bodies(rows)
    parts = {
        body: summarise(named[named["body"] == body]).set_index("head")[["mean", "low", "high"]]
        for body in BODIES.values()
    }
    effects = body_contrasts(named, "body").set_index("head")
    effects = effects.rename(columns={"difference": "mean"})
    parts[GAIN] = effects[["mean", "low", "high"]]
    return pd.concat(parts, axis=1)


def chosen_by_family(rows: pd.DataFrame) -> pd.DataFrame:
    """One head of every family, chosen by validation accuracy for each body and seed.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.

    Returns
    -------
    DataFrame
        Rows of the chosen heads; ``head`` is the family, ``chosen`` the name of the head. Ties go
        to the lower validation loss.

    Raises
    ------
    ValueError
        As :func:`both_bodies`.
    """
    # heads without a loss come last, as in the headline table
    named = both_bodies(rows).sort_values("validation_loss", kind="stable")
    best = select_best(named, within=["family", "body"], on="validation_accuracy")
    order = rows["family"].drop_duplicates().tolist()
    best = best.sort_values("family", key=lambda names: names.map(order.index), kind="stable")
    return best.assign(chosen=best["head"], head=best["family"])


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a seed; columns head and body."""
    return paired_values(both_bodies(rows), by=["head", "body"]).astype(float)


def _tested(rows, differences: dict, margin: float) -> pd.DataFrame:
    """Test sets of differences by head and body; with the family of the head."""
    kept = {key: values.dropna() for key, values in differences.items()}
    table = pd.DataFrame(list(kept), columns=["head", "body"])
    families = rows.drop_duplicates("head").set_index("head")["family"]
    table = table.assign(family=table["head"].map(families))
    return table.join(difference_tests(kept, margin=margin))


def _differences(wide: pd.DataFrame, question: str, reference: str) -> dict:
    """Differences of one question, a series over seeds for each head (and body)."""
    heads = list(dict.fromkeys(head for head, _ in wide))
    gain = {head: wide[head, "tuned"] - wide[head, "frozen"] for head in heads}
    if question == "body":
        return {(head, GAIN): values for head, values in gain.items()}
    if reference not in heads:
        raise ValueError(f"no rows of the reference {reference!r} on both bodies; heads: {heads}")
    others = [head for head in heads if head != reference]
    if question == "head":
        pairs = [(head, body) for body in BODIES.values() for head in others]
        return {(head, body): wide[head, body] - wide[reference, body] for head, body in pairs}
    if question == "interaction":
        return {(head, GAIN): gain[head] - gain[reference] for head in others}
    return {(head, "tuned"): wide[head, "tuned"] - wide[reference, "frozen"] for head in others}


def body_contrasts(
    rows: pd.DataFrame, question: str, reference: str = REFERENCE, *, margin: float = MARGIN
) -> pd.DataFrame:
    """Differences between bodies, between heads, and between differences, within seeds.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    question : {"body", "head", "interaction", "unequal"}
        ``body``: tuned minus frozen, for every head. ``head``: head minus reference on the same
        body. ``interaction``: by how much more a head gains from tuning than the reference does.
        ``unequal``: a head on the tuned body minus the reference on the frozen one, which is an
        unfair comparison, and what would be reported if only one side were tuned.
    reference : str
        Head; without effect on the question ``body``.
    margin : float
        Largest difference (fraction) that counts as none.

    Returns
    -------
    DataFrame
        ``head``, ``body``, ``family`` and the columns of
        :func:`qllm_helpers.results.statistics.difference_tests`, corrected over the table.

    Raises
    ------
    ValueError
        As :func:`both_bodies`; if the question is unknown, the reference has no rows on both
        bodies, or a head shares fewer than two seeds.
    """
    if question not in QUESTIONS:
        raise ValueError(f"unknown question {question!r}; known: {', '.join(QUESTIONS)}")
    return _tested(rows, _differences(_wide(rows), question, reference), margin)


def twin_effects(
    rows: pd.DataFrame, twins: Sequence[str], *, margin: float = MARGIN
) -> pd.DataFrame:
    """Photonic heads minus their twins of the same size, averaged over sizes, on either body.

    Parameters
    ----------
    rows, margin
        As in :func:`body_contrasts`.
    twins : sequence of str
        Values of :func:`qllm_helpers.results.contrasts.kinds`, such as ``"cosine twin"``.

    Returns
    -------
    DataFrame
        As from `body_contrasts`, with the kind of twin in ``head``, corrected over the
        table. One number a seed is tested, the mean over all pairs.

    Raises
    ------
    ValueError
        If no photonic head has such a twin, and as `body_contrasts`.
    """
    wide, named, effects = _wide(rows), both_bodies(rows), {}
    pairs = {twin: match_heads(named, "photonic", twin) for twin in twins}
    for twin, matched in pairs.items():
        for body in BODIES.values():
            columns = [wide[head, body] - wide[other, body] for head, other in matched]
            effects[twin, body] = pd.concat(columns, axis=1).dropna().mean(axis=1)
    return _tested(named.assign(head=kinds(named)), effects, margin)


def variance_shares(rows: pd.DataFrame) -> pd.Series:
    """How the variation of test accuracies splits among body, head, seed and their interplay.

    Analysis of variance of the balanced table (statsmodels, type II), in shares of the total sum
    of squares.

    Parameters
    ----------
    rows : DataFrame
        One row per fit; every head with every seed on both bodies.

    Returns
    -------
    Series
        Shares (fractions that add up to one) of ``body``, ``head``, ``body x head``, ``seed``,
        ``body x seed`` and ``rest`` (head and seed together, and what no factor explains).

    Raises
    ------
    ValueError
        If a head lacks a seed on a body.
    """
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    named = both_bodies(rows)
    if _wide(rows).isna().any(axis=None):
        raise ValueError("some head lacks a seed: an analysis of variance needs a balanced table")
    formula = "test_accuracy ~ C(body) * C(head) + C(body) * C(seed)"
    squares = anova_lm(ols(formula, named).fit(), typ=2)["sum_sq"]
    names = {
        "C(body)": "body",
        "C(head)": "head",
        "C(body):C(head)": "body x head",
        "C(seed)": "seed",
        "C(body):C(seed)": "body x seed",
        "Residual": "rest",
    }
    shares = squares.rename(names).loc[list(names.values())]
    return (shares / shares.sum()).rename("share of the variation")
