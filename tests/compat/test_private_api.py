"""Every private or undocumented name that we stand on exists and takes what we hand it: an upgrade fails here first.

What `training/hf_compat.py`, the model room and `data/ffcv_ext` and `data/engines` use of transformers, accelerate and
ffcv. A failure names the package's version and what is gone.
"""

import inspect
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
import transformers
from transformers import Trainer

from dailymae_hf.training import hf_compat

PACKAGE = Path(__file__).parents[2] / "dailymae_hf"
# module -> name -> arguments that are handed to it by these names
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "transformers.trainer": {
        "skip_first_batches": ("dataloader", "num_batches"),
        "OPTIMIZER_NAME": (), "SCHEDULER_NAME": (), "TRAINER_STATE_NAME": (), "TRAINING_ARGS_NAME": (),
    },
    "transformers.trainer_pt_utils": {"AcceleratorConfig": (), "safe_globals": ()},
    "transformers.trainer_callback": {"ExportableState": (), "ProgressCallback": ()},
    "transformers.trainer_utils": {
        "PREFIX_CHECKPOINT_DIR": (), "HubStrategy": (), "IntervalStrategy": (), "SaveStrategy": (), "SchedulerType": (),
    },
    "transformers.training_args": {"OptimizerNames": ()},
    "transformers.utils": {"SAFE_WEIGHTS_INDEX_NAME": (), "SAFE_WEIGHTS_NAME": ()},
    "transformers.utils.logging": {
        "is_progress_bar_enabled": (), "disable_progress_bar": (), "enable_progress_bar": (), "get_logger": ("name",),
    },
    "transformers.utils.generic": {"can_return_tuple": ("func",)},
    "transformers.integrations": {
        "get_available_reporting_integrations": (), "get_reporting_integration_callbacks": ("report_to",),
    },
    "transformers.initialization": {
        "uniform_": ("tensor", "a", "b"), "normal_": ("tensor", "mean", "std"), "zeros_": ("tensor",),
        "ones_": ("tensor",), "copy_": ("tensor", "other"),
    },
    "transformers.conversion_mapping": {
        "WeightRenaming": ("source_patterns", "target_patterns"),
        "register_checkpoint_conversion_mapping": ("mapping", "overwrite"),
    },
    "transformers.modeling_utils": {"ALL_ATTENTION_FUNCTIONS": ()},
    "transformers.models.vit_mae.modeling_vit_mae": {
        "ViTMAEAttention": ("config",), "ViTMAEDecoder": ("config", "num_patches"), "ViTMAEEmbeddings": ("config",),
        "ViTMAEForPreTrainingOutput": ("loss", "logits", "mask", "ids_restore"), "ViTMAELayer": ("config",),
        "ViTMAEModel": ("config",),
    },
    "transformers.models.vit.image_processing_pil_vit": {"ViTImageProcessorPil": ()},
    "transformers.models.bit.image_processing_pil_bit": {"BitImageProcessorPil": ()},
    "transformers.models.beit.modeling_beit": {"BeitDropPath": ("drop_prob",)},
    "accelerate.utils": {
        "DistributedDataParallelKwargs": ("gradient_as_bucket_view", "static_graph"),
        "gather_object": ("object",), "broadcast_object_list": ("object_list",),
    },
}  # fmt: skip
FFCV_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "ffcv.fields": {"RGBImageField": ()},
    "ffcv.fields.rgb_image": {"RGBImageField": (), "SimpleRGBImageDecoder": ()},
    "ffcv.fields.base": {"Field": (), "ARG_TYPE": ()},
    "ffcv.memory_managers.os_cache": {"OSCacheContext": ("manager",), "OSCacheManager": ("reader",)},
    "ffcv.pipeline.compiler": {"Compiler": ()},
    "ffcv.pipeline.graph": {"Graph": ("pipeline_specs", "handlers", "fieldname_to_fix", "metadata", "memory_read")},
    "ffcv.pipeline.operation": {"Operation": ()},
    "ffcv.pipeline.pipeline_spec": {"PipelineSpec": ("source",)},
    "ffcv.pipeline.allocation_query": {"AllocationQuery": ("shape", "dtype")},
    "ffcv.pipeline.state": {"State": ("jit_mode", "device", "shape", "dtype")},
    "ffcv.transforms": {"ToTensor": ()},
}


def accepted(function) -> set[str]:
    parameters = inspect.signature(function).parameters
    return set(parameters) | ({"*"} if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) else set())


def check(module: str, name: str, arguments: tuple[str, ...], package: str) -> None:
    where = f"{package} {version(package)}: {module}.{name}"
    assert hasattr(import_module(module), name), f"{where} is gone"
    if arguments:
        taken = accepted(getattr(import_module(module), name))
        missing = set() if "*" in taken else set(arguments) - taken
        assert not missing, f"{where} no longer takes {', '.join(sorted(missing))}"


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in NAMES.items() for n in names])
def test_transformers_and_accelerate_have(module, name):
    check(module, name, NAMES[module][name], module.partition(".")[0])


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in FFCV_NAMES.items() for n in names])
def test_ffcv_has(module, name):
    pytest.importorskip("ffcv", reason="the optional engine")
    check(module, name, FFCV_NAMES[module][name], "ffcv")


@pytest.mark.parametrize("name", sorted(hf_compat.TRAINER_METHODS))
def test_the_stock_trainer_has_the_method(name):
    where = f"transformers {transformers.__version__}: Trainer.{name}"
    assert hasattr(Trainer, name), f"{where} is gone"
    missing = set(hf_compat.TRAINER_METHODS[name]) - accepted(getattr(Trainer, name))
    assert not missing, f"{where} no longer takes {', '.join(sorted(missing))}"


def test_what_the_base_trainer_overrides_is_a_method_of_the_stock_one():
    """A method that upstream renames would otherwise never be called again, and nobody would hear of it."""
    from dailymae_hf.training.beton_trainer import BetonTrainer

    own = {name for name in vars(BetonTrainer) if name.startswith("_") and not name.startswith("__")}
    ours_alone = {"_put_first", "_augmented", "_sample_numbers", "_train_from", "_write_files", "_write_state"}
    assert own - ours_alone <= set(hf_compat.TRAINER_METHODS)


def test_the_loop_calls_the_hooks_in_the_order_that_resuming_needs():
    """The epoch is set after skipping, and the random states are restored after the first batches are there."""
    source = inspect.getsource(Trainer._run_epoch)
    words = (
        "skip_first_batches(",
        ".set_epoch(",
        "iter(train_dataloader)",
        "self.get_batch_samples(",
        "self._load_rng_state(resume_from_checkpoint)\n                rng_to_sync",
    )
    steps = [source.index(word) for word in words]
    assert steps == sorted(steps)


def test_private_modules_are_imported_in_their_rooms_only():
    """Outside `hf_compat.py` and the model room, only what transformers documents is imported."""
    documented = {"transformers", "transformers.modeling_outputs", "transformers.activations"}
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if name == "training/hf_compat.py" or name.startswith("model/"):
            continue
        modules = {
            line.split()[1] for line in path.read_text().splitlines()
            if line.lstrip().startswith(("from transformers", "import transformers"))
        }  # fmt: skip
        if modules - documented:
            found[name] = modules - documented
    assert found == {}
