"""Runs from a checkpoint of plain transformers, laid out as `facebook/vit-mae-base` is: what holds, what can change."""

import json
import logging

import pytest
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from dailymae_hf.errors import CheckpointError, RecipeError
from dailymae_hf.model.weight_names import to_file_names
from dailymae_hf.recipe.build import build_model, build_trainer
from dailymae_hf.recipe.recipe import load_recipe
from tests.support.in_memory import coloured_images, tiny_model

MEAN, STD = (0.41, 0.42, 0.43), (0.21, 0.22, 0.23)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, photograph_folder):
    """A training file with statistics of its own, and a checkpoint as the Hub has it: `pytorch_model.bin` with 4.x
    names, eps 1e-12, plain pixels as the target, an image processor of the older kind; made by stock transformers."""
    from dailymae_hf.data import write_beton

    folder = tmp_path_factory.mktemp("start")
    write_beton(photograph_folder, folder / "train.beton", workers=1, progress=False)
    ours = tiny_model()
    config = ours.config.to_dict() | {"layer_norm_eps": 1e-12, "norm_pix_loss": False}
    torch.manual_seed(3)
    stock = ViTMAEForPreTraining(ViTMAEConfig(**config))
    for name in ("vit.embeddings.position_embeddings", "decoder.decoder_pos_embed"):
        stock.get_parameter(name).data.copy_(ours.get_parameter(name))
    (folder / "checkpoint").mkdir()
    torch.save(to_file_names(stock.state_dict()), folder / "checkpoint" / "pytorch_model.bin")
    config |= {"architectures": ["ViTMAEForPreTraining"], "transformers_version": "4.16.0.dev0"}
    (folder / "checkpoint" / "config.json").write_text(json.dumps(config))
    processor = {
        "do_normalize": True, "do_resize": True, "feature_extractor_type": "ViTFeatureExtractor",
        "image_mean": MEAN, "image_std": STD, "resample": 3, "size": 32,
    }  # fmt: skip
    (folder / "checkpoint" / "preprocessor_config.json").write_text(json.dumps(processor))
    (folder / "recipe.yaml").write_text(
        "train_beton: train.beton\noutput_dir: out\nuse_cpu: true\nmodel_name_or_path: checkpoint\n"
        "per_device_train_batch_size: 10\nonline_probe: false\nreconstruction_every_n_epochs: 0\nreport_to: none\n"
        "num_train_epochs: 1\nsave_strategy: 'no'\ndisable_tqdm: true\n"
    )
    return folder, stock.eval()


@pytest.fixture
def recipe(workplace, monkeypatch):
    monkeypatch.chdir(workplace[0])
    return lambda *words: load_recipe("recipe.yaml", words)


def test_the_loss_is_the_stock_models(workplace, recipe):
    model = build_model(recipe()).eval()
    pixels, noise = torch.randn(2, 3, 32, 32), torch.rand(2, 16)
    torch.testing.assert_close(model(pixels, noise=noise).loss, workplace[1](pixels, noise=noise).loss)
    assert model.config.norm_pix_loss is False
    assert model.config.layer_norm_eps == 1e-12


def test_what_no_tensor_depends_on_can_be_changed(workplace, recipe):
    """Before, a recipe that named one of these was refused."""
    words = ("--mask_ratio", "0.5", "--model_overrides.norm_pix_loss", "true", "--image_size", "48")
    model = build_model(recipe(*words)).eval()
    assert (model.mask_ratio, model.config.mask_ratio, model.config.image_size) == (0.5, 0.5, 48)
    twin = ViTMAEForPreTraining(model.config)
    twin.load_state_dict(model.state_dict())
    pixels, noise = torch.randn(2, 3, 48, 48), torch.rand(2, 36)
    torch.testing.assert_close(model(pixels, noise=noise).loss, twin.eval()(pixels, noise=noise).loss)


def test_a_new_size_says_what_becomes_of_the_positions(recipe, caplog):
    with caplog.at_level(logging.WARNING):
        build_model(recipe("--image_size", "48"))
    assert "vit.embeddings.position_embeddings goes from 4 x 4 to 6 x 6 patches" in caplog.text
    assert "decoder.decoder_pos_embed goes from 4 x 4 to 6 x 6 patches" in caplog.text


@pytest.mark.parametrize("words", [(), ("--image_mean", "[0.1, 0.2, 0.3]")])
def test_the_checkpoints_mean_and_std_hold_unless_the_recipe_has_its_own(recipe, words):
    """Before, those of the training file replaced them without a word."""
    trainer = build_trainer(recipe(*words))
    assert trainer.pixels.mean == ((0.1, 0.2, 0.3) if words else MEAN)
    assert trainer.pixels.std == STD
    assert tuple(trainer.processing_class.image_std) == STD
    images = coloured_images(2)[0]
    expected = (images[:, 1] / 255 - trainer.pixels.mean[1]) / STD[1]
    torch.testing.assert_close(trainer.normalize(images)[:, 1], expected, atol=1e-5, rtol=0)
    trainer.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--patch_size", "4"], "patch_size: the recipe wants 4, .* are made for 8"),
        (["--model_size", "small"], "hidden_size: the recipe wants 384, .* are made for 32"),
        (["--model_overrides", "{num_hidden_layers: 7}"], "num_hidden_layers: the recipe wants 7"),
        (["--image_size", "50"], "image_size: 50 is not a multiple of checkpoint's patch_size 8"),
        (["--initialization", "stock"], "initialization"),
    ],
)
def test_what_the_weights_fix_cannot_be_changed(recipe, words, said):
    with pytest.raises(RecipeError, match=said):
        build_model(recipe(*words))


def test_a_checkpoint_that_is_not_there_is_one_line(recipe):
    with pytest.raises(CheckpointError, match=r"model_name_or_path: .*nowhere") as error:
        build_model(recipe("--model_name_or_path", "./nowhere"))
    assert "\n" not in str(error.value)


def test_a_run_from_a_checkpoint_states_its_sizes_nowhere_else(recipe, tmp_path):
    given = recipe("--image_size", "48")
    given.save(tmp_path / "recipe.yaml")
    again = load_recipe(tmp_path / "recipe.yaml")
    assert again.named >= {"image_size", "model_name_or_path"}
    assert not {"model_size", "mask_ratio", "patch_size"} & again.named
    assert build_model(again).config.image_size == 48
