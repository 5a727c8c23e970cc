"""One quick question to the Hugging Face Hub, asked before its clients start to retry.

Without network those clients repeat every request for half a minute each, with a warning a line.
"""

import os
from pathlib import Path

from qllm_helpers.files import DataError

TIMEOUT_SECONDS = 10.0


def require_on_hub(kind: str, repository: str, otherwise: str, revision: str | None = None) -> None:
    """Make sure that a ``"model"`` or ``"dataset"`` is in the local cache or can be downloaded.

    Raises DataError that ends in `otherwise`, which says what the reader can do instead.
    """
    from huggingface_hub import HfApi

    if _in_cache(kind, repository, revision):
        return
    ask = getattr(HfApi(), f"{kind}_info")
    try:
        ask(repository, revision=revision, timeout=TIMEOUT_SECONDS)
    except Exception as error:  # the client raises a different type for each way to be offline
        offline = os.environ.get("HF_HUB_OFFLINE")
        reason = "HF_HUB_OFFLINE is set" if offline else type(error).__name__
        raise DataError(f"cannot get {repository} from the Hub ({reason}). {otherwise}") from error


def _in_cache(kind: str, repository: str, revision: str | None) -> bool:
    if kind == "model":
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(repository, "config.json", revision=revision), str)
    from datasets import config

    # The client names its folders in this way, and falls back on them when it is offline.
    return (Path(config.HF_DATASETS_CACHE) / repository.lower().replace("/", "___")).is_dir()
