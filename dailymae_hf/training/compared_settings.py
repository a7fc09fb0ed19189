"""Which settings a checkpoint and the run that continues it must share: all of them but a short list."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from transformers import PretrainedConfig, TrainingArguments

from dailymae_hf.training.identity import plain

# What may change within a run, by subject. None of it has an effect on a training step.
_LOGGING = (
    *("logging_dir", "logging_first_step", "logging_nan_inf_filter", "logging_steps", "logging_strategy"),
    *("log_level", "log_level_replica", "log_on_each_node", "disable_tqdm", "include_num_input_tokens_seen"),
)
_SAVING = (
    *("save_on_each_node", "save_only_model", "save_steps", "save_strategy", "save_total_limit"),
    *("enable_jit_checkpoint", "restore_callback_states_from_checkpoint", "on_nan", "max_rewinds"),
)
_EVALUATION = (
    *("eval_accumulation_steps", "eval_delay", "eval_do_concat_batches", "eval_on_start", "eval_steps"),
    *("eval_strategy", "eval_use_gather_object", "batch_eval_metrics", "bf16_full_eval", "fp16_full_eval"),
    *("include_for_metrics", "per_device_eval_batch_size", "prediction_loss_only", "load_best_model_at_end"),
    *("greater_is_better", "metric_for_best_model", "do_eval", "do_predict", "do_train", "label_names"),
)
_WORKERS = (
    *("dataloader_in_order", "dataloader_multiprocessing_context", "dataloader_num_workers", "dataloader_pin_memory"),
    *("dataloader_persistent_workers", "dataloader_prefetch_factor", "engine", "loader_engine", "loader_engine"),
)
_REPORTING = (
    *("project", "report_to", "run_name", "trackio_bucket_id", "trackio_space_id", "trackio_static_space_id"),
    *("debug", "skip_memory_metrics"),
)
_FOLDERS = ("output_dir", "overwrite_output_dir", "resume_from_checkpoint", "local_folder")
_HUB = (
    *("push_to_hub", "hub_always_push", "hub_license", "hub_model_id", "hub_private_repo", "hub_revision"),
    *("hub_strategy", "hub_token"),
)
_RANKS = ("ddp_backend", "ddp_timeout", "rank_timeout", "local_rank", "torch_empty_cache_steps")
_RESOLVED = ("base_learning_rate",)  # learning_rate, which is compared, says what became of it
MAY_CHANGE = frozenset(
    (*_LOGGING, *_SAVING, *_EVALUATION, *_WORKERS, *_REPORTING, *_FOLDERS, *_HUB, *_RANKS, *_RESOLVED)
)
# Keys of a recipe that need no comparing: files have digests, the model its config; some act at the start of a run
# only, others only measure.
_ELSEWHERE = frozenset(
    {
        *("train_beton", "eval_beton", "model_name_or_path", "model_size", "model_overrides", "initialization", "plan"),
        *("online_probe", "knn_bank_size", "probe_every_n_epochs"),
        *("reconstruction_every_n_epochs", "reconstruction_images"),
        *("crop_scale", "crop_ratio", "hflip", "on_error", "image_mean", "image_std"),
    }
)
# Of a model's config: where it came from and who wrote it, not what it is.
_ORIGIN = frozenset({"_name_or_path", "_commit_hash", "architectures", "transformers_version", "dtype", "torch_dtype"})


def compared_settings(
    args: TrainingArguments,
    config: PretrainedConfig | None,
    others: Mapping[str, Any],
    recipe: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Every setting that must stay, by the name a recipe has for it, as JSON gives it back.

    Args:
        args: the Trainer's arguments; those of `MAY_CHANGE` are left out.
        config: the model's; a name that the arguments have as well gets `config.` before it.
        others: what neither of them says (crops, pixel statistics, the data's length); wins over both.
        recipe: the resolved recipe; of it only what none of the others says.
    """
    known = {field.name for field in fields(args)}
    settings = {name: value for name, value in args.to_dict().items() if name in known - MAY_CHANGE}
    for name, value in (config.to_dict() if config is not None else {}).items():
        if name not in _ORIGIN:
            settings[f"config.{name}" if name in known else name] = value
    rest = {name: value for name, value in (recipe or {}).items() if name not in known | MAY_CHANGE | _ELSEWHERE}
    return plain(rest | settings | dict(others))


def trainer_settings(loader_options: Mapping[str, Any], mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """What a trainer's own parts say, by the names that a recipe has for it."""
    settings = {
        f"crop_{name}" if name in ("scale", "ratio") else name: value
        for name, value in loader_options.items()
        if name not in MAY_CHANGE
    }
    return settings | {"image_mean": list(mean), "image_std": list(std)}
