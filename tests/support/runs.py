"""What small pretraining runs of the tests are made of: arguments, loaders over coloured images, normalised pixels."""

import torch

from dailymae_hf.training.pixels import IMAGE_MEAN, IMAGE_STD
from dailymae_hf.training.training_args import DailyMAETrainingArguments
from tests.support.in_memory import ArrayLoader, coloured_images


def arguments(out, **given):
    settings = {
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 4,
        "num_train_epochs": 2,
        "base_learning_rate": 0.01,
        "warmup_epochs": 1,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "seed": 5,
    }
    return DailyMAETrainingArguments(output_dir=str(out), **{**settings, **given})


def loader(count=40, batch=8, labels=True, **kind):
    images, classes = coloured_images(count)
    return ArrayLoader(images, classes if labels else None, batch, **{"seed": 5, **kind})


def validation(count=11, batch=4):
    return loader(count, batch, shuffle=False, drop_last=False)


def normalised(images):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    return (images.float() / 255 - mean) / std
