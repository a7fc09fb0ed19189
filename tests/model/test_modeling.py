"""The forward pass against the paper's definition and against stock ViTMAE: loss, every gradient, every size."""

import inspect

import pytest
import torch
from transformers import Trainer, TrainingArguments, ViTMAEForPreTraining

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config
from dailymae_hf.model.weight_names import to_file_names
from tests.support.reference_mae import ReferenceMAE, sincos_table

SMALL = {
    "num_hidden_layers": 2,
    "decoder_num_hidden_layers": 2,
    "hidden_size": 48,
    "num_attention_heads": 3,
    "intermediate_size": 96,
    "decoder_hidden_size": 32,
    "decoder_intermediate_size": 64,
}


def small_model(seed: int = 0, **overrides) -> DailyMAEForPreTraining:
    """A model whose weights are all away from their initial zeros and ones."""
    torch.manual_seed(seed)
    model = DailyMAEForPreTraining(mae_config("tiny", **(SMALL | overrides)))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.05)
    return model.train()


def inputs(size: int, batch: int = 3, patch: int = 16, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 3, size, size, generator=generator) * 2 - 1
    return images, torch.rand(batch, (size // patch) ** 2, generator=generator)


def stock_twin(model: DailyMAEForPreTraining, **config) -> ViTMAEForPreTraining:
    twin = ViTMAEForPreTraining(model.config)
    twin.load_state_dict(model.state_dict())
    return twin.train(model.training)


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("size", [224, 192, 160, 128, 256, 16 * 5])
@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_loss_is_the_papers_at_any_size(size, norm_pix_loss):
    model = small_model(norm_pix_loss=norm_pix_loss)
    images, noise = inputs(size)
    expected, predicted, mask = ReferenceMAE(to_file_names(model.state_dict()), model.config).loss(images, noise, 0.75)
    assert model(images, noise=noise).loss.item() == pytest.approx(expected.item(), abs=1e-5)
    whole = model(images, noise=noise, return_logits=True)
    assert whole.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(whole.logits, predicted, atol=2e-5, rtol=1e-4)
    assert torch.equal(whole.mask, mask)


@pytest.mark.parametrize("mask_ratio", [0.5, 0.66, 0.75, 0.8, 0.85])
@pytest.mark.parametrize("return_logits", [True, False])
def test_every_gradient_equals_the_stock_models(mask_ratio, return_logits):
    model = small_model()
    images, noise = inputs(224)
    model.mask_ratio = mask_ratio
    stock = stock_twin(model)
    stock.config.mask_ratio = mask_ratio
    ours, theirs = model(images, noise=noise, return_logits=return_logits), stock(images, noise=noise)
    assert ours.loss.item() == pytest.approx(theirs.loss.item(), abs=1e-6)
    assert torch.equal(ours.mask, theirs.mask)
    assert torch.equal(ours.ids_restore, theirs.ids_restore)
    ours.loss.backward()
    theirs.loss.backward()
    expected = gradients(stock)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(
            gradient, expected[name], atol=1e-6, rtol=2e-4, msg=lambda m, name=name: f"{name} {m}"
        )
    assert model.vit.embeddings.position_embeddings.grad is None


@pytest.mark.parametrize("size", [160, 224])
def test_decoder_keep_reconstructs_a_random_share_of_the_hidden_patches(size):
    model = small_model()
    images, noise = inputs(size)
    model.decoder_keep = 0.5
    reference = ReferenceMAE(to_file_names(model.state_dict()), model.config)
    half = reference.loss(images, noise, 0.75, keep=0.5)[0]
    whole = reference.loss(images, noise, 0.75)[0]
    assert abs(half - whole) > 1e-3
    assert model(images, noise=noise).loss.item() == pytest.approx(half.item(), abs=1e-5)
    assert model.eval()(images, noise=noise).loss.item() == pytest.approx(whole.item(), abs=1e-5)


def test_stock_decoder_misplaces_positions_off_the_native_grid_and_ours_does_not():
    """Stock resamples along the flattened patch axis, which puts most tokens into a wrong column."""
    model = small_model()
    grid, native = 10, 14
    stock = stock_twin(model).decoder.interpolate_pos_encoding(torch.zeros(1, 1 + grid * grid, 32))[0, 1:]
    expected = torch.from_numpy(sincos_table(grid, native, 32)).float()[1:]
    nearest = torch.cdist(stock, expected).argmin(dim=1)
    wrong_column = nearest % grid != torch.arange(grid * grid) % grid
    assert wrong_column.float().mean() > 0.5
    ours = model._positions("decoder.decoder_pos_embed", grid * grid)[0, 1:]
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [224, 160])
def test_encode_gives_unmasked_tokens_before_the_final_norm(size):
    model = small_model()
    images, _ = inputs(size)
    reference = ReferenceMAE(to_file_names(model.state_dict()), model.config)
    expected = reference.encode(reference.embed(images))[:, 1:]
    torch.testing.assert_close(model.encode(images), expected, atol=2e-5, rtol=1e-4)


def test_native_grid_uses_the_stored_table_whatever_it_holds():
    """A loaded checkpoint's own table counts where it fits."""
    model = small_model()
    torch.nn.init.normal_(model.vit.embeddings.position_embeddings)
    torch.nn.init.normal_(model.decoder.decoder_pos_embed)
    images, noise = inputs(224)
    assert model(images, noise=noise).loss.item() == pytest.approx(
        stock_twin(model)(images, noise=noise).loss.item(), abs=1e-6
    )


def test_position_tables_stay_out_of_the_state_dict():
    model = small_model()
    names = set(model.state_dict())
    model(inputs(160)[0])
    assert set(model.state_dict()) == names


def test_table_made_in_inference_mode_serves_training():
    model = small_model(image_size=208)
    images, noise = inputs(176)
    with torch.inference_mode():
        model(images, noise=noise)
    model(images, noise=noise).loss.backward()


def test_logits_are_made_in_evaluation_mode_only_unless_asked_for():
    model = small_model()
    images, noise = inputs(224)
    assert model(images, noise=noise).logits is None
    logits = model.eval()(images, noise=noise).logits
    assert logits.shape == (3, 196, 768)
    torch.testing.assert_close(logits, stock_twin(model)(images, noise=noise).logits, atol=2e-5, rtol=1e-4)
    assert model(images, noise=noise, return_logits=False).logits is None
    loss, *_ = model(images, noise=noise, return_dict=False)
    assert loss.shape == ()


def test_mask_ratio_is_an_attribute_and_leaves_the_config_alone():
    model = small_model()
    model.mask_ratio = 0.5
    assert model(inputs(224)[0]).mask.sum().item() == 3 * 98
    assert model(inputs(224)[0], mask_ratio=0.85).mask.sum().item() == 3 * 167
    assert model.config.mask_ratio == 0.75


@pytest.mark.parametrize(("shape", "named"), [((1, 3, 220, 220), "220x220"), ((1, 3, 224, 192), "224x192")])
def test_sizes_that_cannot_be_cut_into_patches_are_named(shape, named):
    with pytest.raises(RecipeError, match=named):
        small_model()(torch.zeros(shape))


@pytest.mark.parametrize("mask_ratio", [0.0, 1.0, 0.999])
def test_a_mask_that_hides_nothing_or_everything_is_refused(mask_ratio):
    with pytest.raises(RecipeError, match="mask_ratio"):
        small_model()(inputs(224)[0], mask_ratio=mask_ratio)


def test_gradient_accumulation_divides_our_loss(tmp_path):
    """The stock forward takes **kwargs, so the Trainer believes that it scales its own loss, which it does not."""
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    assert "kwargs" in inspect.signature(ViTMAEForPreTraining.forward).parameters
    assert Trainer(model=stock_twin(small_model()), args=arguments).model_accepts_loss_kwargs
    assert not Trainer(model=small_model(), args=arguments).model_accepts_loss_kwargs


def test_bf16_autocast_stays_near_float32():
    model = small_model()
    images, noise = inputs(160)
    exact = model(images, noise=noise).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(images, noise=noise).loss
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-2)


@pytest.mark.parametrize("size", [160, 224])
def test_activation_checkpointing_changes_no_gradient(size):
    model = small_model()
    images, noise = inputs(size)
    model(images, noise=noise).loss.backward()
    expected = gradients(model)
    model.zero_grad(set_to_none=True)
    model.gradient_checkpointing_enable()
    calls = []
    model.decoder.decoder_layers[-1].layernorm_before.register_forward_hook(lambda *_: calls.append(1))
    model(images, noise=noise).loss.backward()
    assert len(calls) == 2  # once forward, once again in the backward pass
    for name, gradient in gradients(model).items():
        assert torch.equal(gradient, expected[name]), name
