"""Confidence intervals over seeds and per-configuration summaries of tables of fits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

#: Columns of a row that describe a configuration; carried along by :func:`summarise`.
CONFIGURATION = (
    *("family", "estimator", "protocol", "n_modes", "n_photons", "n_qubits", "encoding"),
    *("space", "readout", "twin", "n_train", "n_parameters"),
    *("n_live_parameters", "n_effective_parameters"),
)


def as_list(by: str | Sequence[str]) -> list[str]:
    """Names of the columns that identify a configuration."""
    return [by] if isinstance(by, str) else list(by)


def _require(rows: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise ValueError(f"the table has no column {', '.join(missing)}; it has {list(rows)}")
    if rows.empty:
        raise ValueError("the table has no rows")


def interval(
    values: Sequence[float],
    *,
    confidence: float = 0.95,
    method: str = "t",
    n_resamples: int = 9999,
    random_state: int = 0,
) -> tuple[float, float]:
    """Confidence interval of a mean.

    Parameters
    ----------
    values : array-like, shape (n,)
        One value per seed.
    confidence : float
        Coverage, between 0 and 1.
    method : {"t", "bootstrap"}
        Student's t, or the bias-corrected and accelerated bootstrap of SciPy.
    n_resamples, random_state : int
        Resamples of the bootstrap and their seed.

    Returns
    -------
    tuple of float
        Lower and upper end, in the unit of `values`; NaN with fewer than two values.

    Raises
    ------
    ValueError
        If `method` is unknown or a value is not finite.
    """
    from scipy import stats

    values = np.asarray(values, dtype=float)
    if method not in ("t", "bootstrap"):
        raise ValueError(f'method must be "t" or "bootstrap", not {method!r}')
    if not np.isfinite(values).all():
        raise ValueError("values must be finite; drop the rows that were not fitted")
    if values.size < 2:
        return float("nan"), float("nan")
    if np.ptp(values) == 0:  # both methods divide by the spread
        return float(values[0]), float(values[0])
    if method == "t":
        low, high = stats.t.interval(
            confidence, values.size - 1, loc=values.mean(), scale=stats.sem(values)
        )
    else:
        low, high = stats.bootstrap(
            (values,),
            np.mean,
            confidence_level=confidence,
            n_resamples=n_resamples,
            rng=np.random.default_rng(random_state),
        ).confidence_interval
    return float(low), float(high)


def summarise(
    rows: pd.DataFrame,
    *,
    by: str | Sequence[str] = "head",
    value: str = "test_accuracy",
    confidence: float = 0.95,
    method: str = "t",
) -> pd.DataFrame:
    """Mean, interval and number of seeds of every configuration.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    by : str or sequence of str
        Column(s) that name a configuration, for example ``("fine_tuned", "head")``.
    value : str
        Column to summarise.
    confidence, method
        See :func:`interval`.

    Returns
    -------
    DataFrame
        One row per configuration in order of first appearance: `by`, ``mean``, ``low``,
        ``high``, ``std`` (over seeds), ``n_seeds``, and the columns of
        :data:`CONFIGURATION` that the table has (parameter counts: median over seeds,
        because which parameters are live can depend on the sample).

    Raises
    ------
    ValueError
        If a column is missing or the table is empty.
    """
    by = as_list(by)
    _require(rows, [*by, value])
    carried = [name for name in CONFIGURATION if name in rows.columns and name not in by]
    table = []
    for key, group in rows.groupby(by, sort=False, dropna=False):
        values = group[value].to_numpy(dtype=float)
        low, high = interval(values, confidence=confidence, method=method)
        spread = values.std(ddof=1) if values.size > 1 else float("nan")
        row = dict(zip(by, key, strict=True))
        row |= {"mean": values.mean(), "low": low, "high": high, "std": spread}
        row |= {"n_seeds": values.size}
        for name in carried:
            numeric = name.endswith("_parameters")
            row[name] = group[name].median() if numeric else group[name].iloc[0]
        table.append(row)
    return pd.DataFrame(table)


def paired_values(
    rows: pd.DataFrame,
    *,
    by: str | Sequence[str] = "head",
    value: str = "test_accuracy",
) -> pd.DataFrame:
    """Table with one row per seed and one column per configuration.

    Parameters
    ----------
    rows : DataFrame
        One row per fit, with a column ``seed``: the same seed means the same split.
    by, value
        As in :func:`summarise`.

    Returns
    -------
    DataFrame
        Index ``seed``; columns the configurations, in order of first appearance.

    Raises
    ------
    ValueError
        If a configuration has two rows of the same seed.
    """
    by = as_list(by)
    _require(rows, [*by, value, "seed"])
    if rows.duplicated([*by, "seed"]).any():
        raise ValueError(
            f"some configurations have two rows of one seed; name more columns in by={by} "
            "(for example the dataset, or fine_tuned) or filter the table first"
        )
    groups = rows.groupby(by if len(by) > 1 else by[0], sort=False, dropna=False)
    return pd.DataFrame({key: group.set_index("seed")[value] for key, group in groups})
