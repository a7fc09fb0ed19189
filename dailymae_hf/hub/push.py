"""`dailymae push DIR`: a run's folder as a model repository."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import HfApi

from dailymae_hf.errors import HubError
from dailymae_hf.hub.card import draw_pictures, generated_headings, model_card, read_facts
from dailymae_hf.hub.client import WAITS, commit, create_repository, remote_text, with_retries
from dailymae_hf.hub.files import ENCODER_FILES, MODEL_FILES, RECORD_FILES, matching
from dailymae_hf.hub.handwritten import keep_handwritten
from dailymae_hf.model.plain_vit import write_encoder_beside
from dailymae_hf.run_files import CARD_NAME, FACTS_NAME


def push_model(
    folder: str | Path,
    repository: str,
    *,
    private: bool | None = None,
    license: str | None = None,
    base_model: str | None = None,
    results: Sequence[str | Path] = (),
    message: str = "Push model",
    token: str | None = None,
    revision: str | None = None,
    waits: Sequence[float] = WAITS,
    pause: Callable[[float], object] = time.sleep,
) -> str:
    """Push weights, config, image processor, recipe, log, pictures and a model card; returns the commit's address.

    A masked autoencoder's encoder goes with it as a plain ViT, in the subfolder `encoder` (written there first).

    One commit: nothing is half visible. Optimizer states and checkpoints stay here. The card is written anew with the
    repository's name in it; what people added to it there or in the folder is kept.

    Args:
        folder: the output folder of a run.
        repository: USER/NAME; it is made where it does not exist.
        private: None leaves an existing repository as it is.
        license, base_model, results: see `model_card`.
        token: by default the one that `hf auth login` stored, or HF_TOKEN.
        waits, pause: see `with_retries`.

    Raises:
        HubError: the folder is no run's, or the Hub refuses or cannot be reached.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    files = matching(folder, MODEL_FILES)
    if "config.json" not in files or not any(name.endswith(".safetensors") for name in files):
        raise HubError(f"{folder}: has no config.json or no weights (model.safetensors)")
    if facts["kind"] == "pretraining":
        write_encoder_beside(folder)
        files |= matching(folder, ENCODER_FILES)
    draw_pictures(folder)
    files |= matching(folder, RECORD_FILES)
    api = HfApi(token=token)
    what = f"push to {repository}"

    def attempt() -> str:
        name = create_repository(api, repository, private=private)
        card = model_card(
            folder, source=name, license=license, base_model=base_model, results=[Path(path) for path in results]
        )
        local = folder / CARD_NAME
        here = local.read_text() if local.is_file() else None
        for existing in (here, remote_text(api, name, CARD_NAME, revision=revision)):
            if existing is not None:
                card = keep_handwritten(card, existing, generated_headings())
        address = commit(api, name, {**files, CARD_NAME: card.encode()}, message, revision=revision)
        # So that a model made from this folder can say on its own card where it comes from.
        (folder / FACTS_NAME).write_text(json.dumps(facts | {"repository": name}, indent=2) + "\n")
        return address

    return with_retries(attempt, what, waits=waits, pause=pause)
