"""`resolution_schedule: {fit: 18h}`: measured, fitted and written down before the first step, the same on all ranks."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dailymae_hf.errors import RecipeError, ResumeError
from dailymae_hf.plan.estimate import Machines, estimate_run
from dailymae_hf.plan.forecast import Plan
from dailymae_hf.plan.speeds import EpochCost, LoaderSpeed, StepSpeed, Throughput, parse_duration
from dailymae_hf.recipe.measure import measure
from dailymae_hf.recipe.planning import conditions_of, fit_recipe_schedule, sizes_to_measure
from dailymae_hf.schedule import FIELD, is_fit
from dailymae_hf.training.run_claim import claimed
from dailymae_hf.training.stopwatch import process_seconds
from dailymae_hf.training.training_args import DailyMAETrainingArguments

if TYPE_CHECKING:
    from dailymae_hf.recipe.build import Setup
    from dailymae_hf.recipe.recipe import PretrainRecipe

logger = logging.getLogger(__name__)

PLAN_NAME = "plan.json"


def fit_at_start(setup: "Setup") -> "PretrainRecipe":
    """The setup's recipe with the schedule and epochs that fit its budget; any other recipe as it is.

    Times the machine for a minute or so (`measure`) on every rank, takes the slowest rank's figures, solves on the
    first rank and hands the answer to all. It is written to `output_dir`/plan.json; a run that resumes reads it there
    and measures nothing. The budget counts from the start of the process, measuring included.

    Raises:
        RecipeError: the budget is no duration, too short for one epoch, or `max_steps` is set as well.
        ResumeError: the run resumes and its plan is not there.
    """
    recipe = setup.recipe
    training = recipe.training
    spec = training.resolution_schedule
    if not is_fit(spec):
        return recipe
    assert isinstance(spec, dict)
    budget = parse_duration(spec["fit"], field=f"{FIELD}.fit")
    if training.max_steps > 0:
        raise RecipeError(f"max_steps: {training.max_steps} and {FIELD}.fit both set the length of the run; give one")
    path = Path(training.output_dir) / PLAN_NAME
    if _resumes(training):
        if not path.is_file():
            raise ResumeError(f"{path} is missing: the schedule that this run was fitted to is written there")
        chosen = json.loads(path.read_text())
    else:
        chosen = _from_first_rank(_choose(setup, budget, spec))
        if training.process_index == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(chosen, indent=1) + "\n")
            logger.warning("%s: %s epochs at %s", path, chosen["num_train_epochs"], chosen["resolution_schedule"])
    changed = recipe.given | {name: chosen[name] for name in ("resolution_schedule", "num_train_epochs")}
    callbacks = replace(recipe.callbacks, plan=str(path))
    return replace(recipe, callbacks=callbacks, training=type(training)(**changed), given=changed)


def _resumes(training: DailyMAETrainingArguments) -> bool:
    """Whether the run continues a checkpoint; under "auto" that is known from the output folder."""
    if training.resume_from_checkpoint != "auto":
        return bool(training.resume_from_checkpoint)
    with claimed(training, "auto") as claim:
        return claim.checkpoint is not None


def _choose(setup: "Setup", budget: float, spec: dict[str, Any]) -> dict[str, Any]:
    """What plan.json holds, from this machine's speed and that of the other ranks."""
    from dailymae_hf.recipe.build import cores_per_rank, model_config

    recipe = setup.recipe
    training, config = recipe.training, model_config(recipe)
    epochs = int(training.num_train_epochs)
    before = process_seconds()
    own = measure(setup, sizes_to_measure(spec, epochs, config))
    spent = process_seconds() - before
    throughput = slowest(_from_all_ranks(replace(own, start_seconds=own.start_seconds + spent)))
    conditions = conditions_of(
        config,
        images=setup.training_images,
        global_batch=training.effective_batch_size,
        machines=Machines(devices=training.world_size, cores_per_device=cores_per_rank(recipe)),
        throughput=throughput,
        decoder_keep=training.decoder_keep,
    )
    fitted = fit_recipe_schedule(budget, spec, epochs, config, conditions)
    estimate = estimate_run("fit", fitted.stage_of_epoch, conditions)
    return {
        "resolution_schedule": fitted.to_recipe(),
        "num_train_epochs": float(fitted.epochs),
        "plan": Plan.from_estimate(estimate, budget).to_json(),
        "throughput": throughput.to_json(),
    }


def slowest(ranks: Sequence[Throughput]) -> Throughput:
    """The speeds that a run of these ranks has: of each figure the slowest rank's, as all wait for it."""
    first = ranks[0]
    return replace(
        first,
        step=tuple(
            StepSpeed(s.resolution, s.mask_ratio, min(rank.step[i].images_per_second for rank in ranks))
            for i, s in enumerate(first.step)
        ),
        loader=tuple(
            LoaderSpeed(s.resolution, min(rank.loader[i].images_per_second_per_core for rank in ranks))
            for i, s in enumerate(first.loader)
        ),
        epoch_costs=tuple(
            EpochCost(cost.resolution, max(rank.epoch_costs[i].seconds for rank in ranks))
            for i, cost in enumerate(first.epoch_costs)
        ),
        start_seconds=max(rank.start_seconds for rank in ranks),
    )


def _from_all_ranks(throughput: Throughput) -> list[Throughput]:
    from accelerate.utils import gather_object

    return [Throughput.from_json(content) for content in gather_object([throughput.to_json()])]


def _from_first_rank(content: dict[str, Any]) -> dict[str, Any]:
    from accelerate.utils import broadcast_object_list

    held = [content]
    broadcast_object_list(held)
    return held[0]
