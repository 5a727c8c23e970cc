"""Accuracies that others have published, as data with their source.

Every figure is copied from the paper (Kim et al., arXiv:2504.08732) or from the documentation of
its photonic reproduction (MerLin, 2025), never measured here. None of them came with an interval
over seeds, except the standard deviations of the reproduction's later, five-fold figures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pandas as pd

#: Where a figure stands -> key in ``book/references.bib``.
CITATIONS = {
    "reproduction": "merlin2025reproduction",
    "paper": "kim2025qllm",
    "reproduction, five-fold": "merlin2025reproduction",
}
#: "Up to 3.14 %" of the paper: its best quantum head minus its best classical one of that size.
PAPER_GAIN = 0.0314
#: The gain, in words "+4 %", that the reproduction's first report named.
REPRODUCTION_GAIN = 0.04


@dataclass(frozen=True)
class PublishedRow:
    """One published line.

    Attributes
    ----------
    label : str
        Name of the line, unique.
    source : str
        Key of :data:`CITATIONS`.
    family : str
        Key of ``figures.FAMILY_STYLE``.
    protocol : {"few_shot", "paper"}
    reported : float
        Test accuracy, a fraction.
    reported_validation, reported_std : float or None
        Validation accuracy, and standard deviation over folds (fractions).
    reported_parameters : int or None
        As printed there. For a support vector machine the paper prints the number of support
        vectors; it is left out.
    n_modes, n_photons, n_qubits : int or None
    """

    label: str
    source: str
    family: str
    protocol: str
    reported: float
    reported_validation: float | None = None
    reported_std: float | None = None
    reported_parameters: int | None = None
    n_modes: int | None = None
    n_photons: int | None = None
    n_qubits: int | None = None


def _few_shot(label, family, validation, test, parameters=None, modes=None, photons=None):
    row = (label, "reproduction", family, "few_shot", test, validation, None, parameters)
    return PublishedRow(*row, modes, photons)


def _paper(label, family, test, parameters=None, qubits=None):
    row = (label, "paper", family, "paper", test)
    return PublishedRow(*row, reported_parameters=parameters, n_qubits=qubits)


def _five_fold(label, family, test, std=None, parameters=None, modes=None, photons=None):
    row = (f"{label} (five-fold)", "reproduction, five-fold", family, "paper", test, None, std)
    return PublishedRow(*row, parameters, modes, photons)


_ROWS = (
    _few_shot("LogisticRegression", "linear", 0.8000, 0.7669),
    _few_shot("SVC", "svc", 0.8080, 0.7846),
    _few_shot("MLP", "mlp", 0.8040, 0.7701, 82_052),
    _few_shot("2 modes", "photonic", 0.5800, 0.5691, 76_914, 2, 1),
    _few_shot("4 modes", "photonic", 0.8120, 0.7990, 76_942, 4, 1),
    _few_shot("6 modes", "photonic", 0.8360, 0.8280, 76_986, 6, 1),
    _few_shot("8 modes", "photonic", 0.8480, 0.8376, 77_086, 8, 2),
    _paper("SVC (paper)", "svc", 0.8508),
    _paper("MLP (paper)", "mlp", 0.9144),
    _paper("best classical of that size (paper)", "linear", 0.8956),
    _paper("single sQE, 10 qubits (paper)", "qubit", 0.9021, qubits=10),
    _paper("multi sQE, 14 qubits (paper)", "qubit", 0.9270, 886, 14),
    _paper("end to end, upper bound (paper)", "mlp", 0.9362),
    _five_fold("LogisticRegression", "linear", 0.8888, 0.0043, 769),
    _five_fold("SVM", "svc", 0.8912, 0.0038),
    _five_fold("NN[0]", "mlp", 0.8886, parameters=1_538),
    _five_fold("NN[96]", "mlp", 0.8912, parameters=74_018),
    _five_fold("8 modes, 1 photon", "photonic", 0.8874, 0.0071, modes=8, photons=1),
    _five_fold("fidelity kernel", "photonic", 0.7460),
)

# modes, photons -> validation, test (None: only the parameter count is printed), parameters
_PHOTONS = {
    (2, 1): (0.5800, 0.5691, 76_914),
    (4, 1): (0.8120, 0.7990, 76_942),
    (4, 2): (0.7320, 0.6961, 76_946),
    (6, 1): (0.8360, 0.8280, 76_986),
    (6, 2): (0.8160, 0.7781, 77_004),
    (6, 3): (0.6720, 0.6399, 77_014),
    (8, 1): (0.7960, 0.7572, 77_046),
    (8, 2): (0.8480, 0.8376, 77_086),
    (8, 3): (0.7960, 0.7781, 77_142),
    (8, 4): (None, None, 77_170),
}


def published_table() -> pd.DataFrame:
    """Lines of the published tables.

    Returns
    -------
    DataFrame
        One line each, with the attributes of :class:`PublishedRow` and ``citation``, the key of
        the source in ``book/references.bib``. Accuracies are fractions; what was not reported is
        missing.
    """
    table = pd.DataFrame([asdict(row) for row in _ROWS])
    sizes = ["reported_parameters", "n_modes", "n_photons", "n_qubits"]
    fractions = ["reported", "reported_validation", "reported_std"]
    table = table.astype(dict.fromkeys(sizes, "Int64") | dict.fromkeys(fractions, float))
    table.insert(2, "citation", table["source"].map(CITATIONS))
    return table


def published_photons() -> pd.DataFrame:
    """The reproduction's few-shot figures for every number of modes and photons.

    Its table shows, for every number of modes, the line with the largest *test* accuracy.

    Returns
    -------
    DataFrame
        ``n_modes``, ``n_photons``, ``reported_validation``, ``reported`` (test accuracy; missing
        for eight modes with four photons) and ``reported_parameters``.
    """
    table = pd.DataFrame(
        [(*size, *figures) for size, figures in _PHOTONS.items()],
        columns=[
            *("n_modes", "n_photons", "reported_validation", "reported"),
            "reported_parameters",
        ],
    )
    return table.astype({"reported_validation": float, "reported": float})
