"""Estimators that a study's grid can name.

:func:`register_estimator`, or an entry point of the group ``qllm_helpers.estimators``, makes
another one known, so a new kind of head needs no change of the study code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points

from qllm_helpers.files import UnknownNameError


@dataclass(frozen=True)
class Registered:
    """An estimator that a grid can name.

    Attributes
    ----------
    target : str or callable
        Class or function that builds an unfitted estimator from keyword arguments, or its
        address ``"package.module:name"``.
    family : str
        Key of ``figures.FAMILY_STYLE``: colour and marker of its rows.
    count : callable or None
        ``(fitted estimator, X) -> ParameterCount``; None for
        :func:`qllm_helpers.heads.parameters.count_parameters`.
    reads_texts : bool
        Whether ``fit(texts, y, X_val, y_val)`` takes sentences, not their embeddings.
    """

    target: str | Callable
    family: str
    count: Callable | None = None
    reads_texts: bool = False

    def build(self, parameters: dict):
        """Unfitted estimator with these parameters."""
        if callable(self.target):
            return self.target(**parameters)
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)(**parameters)


def _count_svc(fit, X):
    """Of a fidelity kernel only the SVC is trained."""
    from qllm_helpers.heads.parameters import count_parameters

    return count_parameters(fit.svc_, fit.kernel(X))


def _count_noisy(fit, X):
    """Noise adds no parameter: all counts are those of the ideal head."""
    from qllm_helpers.classifiers.noisy import count_ideal

    return count_ideal(fit, X)


def _count_trained(fit, X):
    """Of a language model only the trainable numbers are counted."""
    from qllm_helpers.classifiers.text import count_trained

    return count_trained(fit)


_REGISTRY = {
    "LogisticRegression": Registered("sklearn.linear_model:LogisticRegression", "linear"),
    "SVC": Registered("sklearn.svm:SVC", "svc"),
    "MLPClassifier": Registered("qllm_helpers.classifiers.estimators:MLPClassifier", "mlp"),
    "PhotonicClassifier": Registered(
        "qllm_helpers.classifiers.estimators:PhotonicClassifier", "photonic"
    ),
    "NoisyPhotonicClassifier": Registered(
        "qllm_helpers.classifiers.noisy:NoisyPhotonicClassifier", "photonic", count=_count_noisy
    ),
    "PhotonicKernelClassifier": Registered(
        "qllm_helpers.classifiers.kernel:PhotonicKernelClassifier", "photonic", count=_count_svc
    ),
    "QubitClassifier": Registered("qllm_helpers.classifiers.estimators:QubitClassifier", "qubit"),
    "QuadraticFormClassifier": Registered(
        "qllm_helpers.classifiers.estimators:QuadraticFormClassifier", "twin"
    ),
    "EndToEndClassifier": Registered(
        "qllm_helpers.classifiers.text:EndToEndClassifier",
        "photonic",
        count=_count_trained,
        reads_texts=True,
    ),
    "EndToEndLinear": Registered(
        "qllm_helpers.classifiers.text:EndToEndLinear",
        "linear",
        count=_count_trained,
        reads_texts=True,
    ),
}


def register_estimator(
    name: str,
    target: str | Callable,
    family: str,
    *,
    count: Callable | None = None,
    reads_texts: bool = False,
) -> None:
    """Make an estimator known to the grids.

    Parameters
    ----------
    name : str
        Name used in the grid.
    target, family, count, reads_texts
        See :class:`Registered`.

    Raises
    ------
    ValueError
        If the name is taken by another estimator.
    """
    entry = Registered(target, family, count, reads_texts)
    if _REGISTRY.setdefault(name, entry) != entry:
        raise ValueError(f"an estimator is registered as {name!r} already; choose another name")


def remember(name: str, entry: Registered) -> None:
    """Make an estimator known in a worker process, which starts with the built-in ones."""
    _REGISTRY.setdefault(name, entry)


def registered(name: str) -> Registered:
    """Estimator of a name, from the registry or an installed entry point.

    Parameters
    ----------
    name : str
        Name used in the grid.

    Returns
    -------
    Registered

    Raises
    ------
    UnknownNameError
        If nothing has that name.
    """
    if name not in _REGISTRY:
        # an entry point's value is a Registered: it says the family too
        for point in entry_points(group="qllm_helpers.estimators", name=name):
            _REGISTRY[name] = point.load()
    if name not in _REGISTRY:
        raise UnknownNameError(
            f"unknown estimator {name!r}; known: {', '.join(sorted(_REGISTRY))}. Make another "
            "one known with qllm_helpers.studies.run.register_estimator"
        )
    return _REGISTRY[name]
