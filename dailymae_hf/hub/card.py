"""The model card: a template filled with the facts that a run left in its folder, and nothing that was not measured."""

import json
import logging
import re
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dailymae_hf.errors import HubError, MissingDependencyError
from dailymae_hf.hub.files import CURVES, RECONSTRUCTION, SCHEDULE, latest_reconstruction
from dailymae_hf.hub.handwritten import join_card, keep_handwritten
from dailymae_hf.hub.pictures import draw_curves, draw_schedule
from dailymae_hf.run_files import CARD_NAME, FACTS_NAME, LOG_NAME, RECIPE_NAME, Result, read_log, read_result

logger = logging.getLogger(__name__)

TEMPLATES = Path(__file__).with_name("templates")
# What the Hub's widget and `pipeline(model=NAME)` do with a repository. An autoencoder has no pipeline of its own: as a
# feature extractor transformers would hide three quarters of each image.
PIPELINES = {"pretraining": None, "classification": "image-classification", "segmentation": "image-segmentation"}
LIBRARIES = {"segmentation": "dailymae_hf"}  # else plain transformers loads it
_NEIGHBOURS = "{} nearest neighbours, top-1 accuracy"
_METRICS = {
    "accuracy": "top-1 accuracy",
    "top5_accuracy": "top-5 accuracy",
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
}


def read_facts(folder: Path) -> dict[str, Any]:
    """What the run in a folder measured. Raises HubError where no run of ours left it."""
    path = folder / FACTS_NAME
    if not path.is_file():
        raise HubError(f"{folder}: has no {FACTS_NAME}, so no recipe of dailymae_hf finished a run there")
    return json.loads(path.read_text())


def write_card(folder: Path) -> Path:
    """Draw the pictures and write the card of the run in `folder` there; hand-written sections are kept."""
    draw_pictures(folder)
    path = folder / CARD_NAME
    existing = path.read_text() if path.is_file() else ""
    path.write_text(keep_handwritten(model_card(folder), existing, generated_headings()))
    return path


def draw_pictures(folder: Path) -> None:
    """Schedule, curves and the newest reconstruction, as `images/*.png` of the folder.

    A card without plots is written where they cannot be drawn, and a warning says what is missing.
    """
    try:
        draw_schedule(read_facts(folder)["stages"], folder / SCHEDULE)
        if (folder / LOG_NAME).is_file():
            draw_curves(read_log(folder / LOG_NAME), folder / CURVES)
    except MissingDependencyError as error:
        logger.warning("%s: the model card has no plots: %s", folder, error)
    newest = latest_reconstruction(folder)
    if newest is not None:
        shutil.copyfile(newest, folder / RECONSTRUCTION)


def model_card(
    folder: Path,
    *,
    source: str = ".",
    license: str | None = None,
    base_model: str | None = None,
    results: Sequence[Path] = (),
) -> str:
    """The card's Markdown with its YAML head. A fact that the run did not measure has no line.

    Args:
        folder: of the run: its facts, results and pictures.
        source: what the card's code loads: the repository's name.
        license: of the weights, as the Hub calls it; by default what the run was told (`hub_license`).
        base_model: the model's name on the Hub that this one was made from, where the run does not know it.
        results: folders of runs on this checkpoint (kNN, linear probe, fine-tuning), whose scores belong on its card.

    Raises:
        HubError: the folder lacks facts, or a folder of `results` has no results.
    """
    facts = read_facts(folder)
    name = source.rsplit("/", maxsplit=1)[-1] if source != "." else facts["name"]
    scored = [result for result in [read_result(folder), *map(_required_result, results)] if result is not None]
    pictures = {key: (folder / path).is_file() for key, path in _PICTURES.items()}
    base_model = base_model or facts.get("base_model")
    shown = facts | {"name": name, "source": source, "pictures": pictures, "base_model": base_model}
    shown["has_recipe"] = (folder / RECIPE_NAME).is_file()
    body = environment().get_template(f"{facts['kind']}.md").render(shown | {"scored": _rows(scored)})
    data = ModelCardData(
        library_name=LIBRARIES.get(facts["kind"], "transformers"),
        pipeline_tag=PIPELINES[facts["kind"]],
        license=license or facts.get("license"),
        datasets=facts.get("datasets") or None,
        base_model=base_model,
        tags=["vit_mae", "masked-autoencoder", "dailymae_hf"],
    )
    metadata = {key: value for key, value in data.to_dict().items() if value is not None}
    index = _index(facts, scored)
    return join_card(metadata | ({"model-index": [{"name": name, "results": index}]} if index else {}), body)


_PICTURES = {"reconstruction": RECONSTRUCTION, "curves": CURVES, "schedule": SCHEDULE}


@cache
def environment() -> Environment:
    """What renders the templates: a fact that a template names and nobody gives is an error."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, not HTML
    )


@cache
def generated_headings() -> set[str]:
    """The headings of all sections that templates write; any other was written by hand."""
    texts = [path.read_text() for path in TEMPLATES.glob("*.md")]
    return {heading.strip() for text in texts for heading in re.findall(r"^## (.*)$", text, re.M)}


def _required_result(folder: Path) -> Result:
    result = read_result(folder)
    if result is None:
        raise HubError(f"{folder}: has no results.json: a run of knn.py, linear_probe.py or finetune.py leaves one")
    return result


def _metric_name(key: str) -> str | None:
    if key.startswith("knn_accuracy_"):
        return _NEIGHBOURS.format(key.rpartition("_")[2])
    return _METRICS.get(key)


def _rows(scored: Sequence[Result]) -> list[dict[str, Any]]:
    """Lines of the card's table of results."""
    return [
        {
            "protocol": result.protocol,
            "metric": name,
            "data": Path(result.eval_data).name,
            "images": result.eval_images,
            "score": score,
            "details": ", ".join(f"{key.replace('_', ' ')} {value:g}" if isinstance(value, int | float) else str(value)
                                 for key, value in result.details.items()),
        }
        for result in scored
        for key, score in result.scores.items()
        if (name := _metric_name(key)) is not None
    ]  # fmt: skip


def _index(facts: dict[str, Any], scored: Sequence[Result]) -> list[dict[str, Any]]:
    """The results of a `model-index`: an entry for each protocol and data set, with its metrics."""
    names = [file["name"] for file in facts["data"] if file["kind"] == "validation"]
    online = {
        name: facts[key]
        for key, name in (("probe_accuracy", "online linear probe, accuracy"), ("knn_accuracy", _NEIGHBOURS.format(20)))
        if facts[key] is not None
    }
    frozen = "Image classification on frozen features, during pretraining"
    entries = [("image-classification", frozen, names[0] if names else "validation images", online)]
    for result in scored:
        named = {name: score for key, score in result.scores.items() if (name := _metric_name(key)) is not None}
        entries.append((result.task, result.protocol, Path(result.eval_data).name, named))
    return [
        {
            "task": {"type": task, "name": protocol},
            "dataset": {"type": "beton" if data.endswith(".beton") else data, "name": data},
            "metrics": [
                {
                    "type": "mean_iou" if name == _METRICS["mean_iou"] else "accuracy",
                    "value": round(value, 4),
                    "name": name,
                }
                for name, value in metrics.items()
            ],
        }
        for task, protocol, data, metrics in entries
        if metrics
    ]
