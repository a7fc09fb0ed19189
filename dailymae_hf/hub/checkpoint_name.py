"""The checkpoint that a run or an export names: looked for before anything is loaded, and never long."""

import os

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from dailymae_hf.data.sources.path_or_hub import PATIENCE, absent, hub_problem, is_on_hub
from dailymae_hf.errors import CheckpointError


def require_checkpoint(name: str | os.PathLike[str], field: str = "model_name_or_path") -> None:
    """Make sure that a folder is there, or a model of the Hub in its cache; else ask the Hub once.

    `from_pretrained` asks for every file, each for half a minute, before it says that there is no network.

    Args:
        name: a folder, or USER/NAME. A name whose folder exists is a path.
        field: the recipe's key, for messages.

    Raises:
        CheckpointError: there is none (the message names the folder that was most likely meant), or the Hub cannot be
            reached.
    """
    text = os.fspath(name)
    if os.path.isdir(text):
        return
    if os.path.exists(text):
        raise CheckpointError(f"{field}: {text} is a file; name the folder that it lies in")
    if _may_be_a_repository(text):
        if isinstance(try_to_load_from_cache(text, "config.json"), str):
            return
        if is_on_hub(text):
            problem = hub_problem(lambda: HfApi().model_info(text, revision="main", timeout=PATIENCE), text, "model")
            if problem:
                raise CheckpointError(f"{field}: {problem}")
            return
    raise CheckpointError(f"{field}: {absent(text)} (a model of the Hub is USER/NAME)")


def _may_be_a_repository(text: str) -> bool:
    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return "/" in text
