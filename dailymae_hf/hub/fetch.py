"""`hf://datasets/USER/NAME/train.beton` in a recipe: fetched once, checked, shared by the ranks of a machine."""

import re
from typing import Any, NamedTuple

from huggingface_hub import hf_hub_download
from transformers import TrainingArguments

from dailymae_hf.data.beton import open_beton
from dailymae_hf.errors import BetonError, RecipeError
from dailymae_hf.hub.client import WAITS, with_retries

SCHEME = "hf://"
PREFIX = f"{SCHEME}datasets/"
_ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?/(.+)")


class Address(NamedTuple):
    """A file of a dataset repository; `revision` is a branch, tag or commit, None for the main branch."""

    repository: str
    revision: str | None
    name: str


def parse(address: str) -> Address:
    """Take `hf://datasets/USER/NAME[@REVISION]/FILE` apart. Raises RecipeError where it is not of that form."""
    match = _ADDRESS.fullmatch(address)
    if match is None or any(part in ("", ".", "..") for part in address.removeprefix(SCHEME).split("/")):
        raise RecipeError(f"{address}: not of the form hf://datasets/USER/NAME/FILE.beton (or NAME@REVISION)")
    return Address(match[1], match[2], match[3])


def repository_of(address: str) -> str:
    """USER/NAME of an address."""
    return parse(address).repository


def fetch_beton(address: str, *, only_cached: bool = False) -> str:
    """The path of a .beton in the Hub's cache, downloaded where it is not there yet.

    The client compares its size with what the Hub announced, and `open_beton` the tables inside with that size.

    Args:
        only_cached: take what is in the cache without asking the Hub: another process has just fetched it.

    Raises:
        HubError: there is no such file, it is private, or the Hub cannot be reached and the file is not in the cache.
        BetonError: the file is damaged.
    """
    repository, revision, name = parse(address)

    def download() -> str:
        return hf_hub_download(repository, name, repo_type="dataset", revision=revision, local_files_only=only_cached)

    path = with_retries(download, address, waits=() if only_cached else WAITS)
    try:
        open_beton(path)
    except BetonError as error:
        raise BetonError(f"{address}: {error}; delete the file to have it fetched again") from error
    return path


def fetch_betons(source: Any, args: TrainingArguments, *, field: str) -> Any:
    """`source` with each hf:// address replaced by a file of this machine; anything else as it is.

    Called on every rank: the first of each machine fetches, the others wait and take the same file from the cache.

    Args:
        source: a path or an address, or a list of them.
        args: the run's arguments, which know the ranks.
        field: the recipe's key, for messages.

    Raises:
        RecipeError: an address is not of the form that `parse` reads; the message names the key.
    """
    entries = source if isinstance(source, list) else [source]
    remote = [entry for entry in entries if isinstance(entry, str) and entry.startswith(SCHEME)]
    if not remote:
        return source
    try:
        for address in remote:
            parse(address)
    except RecipeError as error:
        raise RecipeError(f"{field}: {error}") from None
    with args.main_process_first(desc=f"fetch the files of {field}"):
        only_cached = args.world_size > 1 and args.local_process_index > 0
        local = {address: fetch_beton(address, only_cached=only_cached) for address in remote}
    return [local.get(entry, entry) for entry in source] if isinstance(source, list) else local[source]
