"""`hf://datasets/USER/NAME/train.beton` in a recipe: fetched once, checked, shared by the ranks of a machine."""

import re
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from huggingface_hub import hf_hub_download

from dailymae_hf.data.beton import open_beton
from dailymae_hf.errors import BetonError, RecipeError
from dailymae_hf.hub.client import WAITS, retried
from dailymae_hf.recipe.recipe import Recipe

PREFIX = "hf://datasets/"
_ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?/(.+)")

Kind = TypeVar("Kind", bound=Recipe)


class Address(NamedTuple):
    """A file of a dataset repository; `revision` is a branch, tag or commit, None for the main branch."""

    repository: str
    revision: str | None
    name: str


def parse(address: str) -> Address:
    """Take `hf://datasets/USER/NAME[@REVISION]/FILE` apart. Raises RecipeError where it is not of that form."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
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

    path = retried(download, address, waits=() if only_cached else WAITS)
    try:
        open_beton(path)
    except BetonError as error:
        raise BetonError(f"{address}: {error}; delete the file to have it fetched again") from error
    return path


def fetched(recipe: Kind) -> Kind:
    """The recipe to build from: every hf:// address of a .beton replaced by a file of this machine.

    Called on every rank: the first of each machine fetches, the others wait and take the same file from the cache. The
    recipe that a run saves is the one with the addresses.
    """
    sections = {}
    for section in recipe.sections():
        fields = vars(getattr(recipe, section))
        remote = {name: value for name, value in fields.items() if name in _FIELDS and _addresses(value)}
        if remote:
            training = recipe.training
            with training.main_process_first(desc="fetch the .beton files"):
                only_cached = training.world_size > 1 and training.local_process_index > 0
                local = {name: _local(value, only_cached) for name, value in remote.items()}
            sections[section] = replace(getattr(recipe, section), **local)
    return replace(recipe, **sections) if sections else recipe


_FIELDS = ("train_beton", "eval_beton", "betons")


def _addresses(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(_addresses(item) for item in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and value.startswith("hf://")


def _local(value: Any, only_cached: bool) -> Any:
    if isinstance(value, dict):
        return {key: _local(item, only_cached) for key, item in value.items()}
    if isinstance(value, list):
        return [_local(item, only_cached) for item in value]
    return fetch_beton(value, only_cached=only_cached) if _addresses(value) else value
