"""The arguments of a pretraining run: transformers' own, with MAE's defaults and five more."""

import os
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from transformers import TrainingArguments

from dailymae_hf.errors import MissingDependencyError, RecipeError
from dailymae_hf.keys import Allowed, check_values
from dailymae_hf.schedule import check_keys, scaled_learning_rate
from dailymae_hf.training.devices import bf16_instructions, what_asks_for_gpus
from dailymae_hf.training.hf_compat import SchedulerType
from dailymae_hf.training.optim import OPTIMIZERS
from dailymae_hf.training.stock_arguments import (
    STOCK_VALUES,
    check_accelerator_config,
    check_compile_backend,
    check_trackers,
)

# Beside the fields and not in them: `HfArgumentParser` hands their metadata on to argparse.
OWN_VALUES = {
    "base_learning_rate": Allowed(above=0),
    "warmup_epochs": Allowed(at_least=0),
    "decoder_keep": Allowed(above=0, at_most=1),
    "lr_scheduler_type": Allowed(choices=("cosine",)),
    "min_learning_rate": Allowed(at_least=0),
    "on_nan": Allowed(choices=("stop", "rewind")),
    "max_rewinds": Allowed(at_least=1),
    "rank_timeout": Allowed(at_least=1),
    "optim": Allowed(choices=(*(STOCK_VALUES["optim"].choices or ()), *OPTIMIZERS)),
}


@dataclass
class DailyMAETrainingArguments(TrainingArguments):
    """`TrainingArguments` for masked autoencoding. Where a default differs from transformers', the comment says why.

    `learning_rate` is worked out from `base_learning_rate` and the batch of an optimizer step unless it is given. The
    learning rate follows a half cosine after `warmup_epochs`, step by step; other schedules are refused.

    Raises:
        RecipeError: a value cannot be; the message names the field.
    """

    # MAE's warm-up as a fraction of its run: 40 of 800 epochs. A kind of training with a warm-up of so many epochs,
    # whatever the run's length, says how many.
    WARMUP_FRACTION: ClassVar[float] = 40 / 800
    WARMUP_EPOCHS: ClassVar[float | None] = None
    # Those that may be given as JSON.
    _VALID_DICT_FIELDS: ClassVar[list[str]] = [*TrainingArguments._VALID_DICT_FIELDS, "resolution_schedule"]

    base_learning_rate: float = field(
        default=1.5e-4, metadata={"help": "Peak learning rate per 256 images of an optimizer step (MAE)."}
    )
    warmup_epochs: float | None = field(
        default=None,
        metadata={"help": "Epochs of linear warm-up, fractions allowed. Default: MAE's 40 of 800, in proportion."},
    )
    resolution_schedule: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "Resolution and mask ratio over the epochs; see docs/schedule.md. Default: constant."},
    )
    decoder_keep: float = field(
        default=1.0,
        metadata={"help": "Fraction of the masked patches that the decoder reconstructs, drawn at random; 1.0 is MAE."},
    )
    float8: bool = field(
        default=False, metadata={"help": "Matrix products of the layers in 8-bit floats (torchao), on GPUs with them."}
    )

    # No run writes over another's files unless it is told to.
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Remove the run that output_dir holds; without it that is refused."}
    )
    on_nan: str = field(
        default="stop",
        metadata={
            "help": "Where a loss or gradient is not a number: 'stop', or 'rewind' to the last checkpoint and go on "
            "with other samples."
        },
    )
    max_rewinds: int = field(default=3, metadata={"help": "Times that on_nan: rewind goes back in one run."})
    rank_timeout: float = field(
        default=120.0, metadata={"help": "Seconds without a sign of life of a rank after which the run ends."}
    )

    hub_license: str | None = field(
        default=None, metadata={"help": "License of the weights for the model card, as the Hub calls it: apache-2.0."}
    )

    # Worked out from base_learning_rate, so that a change of batch or devices keeps MAE's linear rule.
    learning_rate: float | None = field(
        default=None, metadata={"help": "Peak learning rate. Default: base_learning_rate * batch / 256."}
    )
    # The schedule that MAE trains with, step by step, down to zero.
    lr_scheduler_type: SchedulerType | str = field(default="cosine", metadata={"help": "Only 'cosine'."})
    # MAE trains for 800 epochs at least; its fine-tuned accuracy still rises at 1600.
    num_train_epochs: float = field(default=800.0, metadata={"help": "Epochs to train for."})
    # MAE's decay; the Trainer here leaves out biases, norms, tokens and positions.
    weight_decay: float = field(default=0.05, metadata={"help": "Weight decay of AdamW on weight matrices."})
    # MAE's second momentum: the loss on random masks is noisy, and .999 reacts too slowly to its first epochs.
    adam_beta2: float = field(default=0.95, metadata={"help": "AdamW's beta2."})
    min_learning_rate: float = field(default=0.0, metadata={"help": "Where the cosine ends."})
    # MAE does not clip.
    max_grad_norm: float = field(default=0.0, metadata={"help": "Largest gradient norm; 0 does not clip."})
    # bfloat16 wherever the hardware has it: same recipe, about twice the speed. A CPU without the instructions (AMX,
    # AVX512-BF16) computes slower with it than in float32.
    bf16: bool | None = field(
        default=None, metadata={"help": "bfloat16 autocast. Default: where the GPU or the CPU has instructions for it."}
    )
    # Short runs are many; the stock 500 steps leave them without a line.
    logging_steps: float = field(
        default=50, metadata={"help": "Steps between two lines of the log; below 1 a fraction of the run."}
    )
    # Stock fields with a meaning of their own here.
    warmup_steps: float = field(default=0, metadata={"help": "Not read; give warmup_epochs, which may be a fraction."})
    dataloader_num_workers: int = field(
        default=0,
        metadata={
            "help": "Threads that read a .beton; 0: all cores that this process may use, divided by the ranks of the "
            "machine. Of a data set: torch's worker processes."
        },
    )
    resume_from_checkpoint: str | None = field(
        default=None,
        metadata={
            "help": "A checkpoint's folder; 'true' for the newest whole one of output_dir; 'auto' for that or, where "
            "there is none, a new run."
        },
    )
    # The stock defaults, declared again: without them mypy cannot tell the types that `__post_init__` assigns.
    optim: str = field(
        default="adamw_torch_fused",
        metadata={"help": "Optimizer: 'muon', 'quick_muon', 'lars', or one of transformers'."},
    )
    use_cpu: bool = field(default=False, metadata={"help": "Stay on the CPU. Becomes true where there is no GPU."})
    # The batch size sets the learning rate, so a shorter last batch would be trained with the wrong one.
    dataloader_drop_last: bool = field(default=True, metadata={"help": "Leave out the last, incomplete batch."})
    # The stock filter writes the average of earlier losses for a NaN, so that a diverged run looks like a stalled one,
    # and to look for it reads the loss back from the device at every step.
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "Log earlier losses instead of NaN."})
    # Columns are named by the loader; dropping by signature would also drop the sample index that masks depend on.
    remove_unused_columns: bool = field(default=False, metadata={"help": "Drop columns that the model does not name."})
    # Every step uses every weight, at every resolution: DDP need not search for unused ones and may plan once.
    ddp_find_unused_parameters: bool | None = field(default=False, metadata={"help": "DDP's flag of that name."})
    ddp_static_graph: bool | None = field(default=True, metadata={"help": "DDP's flag `static_graph`."})

    def __post_init__(self) -> None:
        self._check_numbers()
        # Without this word from the user, ranks on a machine without a GPU would each take themselves for the only one.
        self.use_cpu: bool = bool(self.use_cpu) or self._there_is_no_gpu()
        if self.bf16 is None:
            has_bf16 = bf16_instructions() is not None if self.use_cpu else _gpu_has_bf16()
            self.bf16 = has_bf16 and not self.fp16
        if self.warmup_epochs is None and self.max_steps <= 0:  # under max_steps only the trainer knows the length
            fixed = self.WARMUP_EPOCHS
            is_short = fixed is None or fixed >= self.num_train_epochs
            self.warmup_epochs = self.WARMUP_FRACTION * self.num_train_epochs if is_short else fixed
        given_rate = self.learning_rate
        if given_rate is None:
            self.learning_rate = 0.0  # a number for the parent's checks; the batch is known only after them
        own_optimizer = str(self.optim) if str(self.optim) in OPTIMIZERS else None
        if own_optimizer is not None:
            self.optim = "adamw_torch"  # the parent's checks know its own names only
        try:
            super().__post_init__()
        except ValueError as error:  # the stock checks' sentences name the argument
            raise RecipeError(str(error)) from error
        except ImportError as error:  # and the package
            raise MissingDependencyError(str(error)) from error
        if own_optimizer is not None:
            self.optim = own_optimizer
        if self.resolution_schedule is not None:
            check_keys(self.resolution_schedule)
        if given_rate is None:
            self.learning_rate = scaled_learning_rate(self.base_learning_rate, self.effective_batch_size)

    @property
    def effective_batch_size(self) -> int:
        """Images of one optimizer step, over all devices and accumulated batches."""
        return int(self.per_device_train_batch_size * self.world_size * self.gradient_accumulation_steps)

    def warmup_steps_in(self, steps: int, steps_per_epoch: int) -> float:
        """Optimizer steps of warm-up in a run of so many: under `max_steps` alone the usual fraction of them.

        Raises RecipeError where the run ends before the warm-up does.
        """
        if self.warmup_epochs is None:
            return self.WARMUP_FRACTION * steps
        wanted = self.warmup_epochs * steps_per_epoch
        if self.max_steps > 0 and wanted > steps:
            raise RecipeError(
                f"warmup_epochs: {self.warmup_epochs:g} epochs are {wanted:g} optimizer steps, and a run of {steps} "
                "(max_steps) never reaches the learning rate: lower warmup_epochs"
            )
        return wanted

    def _there_is_no_gpu(self) -> bool:
        """Raises RecipeError where one was asked for."""
        if torch.accelerator.is_available():
            return False
        asks = what_asks_for_gpus(self, os.environ)
        if asks is not None:
            raise RecipeError(
                f"{asks} asks for a GPU, and torch {torch.__version__} finds none on this machine: check the driver "
                "(nvidia-smi) and that this is a build of torch with CUDA, or set use_cpu: true"
            )
        return True

    def _check_numbers(self) -> None:
        check_values(self, STOCK_VALUES | OWN_VALUES)
        check_trackers(self.report_to)
        check_compile_backend(self.torch_compile_backend)
        check_accelerator_config(self.accelerator_config)
        if self.warmup_epochs is not None and self.max_steps <= 0 and self.warmup_epochs > self.num_train_epochs:
            raise RecipeError(
                f"warmup_epochs: {self.warmup_epochs} epochs of warm-up in a run of {self.num_train_epochs} "
                "(num_train_epochs) never reach the learning rate: lower warmup_epochs"
            )
        if self.warmup_steps:
            raise RecipeError(
                f"warmup_steps: {self.warmup_steps} is not read; give warmup_epochs, which may be a fraction"
            )


def _gpu_has_bf16() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
