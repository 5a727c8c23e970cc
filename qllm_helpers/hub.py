"""One quick question to the Hugging Face Hub, asked before its clients start to retry.

Without network those clients repeat every request for half a minute each, with a warning a line.
"""

import os
from pathlib import Path

from qllm_helpers.artifacts import DataError

TIMEOUT_SECONDS = 10.0


def require_model(repository: str, otherwise: str) -> None:
    """Make sure that a model is in the local cache or can be downloaded.

    Parameters
    ----------
    repository : str
        Name on the Hub, with organisation.
    otherwise : str
        What the reader can do instead; becomes part of the error message.

    Raises
    ------
    DataError
        If the model is neither in the cache nor reachable.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(repository, "config.json"), str):
        _ask(HfApi().model_info, repository, otherwise)


def require_dataset(repository: str, otherwise: str) -> None:
    """Make sure that a dataset is in the local cache or can be downloaded.

    Parameters
    ----------
    repository : str
        Name on the Hub, with organisation.
    otherwise : str
        What the reader can do instead; becomes part of the error message.

    Raises
    ------
    DataError
        If the dataset is neither in the cache nor reachable.
    """
    from datasets import config
    from huggingface_hub import HfApi

    # The client names its folders in this way, and falls back on them when it is offline.
    if not (Path(config.HF_DATASETS_CACHE) / repository.lower().replace("/", "___")).is_dir():
        _ask(HfApi().dataset_info, repository, otherwise)


def _ask(question, repository: str, otherwise: str) -> None:
    try:
        question(repository, timeout=TIMEOUT_SECONDS)
    except Exception as error:  # the client raises a different type for each way to be offline
        offline = os.environ.get("HF_HUB_OFFLINE")
        reason = "HF_HUB_OFFLINE is set" if offline else type(error).__name__
        raise DataError(f"cannot get {repository} from the Hub ({reason}). {otherwise}") from error
