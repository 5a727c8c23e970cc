"""Estimators that a grid can name: built in, made known, or the address ``"package.module:Name"``.

A class has a ``family`` (colour and marker), perhaps ``reads_texts`` and ``count_parameters(X)``.
"""

from __future__ import annotations

from importlib import import_module

from qllm_helpers.files import UnknownNameError

_HERE = "qllm_helpers.classifiers"
_BUILT_IN = {
    "LogisticRegression": "sklearn.linear_model",
    "SVC": "sklearn.svm",
    "MLPClassifier": f"{_HERE}.estimators",
    "PhotonicClassifier": f"{_HERE}.estimators",
    "QubitClassifier": f"{_HERE}.estimators",
    "QuadraticFormClassifier": f"{_HERE}.estimators",
    "NoisyPhotonicClassifier": f"{_HERE}.noisy",
    "PhotonicKernelClassifier": f"{_HERE}.kernel",
    "FourierClassifier": f"{_HERE}.kernel",
    "EndToEndClassifier": f"{_HERE}.text",
    "EndToEndLinear": f"{_HERE}.text",
}
#: scikit-learn's own classes do not say it.
_FAMILIES = {"LogisticRegression": "linear", "SVC": "svc"}
KNOWN: dict[str, type] = {}


def register_estimator(name: str, kind: type) -> None:
    """Make a class known under a name, in this process; ValueError if another one has it."""
    if name in _BUILT_IN or KNOWN.setdefault(name, kind) is not kind:
        raise ValueError(f"an estimator is registered as {name!r} already; choose another name")


def require_known(name: str) -> None:
    """Refuse a name that nothing has; built-in classes are not imported for it."""
    if name not in _BUILT_IN:
        estimator_class(name)


def estimator_class(name: str) -> type:
    """The class of a name. Raises UnknownNameError if there is none, or it has no family."""
    if name in KNOWN:
        return KNOWN[name]
    if name not in _BUILT_IN and ":" not in name:
        known = ", ".join(sorted({*_BUILT_IN, *KNOWN}))
        raise UnknownNameError(
            f'unknown estimator {name!r}; known: {known}, and any address "package.module:Name"'
        )
    module, _, attribute = (name if ":" in name else f"{_BUILT_IN[name]}:{name}").partition(":")
    try:
        kind = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownNameError(f"there is no estimator at {name!r}: {error}") from error
    if not hasattr(kind, "family") and attribute not in _FAMILIES:
        raise UnknownNameError(f"the class of {name!r} needs the attribute `family`, as 'mlp'")
    return KNOWN.setdefault(name, kind)


def family(name: str) -> str:
    """Head family of the class of a name: a key of ``figures.FAMILY_STYLE``."""
    kind = estimator_class(name)
    return getattr(kind, "family", None) or _FAMILIES[kind.__name__]


def reads_texts(name: str) -> bool:
    """Whether ``fit(texts, y, X_val, y_val)`` of a class takes sentences, not their embeddings."""
    return getattr(estimator_class(name), "reads_texts", False)
