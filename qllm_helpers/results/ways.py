"""Four ways to treat the language model under one head: frozen, tuned first, trained with the head.

Only the seeds that every way has are compared: an end-to-end fit takes minutes, and each is paired
with the cheap ones on the same sentences (our choice).
"""

from __future__ import annotations

import json

import pandas as pd

__all__ = ["HEADS", "WAYS", "pairs_within", "rows_by_way"]

#: How the body is treated, in the order of increasing freedom.
WAYS = ("frozen", "tuned first", "adapters, end to end", "whole body, end to end")
#: Head here -> its name in the study "finetune".
HEADS = {
    "photonic": "8 modes, 2 photons",
    "linear twin": "8 modes, 2 photons, linear",
    "logistic": "LogisticRegression",
}
_BODIES = {"low_rank": WAYS[2], "whole": WAYS[3]}
_FAMILIES = {"photonic": "photonic", "twin": "linear twin", "linear": "logistic"}


def rows_by_way(end_to_end: pd.DataFrame, finetune: pd.DataFrame) -> pd.DataFrame:
    """Rows of both studies with the way and the head in columns of their own.

    Parameters
    ----------
    end_to_end, finetune : DataFrame
        Rows of these studies.

    Returns
    -------
    DataFrame
        Their columns, ``way`` (one of :data:`WAYS`), ``kind`` (a key of :data:`HEADS`) and
        ``head``, which is both; only seeds that all heads have.

    Raises
    ------
    ValueError
        If the studies share no seed, or "finetune" lacks a head.
    """
    kinds = {name: kind for kind, name in HEADS.items()}
    apart = finetune[finetune["head"].isin(kinds)]
    missing = sorted(set(kinds) - set(apart["head"]))
    if missing:
        raise ValueError(f"the study finetune has no rows of {missing[0]!r}: run it")
    ways = apart["fine_tuned"].map({False: WAYS[0], True: WAYS[1]})
    apart = apart.assign(way=ways, kind=apart["head"].map(kinds))
    bodies = end_to_end["configuration"].map(lambda text: _BODIES[json.loads(text)["body"]])
    together = end_to_end.assign(way=bodies, kind=end_to_end["family"].map(_FAMILIES))
    rows = pd.concat([apart, together], ignore_index=True)
    rows["head"] = rows["kind"] + ", " + rows["way"]
    seeds = rows.groupby("head")["seed"].agg(set)
    common = set.intersection(*seeds)
    if not common:
        raise ValueError("the studies finetune and end_to_end share no seed of all heads")
    order = rows["way"].map(WAYS.index) * len(HEADS) + rows["kind"].map(list(HEADS).index)
    rows = rows.assign(order=order).sort_values(["order", "seed"], kind="stable")
    return rows[rows["seed"].isin(common)].drop(columns="order").reset_index(drop=True)


def pairs_within(
    rows: pd.DataFrame,
    *,
    way: str | None = None,
    kind: str | None = None,
    reference: str = WAYS[0],
) -> list:
    """Pairs of heads to compare: the photonic one within a way, or later ways with an earlier one.

    Parameters
    ----------
    rows : DataFrame
        From :func:`rows_by_way`.
    way : str or None
        Compare every other head of this way with the photonic one.
    kind : str or None
        Compare every way of this head that comes after ``reference`` in :data:`WAYS` with it.
    reference : str
        One of :data:`WAYS` but the last; counts with ``kind`` only.

    Returns
    -------
    list of (head, reference head)

    Raises
    ------
    ValueError
        If not exactly one of ``way`` and ``kind`` is given, or nothing matches.
    """
    if (way is None) == (kind is None):
        raise ValueError("give a way or a kind, not both and not neither")
    known = list(rows["head"].unique())
    if way is not None:
        first = f"photonic, {way}"
        pairs = [(first, head) for head in known if head.endswith(way) and head != first]
    else:
        last = f"{kind}, {reference}"
        later = WAYS[WAYS.index(reference) + 1 :] if reference in WAYS else ()
        pairs = [(head, last) for head in (f"{kind}, {way}" for way in later) if head in known]
    if not pairs or {name for pair in pairs for name in pair} - set(known):
        raise ValueError(f"nothing to compare for {way or last!r}; heads: {known}")
    return pairs
