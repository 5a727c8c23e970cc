"""Classical baselines: how far one seed carries, and what was reported elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qllm_helpers.results.intervals import paired_values, summarise
from qllm_helpers.results.published import published_table

__all__ = ["NEAREST", "beside_published_heads", "seed_noise"]

#: Published classical lines -> whether the body here is tuned, and the head here that is nearest.
#: The paper's lines stand beside the frozen body: which one it had is not clear from its text.
NEAREST = {
    "LogisticRegression": (True, "LogisticRegression"),
    "SVC": (True, "SVC"),
    "MLP": (True, "MLP"),
    "SVC (paper)": (False, "SVC RBF, C = 1"),
    "MLP (paper)": (False, "MLP"),
    "LogisticRegression (five-fold)": (False, "LogisticRegression"),
    "SVM (five-fold)": (False, "SVC linear"),
    "NN[0] (five-fold)": (False, "NN[0]"),
    "NN[96] (five-fold)": (False, "NN[96]"),
}


def beside_published_heads(rows: pd.DataFrame) -> pd.DataFrame:
    """Published accuracies of classical heads next to the nearest rows here.

    Parameters
    ----------
    rows : DataFrame
        Rows of ``"few_shot"`` and ``"paper"``, or of one of them.

    Returns
    -------
    DataFrame
        ``published`` (the line's name), ``protocol``, ``reported``, ``nearest`` (head here),
        ``fine_tuned``, ``mean``, ``low``, ``high``, ``n_seeds``; without rows here the last four
        are missing. Accuracies are fractions.
    """
    table = published_table().rename(columns={"label": "published"})
    table = table[table["published"].isin(NEAREST) & table["protocol"].isin(rows["protocol"])]
    tuned, nearest = zip(*table["published"].map(NEAREST), strict=True)
    table = table.assign(fine_tuned=tuned, nearest=nearest)
    by = ["protocol", "fine_tuned", "nearest"]
    ours = summarise(rows.rename(columns={"head": "nearest"}), by=by)
    table = table[["published", "reported", *by]].merge(
        ours[[*by, "mean", "low", "high", "n_seeds"]], on=by, how="left"
    )
    return table.astype({"n_seeds": "Int64"})


def seed_noise(rows: pd.DataFrame, reference: str = "LogisticRegression") -> pd.DataFrame:
    """How far one seed can be from the mean, and how much of that a paired difference removes.

    Parameters
    ----------
    rows : DataFrame
        One row per fit of one protocol and body.
    reference : str
        Head that differences are taken to.

    Returns
    -------
    DataFrame
        Index head; all fractions: ``mean``, ``lowest``, ``highest`` and ``std`` over seeds,
        ``std_of_difference`` to the reference on the same seeds (NaN for the reference), and
        ``test_error``: the standard error that the finite test set alone gives an accuracy.

    Raises
    ------
    ValueError
        If the reference has no rows.
    """
    wide = paired_values(rows).astype(float)
    if reference not in wide.columns:
        raise ValueError(f"no rows of the reference {reference!r}; heads: {list(wide.columns)}")
    mean = wide.mean()
    table = pd.DataFrame({"mean": mean, "lowest": wide.min(), "highest": wide.max()})
    table["std"] = wide.std()
    apart = wide.drop(columns=reference).sub(wide[reference], axis=0).std()
    table["std_of_difference"] = apart.reindex(table.index)
    n_test = rows.groupby("head")["n_test"].first().reindex(table.index)
    table["test_error"] = np.sqrt(mean * (1 - mean) / n_test)
    return table.rename_axis("head")
