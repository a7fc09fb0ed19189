"""The key that a mistyped one most likely stands for."""

import difflib
from collections.abc import Iterable

# What MAE's own code, timm and others call it.
_USUAL_NAMES = {
    "lr": "learning_rate",
    "blr": "base_learning_rate",
    "base_lr": "base_learning_rate",
    "min_lr": "min_learning_rate",
    "wd": "weight_decay",
    "bs": "per_device_train_batch_size",
    "batch": "per_device_train_batch_size",
    "batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "accum_iter": "gradient_accumulation_steps",
    "grad_accum": "gradient_accumulation_steps",
    "accumulation": "gradient_accumulation_steps",
    "workers": "dataloader_num_workers",
    "num_workers": "dataloader_num_workers",
    "input_size": "image_size",
    "img_size": "image_size",
    "resolution": "image_size",
    "masking_ratio": "mask_ratio",
    "data_path": "train_beton",
    "train_data": "train_beton",
    "val_data": "eval_beton",
    "validation_beton": "eval_beton",
    "resume": "resume_from_checkpoint",
    "output": "output_dir",
    "out": "output_dir",
    "model": "model_size",
    "finetune": "model_name_or_path",
    "checkpoint": "model_name_or_path",
    "amp": "bf16",
    "compile": "torch_compile",
    "clip_grad": "max_grad_norm",
    "smoothing": "label_smoothing_factor",
    "drop_path": "drop_path_rate",
    "aa": "three_augment",
}


def nearest_key(typed: str, known: Iterable[str]) -> str | None:
    """The known key that `typed` is a usual name, an abbreviation or a misspelling of; None where none is near."""
    keys = list(known)
    word = typed.lower().replace("-", "_")
    if _USUAL_NAMES.get(word) in keys:
        return _USUAL_NAMES[word]
    if word in keys:
        return word
    close = difflib.get_close_matches(word, keys, n=1, cutoff=0.75)
    if close:
        return close[0]
    parts = word.split("_")
    holding = [key for key in keys if all(part in key.split("_") for part in parts)]
    initials = [key for key in keys if "".join(part[0] for part in key.split("_")) == word]
    loose = difflib.get_close_matches(word, keys, n=1, cutoff=0.5)
    return next(iter([*sorted(holding, key=len), *initials, *loose]), None)
