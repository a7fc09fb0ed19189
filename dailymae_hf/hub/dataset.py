"""`dailymae push --dataset`: .beton files as a dataset repository, with a card that says what is in them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCardData, HfApi

from dailymae_hf.data.inspect import inspect_beton
from dailymae_hf.errors import HubError
from dailymae_hf.hub.card import environment, generated_headings
from dailymae_hf.hub.client import commit, create_repository, remote_text, with_retries
from dailymae_hf.hub.handwritten import join_card, keep_handwritten
from dailymae_hf.run_files import CARD_NAME

INDEX_NAME = "betons.json"  # what `inspect_beton` says of each file in the repository
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def push_dataset(
    files: Sequence[str | Path],
    repository: str,
    *,
    private: bool | None = None,
    license: str | None = None,
    message: str = "Push .beton files",
    token: str | None = None,
) -> str:
    """Push .beton files and a dataset card in one commit; returns its address. Other files there stay, and on the card.

    Raises:
        BetonError: a file is damaged.
        HubError: two files of one name, or the Hub refuses or cannot be reached.
    """
    paths = [Path(path) for path in files]
    facts = {path.name: _described(path) for path in paths}
    if len(facts) < len(paths):
        raise HubError("two of the files have one name, and a repository has one place for it")
    api = HfApi(token=token)
    what = f"push to the data set {repository}"

    def attempt() -> str:
        name = create_repository(api, repository, private=private, repo_type="dataset")
        index, existing = (remote_text(api, name, file, repo_type="dataset") for file in (INDEX_NAME, CARD_NAME))
        known = (json.loads(index) if index else {}) | facts
        card = dataset_card(known, name, license=license)
        if existing is not None:
            card = keep_handwritten(card, existing, generated_headings())
        given: dict[str, Path | bytes] = {path.name: path for path in paths}
        given |= {INDEX_NAME: (json.dumps(known, indent=2) + "\n").encode(), CARD_NAME: card.encode()}
        return commit(api, name, given, message, repo_type="dataset")

    return with_retries(attempt, what)


def _described(path: Path) -> dict[str, Any]:
    info = inspect_beton(path)
    facts = {key: value for key, value in info["facts"].items() if key != "skipped_images"}
    return {key: value for key, value in info.items() if key != "path"} | {"facts": facts}


def dataset_card(files: Mapping[str, Mapping[str, Any]], repository: str, *, license: str | None = None) -> str:
    """The card of a repository that holds `files` (name -> what `inspect_beton` says), with its YAML head."""
    total = sum(file["num_samples"] for file in files.values())
    first = next(iter(files))
    train = next((name for name in files if "train" in name), first)
    body = environment().get_template("dataset.md").render(
        name=repository.rsplit("/", maxsplit=1)[-1],
        source=repository,
        files=files,
        total=total,
        train=train,
        validation=next((name for name in files if name != train), None),
        all_ours=all("written_by" in file["facts"] for file in files.values()),
        any_packed=any("dct" in file["modes"] for file in files.values()),
        class_names=next((n for file in files.values() if (n := file["facts"].get("class_names"))), None),
    )  # fmt: skip
    data = DatasetCardData(
        license=license,
        task_categories=["image-classification"] if any(file.get("num_classes") for file in files.values()) else None,
        size_categories=next((label for limit, label in _SIZES if total < limit), "n>10M"),
        tags=["ffcv", "beton", "dailymae_hf"],
        pretty_name=repository.rsplit("/", maxsplit=1)[-1],
    )
    return join_card({key: value for key, value in data.to_dict().items() if value is not None}, body)
