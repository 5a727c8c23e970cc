"""Estimators that a grid can name: built in, registered, installed, or ``"package.module:Name"``.

The class itself says its ``family`` (a key of ``figures.FAMILY_STYLE``: colour and marker of its
rows) and whether it ``reads_texts``; what is registered with a name fills in what it does not say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
        address ``"package.module:Name"``.
    family : str or None
        For a class without the attribute ``family``.
    count : str, callable or None
        ``(fitted estimator, X) -> ParameterCount``, or its address; None for the method
        ``count_parameters(X)`` of the estimator, or where it has none
        :func:`qllm_helpers.heads.parameters.count_parameters`.
    reads_texts : bool
        Whether ``fit(texts, y, X_val, y_val)`` takes sentences, not their embeddings.
    """

    target: str | Callable
    family: str | None = None
    count: str | Callable | None = None
    reads_texts: bool = False

    def build(self, parameters: dict):
        """Unfitted estimator with these parameters."""
        return self.target(**parameters)


def _count_svc(fit, X):
    """Of a fidelity kernel only the SVC is trained."""
    from qllm_helpers.heads.parameters import count_parameters

    return count_parameters(fit.svc_, fit.kernel(X))


_HERE = "qllm_helpers.classifiers"
_IDEAL, _TRAINED = f"{_HERE}.noisy:count_ideal", f"{_HERE}.text:count_trained"
_BUILT_IN = {
    "LogisticRegression": ("sklearn.linear_model", "linear"),
    "SVC": ("sklearn.svm", "svc"),
    "MLPClassifier": (f"{_HERE}.estimators", "mlp"),
    "PhotonicClassifier": (f"{_HERE}.estimators", "photonic"),
    "QubitClassifier": (f"{_HERE}.estimators", "qubit"),
    "QuadraticFormClassifier": (f"{_HERE}.estimators", "twin"),
    "NoisyPhotonicClassifier": (f"{_HERE}.noisy", "photonic", _IDEAL),
    "PhotonicKernelClassifier": (f"{_HERE}.kernel", "photonic", _count_svc),
    "EndToEndClassifier": (f"{_HERE}.text", "photonic", _TRAINED, True),
    "EndToEndLinear": (f"{_HERE}.text", "linear", _TRAINED, True),
}
_REGISTRY = {
    name: Registered(f"{module}:{name}", *facts) for name, (module, *facts) in _BUILT_IN.items()
}


def register_estimator(name: str, target: str | Callable, family: str | None = None, **facts):
    """Make an estimator known to the grids of this process, under a `name`.

    Raises ValueError if another one has it; for the arguments see :class:`Registered`.
    """
    entry = Registered(target, family, **facts)
    if _REGISTRY.setdefault(name, entry) != entry:
        raise ValueError(f"an estimator is registered as {name!r} already; choose another name")


def remember(name: str, entry: Registered) -> None:
    """Make an estimator known in a worker process, which starts with the built-in ones."""
    _REGISTRY.setdefault(name, entry)


def _load(address: str | Callable | None):
    """What is at an address; anything else is returned as it is."""
    if not isinstance(address, str):
        return address
    module, _, name = address.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UnknownNameError(f"there is no estimator at {address!r}: {error}") from error


def find(name: str) -> Registered:
    """What is registered with a name; nothing is imported for it. Raises UnknownNameError."""
    if name in _REGISTRY:
        return _REGISTRY[name]
    if ":" in name:
        known = (entry for entry in _REGISTRY.values() if entry.target == name)
        return next(known, Registered(name))
    for point in entry_points(group="qllm_helpers.estimators", name=name):
        return _REGISTRY.setdefault(name, point.load())
    raise UnknownNameError(
        f"unknown estimator {name!r}; known: {', '.join(sorted(_REGISTRY))}. Name another one by "
        'its address, "package.module:Name", or make it known with register_estimator'
    )


def registered(name: str) -> Registered:
    """The estimator of a name, its class imported, with all that it and its entry say.

    Raises UnknownNameError if nothing has that name, or it has no family.
    """
    entry = find(name)
    target = _load(entry.target)
    said = {fact: getattr(target, fact, getattr(entry, fact)) for fact in ("family", "reads_texts")}
    if said["family"] is None:
        raise UnknownNameError(f"the class of {name!r} needs the attribute `family`, as 'mlp'")
    return replace(entry, target=target, count=_load(entry.count), **said)
