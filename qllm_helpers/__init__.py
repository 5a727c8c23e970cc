"""Photonic, qubit and classical heads on sentence embeddings, compared on equal terms.

The public names are loaded on first use, so ``import qllm_helpers`` costs nothing and reading a
result table does not wait for torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "load_texts": "text.corpora",
    "paper_split": "text.protocols",
    "few_shot_split": "text.protocols",
    "load_embeddings": "text.corpora",
    "encode": "text.encoders",
    "PhotonicLayer": "photons.layer",
    "accelerate": "photons.accelerate",
    "restore": "photons.accelerate",
    "PhotonicClassifier": "classifiers.estimators",
    "QubitClassifier": "classifiers.estimators",
    "MLPClassifier": "classifiers.estimators",
    "fit_many": "classifiers.replicated",
    "count_parameters": "heads.parameters",
    "load_results": "studies.table",
    "load_verdicts": "results.verdicts",
    "judge": "results.judge",
    "save_head": "classifiers.saved",
    "load_head": "classifiers.saved",
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
