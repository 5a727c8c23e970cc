"""Rows become means with intervals, and tables with one column a head.

An interval here is over *seeds*: it says how much a mean moves when the training sentences and the
initial weights are drawn again. The test sentences are (nearly) the same for all seeds, so it does
not contain the error of having only these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.weightstats import DescrStatsW

#: Columns of a row that describe a head; carried along by :func:`summarise`.
CONFIGURATION = (
    *("family", "kind", "estimator", "protocol", "n_modes", "n_photons", "n_qubits", "encoding"),
    *("space", "readout", "twin", "n_train", "n_parameters"),
    *("n_live_parameters", "n_effective_parameters"),
)


def as_list(by: str | Sequence[str]) -> list[str]:
    """Names of columns as a list, one name or several."""
    return [by] if isinstance(by, str) else list(by)


def require_columns(rows: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse a table that is empty or lacks a column."""
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise ValueError(f"the table has no column {', '.join(missing)}; it has {list(rows)}")
    if rows.empty:
        raise ValueError("the table has no rows")


def having(rows: pd.DataFrame, values: dict) -> pd.DataFrame:
    """Rows whose columns have these values."""
    for name, value in values.items():
        rows = rows[rows[name] == value]
    return rows


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % t interval of the mean of finite values; NaN with fewer than two values."""
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError("values must be finite; drop the rows that were not fitted")
    if values.size < 2:
        return float("nan"), float("nan")
    if np.ptp(values) == 0:  # the statistic would divide by zero
        return float(values[0]), float(values[0])
    low, high = DescrStatsW(values).tconfint_mean(0.05)
    return float(low), float(high)


def summarise(
    rows: pd.DataFrame, *, by: str | Sequence[str] = "head", value: str = "test_accuracy"
) -> pd.DataFrame:
    """Mean, 95 % interval and number of seeds of every head.

    Parameters
    ----------
    rows : DataFrame
        One row per fit.
    by : str or sequence of str
        Column(s) that name a line of the result, for example ``("fine_tuned", "head")``.
    value : str
        Column to summarise.

    Returns
    -------
    DataFrame
        In order of first appearance: `by`, ``mean``, ``low``, ``high``, ``std``, ``lowest`` and
        ``highest`` (over seeds), ``n_seeds``, and the columns of :data:`CONFIGURATION` that there
        are (counts: median over seeds, as which parameters are live can depend on the sample).
    """
    by = as_list(by)
    require_columns(rows, [*by, value])
    carried = [name for name in CONFIGURATION if name in rows.columns and name not in by]
    table = []
    for key, group in rows.groupby(by, sort=False, dropna=False):
        values = group[value].to_numpy(dtype=float)
        low, high = interval(values)
        row = dict(zip(by, key, strict=True)) | {"mean": values.mean(), "low": low, "high": high}
        row["std"] = values.std(ddof=1) if values.size > 1 else float("nan")
        row |= {"lowest": values.min(), "highest": values.max(), "n_seeds": values.size}
        for name in carried:
            count = name.endswith("_parameters")
            row[name] = group[name].median() if count else group[name].iloc[0]
        table.append(row)
    return pd.DataFrame(table)


def paired_values(
    rows: pd.DataFrame, *, by: str | Sequence[str] = "head", value: str = "test_accuracy"
) -> pd.DataFrame:
    """Table with one row per seed and one column per head, in order of first appearance.

    The same seed means the same split. Raises ValueError if a head has two rows of one seed.
    """
    by = as_list(by)
    require_columns(rows, [*by, value, "seed"])
    if rows.duplicated([*by, "seed"]).any():
        raise ValueError(
            f"some heads have two rows of one seed; name more columns in by={by} "
            "(for example the dataset, or fine_tuned) or filter the table first"
        )
    groups = rows.groupby(by if len(by) > 1 else by[0], sort=False, dropna=False)
    return pd.DataFrame({key: group.set_index("seed")[value] for key, group in groups})
