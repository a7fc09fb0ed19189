"""The one-hour recipes: counted as their page says, and trained small."""

from pathlib import Path

import torch
from torch.optim import _muon
from torch.utils.flop_counter import FlopCounterMode

from dailymae_hf.data import write_beton
from dailymae_hf.recipe import finetune, pretrain
from dailymae_hf.recipe.downstream import FinetuneRecipe
from dailymae_hf.recipe.recipe import load_recipe
from dailymae_hf.run_files import read_log
from studies import hour
from studies.study import HERE

SMALL = {
    "per_device_train_batch_size": "25",
    "per_device_eval_batch_size": "50",
    "num_train_epochs": "3",
    "warmup_epochs": "1",
    "eval_steps": "6",
    "save_steps": "6",
    "logging_steps": "1",
    "torch_compile": "false",
    "bf16": "false",
    "use_cpu": "true",
    "report_to": "none",
    "dataloader_num_workers": "1",
}


def _words(**changes: str) -> list[str]:
    return [word for key, value in (SMALL | changes).items() for word in (f"--{key}", value)]


def test_the_page_is_what_the_recipes_give():
    assert (HERE / "results" / "hour.md").read_text() == hour.page()


def test_muons_arithmetic_is_its_products():
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64, "num_attention_heads": 2}
    config = hour.mae_config("tiny", **sizes, **{f"decoder_{name}": value for name, value in sizes.items()})
    coefficients = (_muon.DEFAULT_A, _muon.DEFAULT_B, _muon.DEFAULT_C)
    with FlopCounterMode(display=False) as counter:
        for shape in ([(32, 32)] * 4 + [(64, 32), (32, 64)]) * 2:  # of one layer in the encoder and one in the decoder
            _muon._zeropower_via_newtonschulz(torch.randn(shape), coefficients, hour.NEWTON_SCHULZ_STEPS, 1e-7)
    assert hour.muon_flops(config) == counter.get_total_flops()


def test_both_recipes_train(tmp_path: Path, photograph_folder: Path):
    beton = tmp_path / "images.beton"
    write_beton(photograph_folder, beton, workers=1, progress=False, mode="dct")
    files = {"train_beton": str(beton), "eval_beton": str(beton)}
    small = {f"model_overrides.{part}num_hidden_layers": "1" for part in ("", "decoder_")}
    out = tmp_path / "mae"
    words = _words(
        **files, **small, model_size="tiny", output_dir=str(out), probe_every_n_steps="2", reconstruction_images="2"
    )
    pretrain.run(load_recipe(hour.PRETRAIN, words))
    lines = [line for line in read_log(out / "log.jsonl") if line["loss"] is not None]
    assert [line["resolution"] for line in lines] == [128, 128, 160, 160, 224, 224]
    assert all(torch.isfinite(torch.tensor(line["loss"])) for line in lines)

    words = _words(**files, output_dir=str(tmp_path / "classifier"), model_name_or_path=str(out))
    finetune.run(load_recipe(hour.FINETUNE, words, FinetuneRecipe))
    assert (tmp_path / "classifier" / "model.safetensors").is_file()
