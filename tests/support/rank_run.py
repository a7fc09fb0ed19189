"""Small pretraining runs for the tests of several ranks: `torchrun --nproc_per_node 2 rank_run.py '{...}' '{...}'`.

Each argument is the JSON of a run: out (folder), and optionally batch (per rank), accumulation, resume (true), stop_at
(step to die after), killed (a rank: the one that the kernel kills after two steps), epochs, images, probe, fsdp (true),
model (overrides of its config), image_mean, recipe (its other keys), arguments (of the Trainer). Writes per rank:
weights, probe, scores and what was compiled; the first rank also the log.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env
from safetensors.torch import save_file
from torch._dynamo.utils import counters
from transformers import TrainerCallback

from dailymae_hf.training.callbacks import LogFileCallback, OnlineProbeCallback, ThroughputCallback
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from dailymae_hf.training.ranks import leave_rank
from dailymae_hf.training.training_args import DailyMAETrainingArguments
from tests.support.in_memory import ArrayLoader, coloured_images, tiny_model

SCHEDULE = {"kind": "palindrome", "resolutions": [32, 24, 32]}


class Dies(TrainerCallback):
    """A crash after some optimizer step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


class Killed(TrainerCallback):
    """What a machine does that runs out of memory. Leaves the time of it in `killed_at`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2:
            (self.folder / "killed_at").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)


def shard_on_cpus() -> None:
    """What `accelerate launch --config_file accelerate_configs/fsdp2.yaml` would set up, on CPU ranks in float32.

    accelerate knows FSDP on accelerators only; nothing in it or in PyTorch's FSDP2 needs one. Hence the other name.
    """
    config = Path(__file__).parents[2] / "accelerate_configs" / "fsdp2.yaml"
    words = ["--config_file", str(config), "--mixed_precision", "no", "script.py"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    environment = prepare_multi_gpu_env(arguments)
    os.environ.update({name: value for name, value in environment.items() if "FSDP" in name})
    PartialState().distributed_type = DistributedType.MULTI_GPU


def build(options: dict, rank: int = 0, world_size: int = 1) -> DailyMAETrainer:
    images, labels = coloured_images(options.get("images", 52))
    batch = options.get("batch", 8)
    loaders = {
        name: ArrayLoader(images[part], labels[part], size, rank=rank, world_size=world_size, **kind)
        for name, part, size, kind in (
            ("train", slice(0, -13), batch, {"seed": 3}),
            ("eval", slice(-13, None), 4, {"shuffle": False, "drop_last": False}),
            ("bank", slice(0, -13), 4, {"shuffle": False, "drop_last": False}),
        )
    }
    callbacks: list[TrainerCallback] = [ThroughputCallback(), LogFileCallback()]
    if options.get("probe", True):
        callbacks.append(OnlineProbeCallback(bank=loaders["bank"]))
    if options.get("killed") == rank:
        callbacks.append(Killed(Path(options["out"])))
    if options.get("stop_at"):
        callbacks.append(Dies(options["stop_at"]))
    args = DailyMAETrainingArguments(
        output_dir=options["out"],
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=4,
        gradient_accumulation_steps=options.get("accumulation", 1),
        num_train_epochs=options.get("epochs", 3),
        base_learning_rate=options.get("base_learning_rate", 0.02),
        warmup_epochs=1,
        resolution_schedule=SCHEDULE,
        save_strategy="steps",
        save_steps=options.get("save_steps", 3),
        report_to="none",
        seed=options.get("seed", 3),
        **{
            "use_cpu": True,
            "bf16": False,
            "disable_tqdm": True,
            "logging_steps": 1,
            **options.get("arguments", {}),
        },
    )
    if options.get("fsdp"):
        shard_on_cpus()
    trainer = DailyMAETrainer(
        tiny_model(**options.get("model", {})),
        args,
        train_beton=loaders["train"],
        eval_beton=loaders["eval"],
        image_mean=options.get("image_mean"),
        callbacks=callbacks,
    )
    trainer.recipe_settings = options.get("recipe", {})
    return trainer


def run(options: dict, rank: int = 0, world_size: int = 1) -> None:
    """Train, and write what the tests compare; nothing where the run died on purpose."""
    trainer = build(options, rank, world_size)
    try:
        trainer.train(resume_from_checkpoint=options.get("resume"))
    except KeyboardInterrupt:
        return
    out = Path(options["out"])
    compiled = {"graphs": counters["stats"]["unique_graphs"], "breaks": dict(counters["graph_break"])}
    (out / f"compiled-{rank}.json").write_text(json.dumps(compiled))
    model = trainer.core_model
    state = trainer.accelerator.get_state_dict(model) if options.get("fsdp") else model.state_dict()
    save_file(state, out / f"weights-{rank}.safetensors")
    scores = {"eval_loss": trainer.evaluate()["eval_loss"]}
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, OnlineProbeCallback):
            save_file(callback.probe.state_dict(), out / f"probe-{rank}.safetensors")
            scores |= callback.score()
    (out / f"scores-{rank}.json").write_text(json.dumps(scores))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for argument in sys.argv[1:]:
        run(json.loads(argument), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    leave_rank()
