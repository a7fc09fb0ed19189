"""A small fine-tuning run for the test of two ranks: `torchrun --nproc_per_node 2 classifier_rank_run.py OUT BATCH`."""

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from dailymae_hf.downstream.classifier import build_classifier, pooled_features
from dailymae_hf.downstream.features import collect_features
from dailymae_hf.downstream.probe import LinearProbe, LinearProbeTrainer
from dailymae_hf.downstream.segmentation import SegmentationTrainer, build_segmenter
from dailymae_hf.downstream.trainer import ClassifierTrainer
from dailymae_hf.downstream.training_args import ClassifierTrainingArguments, ProbeTrainingArguments
from dailymae_hf.run_files import scores_of
from dailymae_hf.training.augment import ThreeAugment
from dailymae_hf.training.ranks import leave_rank, shutdown_distributed
from dailymae_hf.training.training_args import DailyMAETrainingArguments
from tests.support.in_memory import ArrayLoader, coloured_images, tiny_model


def run(out: Path, batch: int, rank: int = 0, world_size: int = 1) -> None:
    """Train, score 13 images (which two ranks cannot share evenly), encode them; write all of it per rank."""
    images, labels = coloured_images(45)
    train = ArrayLoader(images[:32], labels[:32], batch, seed=1, rank=rank, world_size=world_size)
    held_out = ArrayLoader(
        images[32:], labels[32:], 4, shuffle=False, drop_last=False, rank=rank, world_size=world_size
    )
    args = ClassifierTrainingArguments(
        output_dir=str(out), num_train_epochs=3, warmup_epochs=1, per_device_train_batch_size=batch,
        per_device_eval_batch_size=4, base_learning_rate=0.02, ema_decay=0.5, report_to="none", disable_tqdm=True,
        save_strategy="no", use_cpu=True, bf16=False,
        # Bounds what a gradient that is rounding noise can do to a weight.
        adam_epsilon=1e-3,
    )  # fmt: skip
    torch.manual_seed(0)
    trainer = ClassifierTrainer(
        build_classifier(tiny_model(), ["a", "b", "c", "d"]),
        args,
        augment=ThreeAugment(),
        train_beton=train,
        eval_beton=held_out,
    )
    trainer.train()
    scores = scores_of(trainer.evaluate())
    table = collect_features(trainer, held_out, lambda x: pooled_features(trainer.core_model, x), name="held out")
    save_file(
        {**trainer.core_model.state_dict(), "features": table.features, "labels": table.labels},
        out / f"weights-{rank}.safetensors",
    )
    (out / f"scores-{rank}.json").write_text(json.dumps(scores))
    heads(out, batch, rank, world_size)
    shutdown_distributed(trainer.accelerator)


def heads(out: Path, batch: int, rank: int, world_size: int) -> None:
    """A linear probe and a segmenter, whose batch norms and crops ranks have to share; write their weights per rank."""
    images, labels = coloured_images(45)
    common = {
        "output_dir": str(out), "num_train_epochs": 3, "warmup_epochs": 0, "per_device_train_batch_size": batch,
        "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": True, "bf16": False,
    }  # fmt: skip
    torch.manual_seed(0)
    probe = LinearProbe(build_classifier(tiny_model(), ["a", "b", "c", "d"]))
    train = ArrayLoader(images[:32], labels[:32], batch, seed=1, rank=rank, world_size=world_size)
    LinearProbeTrainer(probe, ProbeTrainingArguments(base_learning_rate=5.0, **common), train_beton=train).train()
    segmenter = build_segmenter(tiny_model(), ["dark", "bright"], frozen=False)
    # Images whose mask depends on the crop: with the crops of another epoch the weights end elsewhere.
    args = DailyMAETrainingArguments(learning_rate=1e-3, adam_epsilon=1e-3, **common)
    SegmentationTrainer(segmenter, args, train_dataset=Crops(images[:32])).train()
    state = {f"probe.{name}": value for name, value in probe.state_dict().items() if "classifier" not in name}
    state |= {f"segmenter.{name}": value for name, value in segmenter.state_dict().items()}
    save_file({name: value.contiguous() for name, value in state.items()}, out / f"heads-{rank}.safetensors")


class Crops(torch.utils.data.Dataset):
    """Images shifted by (epoch, number), with a mask of their bright pixels."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images, self.epoch = images, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        image = self.images[number].roll(5 * self.epoch + number, dims=-1)
        return {"pixel_values": image, "labels": (image.float().mean(0) > 127).long()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), int(sys.argv[2]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    leave_rank()
