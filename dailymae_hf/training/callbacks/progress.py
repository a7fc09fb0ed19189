"""One progress bar that stays readable: the live figures in the bar, one line a log above it."""

from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.training.hf_compat import ProgressCallback

# name in the log -> (short name, format)
_SHOWN = {
    "loss": ("loss", "{:.4f}"),
    "eval_loss": ("eval loss", "{:.4f}"),
    "eval_accuracy": ("top-1", "{:.1%}"),
    "eval_mean_iou": ("mean IoU", "{:.1%}"),
    "learning_rate": ("lr", "{:.2e}"),
    "resolution": ("px", "{:d}"),
    "images_per_second": ("images/s", "{:,.0f}"),
    "data_wait": ("wait", "{:.1%}"),
    "mfu": ("MFU", "{:.1%}"),
    "probe_accuracy": ("probe", "{:.1%}"),
    "knn_accuracy": ("kNN", "{:.1%}"),
}


def describe(logs: dict[str, Any]) -> str:
    """The figures of a log that are worth a line, in a fixed order and with few digits; empty if there are none."""
    return "  ".join(
        f"{name} {form.format(logs[key])}" for key, (name, form) in _SHOWN.items() if logs.get(key) is not None
    )


class ReadableProgressCallback(ProgressCallback):
    """The stock progress bar, which prints whole dictionaries, with a short line per log instead."""

    training_bar: Any
    prediction_bar: Any

    def close(self) -> None:
        """End the bars of a run that was cut short, so that what is printed next has a line of its own."""
        for bar in (self.training_bar, self.prediction_bar):
            if bar is not None:
                bar.close()
        self.training_bar = self.prediction_bar = None

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        text = describe(logs or {})
        if text and state.is_world_process_zero and self.training_bar is not None:
            width = len(str(state.num_train_epochs))
            self.training_bar.write(f"epoch {state.epoch:{width + 3}.2f}/{state.num_train_epochs}  {text}")
