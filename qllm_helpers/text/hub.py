"""One quick question to the Hugging Face Hub, asked before its clients start to retry.

Without network those clients repeat every request for half a minute each, with a warning a line.
"""

import os
from pathlib import Path

from qllm_helpers.files import DataError

TIMEOUT_SECONDS = 10.0


def require_on_hub(kind: str, repository: str, otherwise: str) -> None:
    """Make sure that a model or a dataset is in the local cache or can be downloaded.

    Parameters
    ----------
    kind : {"model", "dataset"}
    repository : str
        Name on the Hub, with organisation.
    otherwise : str
        What the reader can do instead; becomes part of the error message.

    Raises
    ------
    DataError
        If it is neither in the cache nor reachable.
    """
    from huggingface_hub import HfApi

    if not _CACHED[kind](repository):
        _ask(getattr(HfApi(), f"{kind}_info"), repository, otherwise)


def _model_in_cache(repository: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, "config.json"), str)


def _dataset_in_cache(repository: str) -> bool:
    from datasets import config

    # The client names its folders in this way, and falls back on them when it is offline.
    return (Path(config.HF_DATASETS_CACHE) / repository.lower().replace("/", "___")).is_dir()


_CACHED = {"model": _model_in_cache, "dataset": _dataset_in_cache}


def _ask(question, repository: str, otherwise: str) -> None:
    try:
        question(repository, timeout=TIMEOUT_SECONDS)
    except Exception as error:  # the client raises a different type for each way to be offline
        offline = os.environ.get("HF_HUB_OFFLINE")
        reason = "HF_HUB_OFFLINE is set" if offline else type(error).__name__
        raise DataError(f"cannot get {repository} from the Hub ({reason}). {otherwise}") from error
