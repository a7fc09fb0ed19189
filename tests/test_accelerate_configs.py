"""Every accelerate configuration of the repository is one that accelerate itself reads and turns into a launch."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType

from dailymae_hf.model.layers import DailyMAELayer

ROOT = Path(__file__).parents[1]
CONFIGS = sorted([*ROOT.glob("accelerate_config*.yaml"), *ROOT.glob("accelerate_configs/*.yaml")])
BY_NAME = {path.stem: path for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_reads_it_and_validates_the_launch(path):
    load_config_from_file(str(path))  # raises for an unknown key
    words = ["--config_file", str(path), "script.py"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert arguments.num_processes >= 1
    assert arguments.mixed_precision in ("bf16", "no")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_opens_with_its_command(path):
    comment = "".join(line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#"))
    assert f"accelerate launch --config_file {path.relative_to(ROOT)}" in comment


def test_the_kinds_are_what_the_names_say():
    kinds = {name: load_config_from_file(str(path)).distributed_type for name, path in BY_NAME.items()}
    assert kinds["one_gpu"] == DistributedType.NO
    assert kinds["cpu_ranks"] == kinds["multi_node"] == DistributedType.MULTI_GPU
    assert kinds["fsdp2"] == DistributedType.FSDP
    assert kinds["deepspeed_zero2"] == DistributedType.DEEPSPEED


def test_fsdp_wraps_a_layer_that_the_model_has_and_saves_whole():
    config = load_config_from_file(str(BY_NAME["fsdp2"])).fsdp_config
    assert config["fsdp_version"] == 2
    assert config["fsdp_transformer_layer_cls_to_wrap"] == DailyMAELayer.__name__
    assert config["fsdp_state_dict_type"] == "FULL_STATE_DICT"
