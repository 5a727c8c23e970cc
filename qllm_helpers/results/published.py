"""Accuracies that others have published, as data with their source.

Every figure is copied from the paper (Kim et al., arXiv:2504.08732) or from the documentation of
its photonic reproduction (MerLin, 2025), never measured here. None of them came with an interval
over seeds, except the standard deviations of the reproduction's later, five-fold figures.
"""

from __future__ import annotations

import io

import pandas as pd

from qllm_helpers.files import read_verified

#: "Up to 3.14 %" of the paper: its best quantum head minus its best classical one of that size.
PAPER_GAIN = 0.0314
#: The gain, in words "+4 %", that the reproduction's first report named.
REPRODUCTION_GAIN = 0.04


def _read(name: str) -> pd.DataFrame:
    table = pd.read_csv(io.BytesIO(read_verified(f"{name}.csv")))
    sizes = ["reported_parameters", "n_modes", "n_photons", "n_qubits"]
    return table.astype({size: "Int64" for size in sizes if size in table})


def published_table() -> pd.DataFrame:
    """Lines of the published tables, each with the heads here that can stand for it.

    Returns
    -------
    DataFrame
        One line each: ``label``, ``source``, ``citation`` (key in ``book/references.bib``),
        ``family``, ``protocol``; ``reported`` (test accuracy), ``reported_validation`` and
        ``reported_std`` (over folds), fractions; ``reported_parameters`` as printed (of a support
        vector machine the paper prints support vectors; left out); ``n_modes``, ``n_photons``,
        ``n_qubits``; ``study`` and ``ours`` (shell patterns of heads, separated by ";"), which are
        our choice. Lines of source ``"here"`` belong beside the paper's and report nothing.
    """
    return _read("published")


def published_photons() -> pd.DataFrame:
    """The reproduction's few-shot figures for every number of modes and photons.

    Its table shows, for every number of modes, the line that is best on both parts. Columns
    ``n_modes``, ``n_photons``, ``reported_validation``, ``reported`` (test accuracy; missing for
    eight modes with four photons) and ``reported_parameters``.
    """
    return _read("published_photons")
