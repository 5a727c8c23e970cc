"""Photonic, qubit and classical heads on sentence embeddings, compared on equal terms.

The public names are loaded on first use, so ``import qllm_helpers`` costs nothing and reading a
result table does not wait for torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "load_texts": "datasets",
    "paper_split": "datasets",
    "few_shot_split": "datasets",
    "load_embeddings": "embeddings",
    "encode": "encoders",
    "PhotonicLayer": "photonics",
    "PhotonicClassifier": "estimators",
    "QubitClassifier": "estimators",
    "MLPClassifier": "estimators",
    "fit_many": "estimators",
    "count_parameters": "parameters",
    "load_results": "study",
    "save_head": "saved_heads",
    "load_head": "saved_heads",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
