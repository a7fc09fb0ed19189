"""Training arguments of classifiers: MAE's `FINETUNE.md` where it differs from pretraining."""

from dataclasses import dataclass, field
from typing import ClassVar

from dailymae_hf.keys import Allowed, check_values
from dailymae_hf.training.training_args import DailyMAETrainingArguments

CLASSIFIER_VALUES = {
    "layer_decay": Allowed(above=0, at_most=1),
    "min_learning_rate": Allowed(at_least=0),
    "ema_decay": Allowed(above=0, below=1),
    "lars_momentum": Allowed(at_least=0, below=1),
}


@dataclass
class ClassifierTrainingArguments(DailyMAETrainingArguments):
    """Fine-tuning: MAE's `FINETUNE.md` where it differs from pretraining."""

    WARMUP_FRACTION: ClassVar[float] = 5 / 100
    WARMUP_EPOCHS: ClassVar[float | None] = 5

    base_learning_rate: float = 5e-4
    adam_beta2: float = 0.999
    label_smoothing_factor: float = 0.1
    layer_decay: float = field(default=0.75, metadata={"help": "Learning rate of a layer over that of the next one."})
    min_learning_rate: float = field(default=1e-6, metadata={"help": "Where the cosine ends, for the head."})
    ema_decay: float | None = field(default=None, metadata={"help": "Of an average of the weights, scored and saved."})

    def __post_init__(self) -> None:
        check_values(self, CLASSIFIER_VALUES)
        super().__post_init__()


@dataclass
class ProbeTrainingArguments(ClassifierTrainingArguments):
    """The linear probe: MAE's `FINETUNE.md` again, with LARS."""

    WARMUP_FRACTION: ClassVar[float] = 10 / 90
    WARMUP_EPOCHS: ClassVar[float | None] = 10

    optim: str = "lars"
    base_learning_rate: float = 0.1
    weight_decay: float = 0.0
    label_smoothing_factor: float = 0.0
    min_learning_rate: float = 0.0
    lars_momentum: float = field(default=0.9, metadata={"help": "Momentum of LARS."})
