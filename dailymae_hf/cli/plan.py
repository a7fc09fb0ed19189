"""`dailymae plan`: what a recipe's run takes under each schedule, and the schedule that fits a budget."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dailymae_hf.cli.arguments import number, whole
from dailymae_hf.errors import RecipeError
from dailymae_hf.plan.estimate import Conditions, Estimate, Machines, Prices, estimate_run
from dailymae_hf.plan.forecast import Plan
from dailymae_hf.plan.speeds import Throughput, parse_duration, read_throughput

if TYPE_CHECKING:
    from dailymae_hf.recipe.build import Setup
    from dailymae_hf.recipe.recipe import PretrainRecipe

_ABOUT = """What a run takes at constant resolution, with the palindrome and with other schedules, what limits it, and,
with --budget, the schedule that fits. Speeds are measured: from a results file (--throughput) or now (--measure). Any
key of the recipe can be given too, as after `dailymae pretrain`: --train_beton mine.beton."""


def add_plan(commands: Any) -> None:
    parser = commands.add_parser(
        "plan", help="hours, bottleneck and cost of a recipe; fit it to a budget", description=_ABOUT
    )
    parser.add_argument("--recipe", required=True, help="a YAML file, or a name that `dailymae recipes` lists")
    parser.add_argument("--budget", metavar="TIME", help="18h, 90min, 1d6h: also solve for the schedule that fits")
    speed = parser.add_mutually_exclusive_group(required=True)
    speed.add_argument("--throughput", metavar="JSON", help="results file with measured speeds")
    speed.add_argument("--measure", action="store_true", help="time this machine for a minute or so")
    speed.add_argument(
        "--mfu",
        type=number(above=0, at_most=1),
        metavar="FRACTION",
        help="instead of measuring: stated fraction of --peak-tflops",
    )
    parser.add_argument("--peak-tflops", type=number(above=0), metavar="N", help="the device's peak, for --mfu")
    parser.add_argument(
        "--gpus", type=whole(at_least=1), metavar="N", help="devices of the run (default: those of this machine, or 1)"
    )
    parser.add_argument("--cores-per-gpu", type=number(above=0), metavar="N", help="CPU cores that load for one device")
    parser.add_argument(
        "--scaling",
        type=number(above=0, at_most=1),
        default=1.0,
        metavar="FRACTION",
        help="speed that a device keeps in company",
    )
    parser.add_argument("--epochs", type=whole(at_least=1), help="default: the recipe's")
    parser.add_argument(
        "--images", type=whole(at_least=1), help="training images (default: those in the recipe's file)"
    )
    parser.add_argument(
        "--watts-per-gpu", type=number(at_least=0), default=0.0, help="with its share of the machine, for the energy"
    )
    parser.add_argument("--price-per-gpu-hour", type=number(at_least=0), default=0.0)
    parser.add_argument("--price-per-kwh", type=number(at_least=0), default=0.0)
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the schedules")
    parser.add_argument("--out", type=Path, metavar="JSON", help="write speeds and plan; `plan:` in a recipe reads it")
    parser.set_defaults(run=run_plan, overrides=[])


def run_plan(options: argparse.Namespace) -> int:
    from dailymae_hf.plan.report import draw_plan, format_plan
    from dailymae_hf.recipe.build import Setup, cores_per_rank, model_config
    from dailymae_hf.recipe.planning import conditions_of, fit_recipe_schedule, training_flops, usual_schedules
    from dailymae_hf.recipe.recipe import load_recipe
    from dailymae_hf.recipe.shipped import find_recipe

    if (options.mfu is None) != (options.peak_tflops is None):
        raise RecipeError("--mfu and --peak-tflops: a stated speed needs both")
    budget = None if options.budget is None else parse_duration(options.budget, field="--budget")
    recipe: PretrainRecipe = load_recipe(find_recipe(options.recipe), options.overrides)
    setup = Setup(recipe)
    training, config = recipe.training, model_config(recipe)
    epochs = options.epochs or int(training.num_train_epochs)
    spec = cast("dict[str, Any] | None", training.resolution_schedule)
    if options.mfu is not None:
        peak = options.peak_tflops * 1e12
        flops = training_flops(config, training.decoder_keep)
        throughput = Throughput.from_utilisation(flops, config.image_size, config.mask_ratio, peak, options.mfu)
    else:
        throughput = _measured(setup, epochs) if options.measure else read_throughput(options.throughput)
    devices = options.gpus or training.world_size * max(1, training.n_gpu)
    conditions = conditions_of(
        config,
        images=options.images or setup.training_images,
        global_batch=training.per_device_train_batch_size * training.gradient_accumulation_steps * devices,
        machines=Machines(devices, options.cores_per_gpu or cores_per_rank(recipe), options.scaling),
        throughput=throughput,
        decoder_keep=training.decoder_keep,
    )
    prices = Prices(options.watts_per_gpu, options.price_per_gpu_hour, options.price_per_kwh)
    estimates = [
        estimate_run(name, stages, conditions, prices) for name, stages in usual_schedules(spec, epochs, config).items()
    ]
    if budget is not None:
        fitted = fit_recipe_schedule(budget, spec, epochs, config, conditions)
        estimates.append(estimate_run(f"fits {options.budget}", fitted.stage_of_epoch, conditions, prices))
        estimates[-1] = replace(estimates[-1], name=_fit_name(options.budget, fitted.epochs, epochs))
    print(format_plan(estimates, source=throughput.source, budget_seconds=budget, notes=_notes(conditions, options)))
    if budget is not None:
        print("\nresolution_schedule: " + json.dumps(fitted.to_recipe()))
        print(f"num_train_epochs: {fitted.epochs}")
    if options.picture:
        draw_plan(estimates, options.picture, source=throughput.source, budget_seconds=budget)
        print(f"drawn: {options.picture}")
    if options.out:
        chosen = estimates[-1] if budget is not None else estimates[0]
        options.out.write_text(json.dumps(_content(chosen, budget, throughput), indent=1) + "\n")
        print(f"written: {options.out} ({chosen.name})")
    return 0


def _counted(number: float, word: str) -> str:
    return f"{number:g} {word}{'' if number == 1 else 's'}"


def _content(chosen: Estimate, budget: float | None, throughput: Throughput) -> dict[str, Any]:
    return {"plan": Plan.from_estimate(chosen, budget).to_json(), "throughput": throughput.to_json()}


def _fit_name(budget: str, fitted: int, asked: int) -> str:
    return f"fits {budget}" if fitted == asked else f"fits {budget} with fewer epochs"


def _measured(setup: "Setup", epochs: int) -> Throughput:
    from dailymae_hf.recipe.build import model_config
    from dailymae_hf.recipe.measure import measure
    from dailymae_hf.recipe.planning import sizes_to_measure

    spec = cast("dict[str, Any] | None", setup.recipe.training.resolution_schedule)
    return measure(setup, sizes_to_measure(spec, epochs, model_config(setup.recipe)))


def _notes(conditions: Conditions, options: argparse.Namespace) -> list[str]:
    """What the figures take for granted."""
    run, machines, throughput = conditions.run, conditions.machines, conditions.throughput
    notes = [
        f"{_counted(machines.devices, 'device')}, {_counted(machines.cores_per_device, 'core')} each; "
        f"{run.images_per_epoch:,} of {run.images:,} images per epoch in steps of {run.global_batch:,}"
    ]
    if machines.devices > 1 and machines.scaling == 1:
        notes.append("assumed: a device is as fast among others as alone (--scaling states another fraction)")
    if throughput.shared_cores and not throughput.loader:
        notes.append("loading was timed inside the step, which shares its cores: the step's speed holds both")
    elif not throughput.loader:
        notes.append("no loader was measured: it is taken as never waited for")
    if not throughput.start_seconds:
        notes.append("start-up, validation and checkpoints were not measured and are not in these times")
    return notes
