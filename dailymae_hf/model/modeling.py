"""ViTMAE with MAE's own initial weights, any square input size, and a training step without needless work.

The checkpoint is a plain ViTMAE checkpoint; nothing here adds or renames a tensor in a file.
"""

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from transformers import ViTMAEConfig, ViTMAEForPreTraining
from transformers.models.vit_mae.modeling_vit_mae import (
    ViTMAEDecoder,
    ViTMAEForPreTrainingOutput,
    ViTMAELayer,
    ViTMAEModel,
)
from transformers.utils.generic import can_return_tuple

from dailymae_hf.errors import CheckpointError, RecipeError
from dailymae_hf.model import stored_positions, weight_names
from dailymae_hf.model.initial_weights import draw_initial_weights
from dailymae_hf.model.layers import DailyPatchEmbeddings, use_daily_layers
from dailymae_hf.model.masking import num_predicted, num_visible
from dailymae_hf.model.positions import positions_on
from dailymae_hf.model.targets import patch_targets
from dailymae_hf.model.weight_files import open_to_readers

# (width, layers, heads) of encoder and decoder. Base to huge are MAE's; its decoder is 512 wide with 8 layers whatever
# the encoder. Tiny and small are the usual ViT-Ti and ViT-S with a decoder that stays smaller than the encoder.
SIZES = {
    "tiny": ((192, 12, 3), (128, 4, 4)),
    "small": ((384, 12, 6), (256, 4, 8)),
    "base": ((768, 12, 12), (512, 8, 16)),
    "large": ((1024, 24, 16), (512, 8, 16)),
    "huge": ((1280, 32, 16), (512, 8, 16)),
}


_HUB_ARGUMENTS = ("repo_id", "commit_message", "private", "revision", "create_pr", "tags")


def mae_config(size: str = "base", **overrides: Any) -> ViTMAEConfig:
    """`ViTMAEConfig` of MAE's ViT `size`: "tiny", "small", "base", "large" or "huge" (patch 14 for huge, else 16).

    Differs from `ViTMAEConfig()` in what MAE's code says: LayerNorm eps 1e-6, normalised pixel loss. `overrides` are
    `ViTMAEConfig` fields and win. Raises `RecipeError` for an unknown size or field.
    """
    if size not in SIZES:
        raise RecipeError(f"size: {size!r} is not one of {', '.join(SIZES)}")
    (width, layers, heads), (decoder_width, decoder_layers, decoder_heads) = SIZES[size]
    fields = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "decoder_hidden_size": decoder_width,
        "decoder_num_hidden_layers": decoder_layers,
        "decoder_num_attention_heads": decoder_heads,
        "decoder_intermediate_size": 4 * decoder_width,
        "patch_size": 14 if size == "huge" else 16,
        "image_size": 224,
        "mask_ratio": 0.75,
        "norm_pix_loss": True,
        "layer_norm_eps": 1e-6,
    }
    known = ViTMAEConfig().to_dict()
    for name in overrides:
        if name not in known:
            raise RecipeError(f"{name}: ViTMAEConfig has no such field")
    config = ViTMAEConfig(**(fields | overrides))
    for prefix in ("", "decoder_"):
        width, heads = getattr(config, f"{prefix}hidden_size"), getattr(config, f"{prefix}num_attention_heads")
        if width % 4 != 0:
            raise RecipeError(f"{prefix}hidden_size: {width} is not divisible by 4, which 2-D positions need")
        if width % heads != 0:
            raise RecipeError(f"{prefix}num_attention_heads: {heads} do not divide {prefix}hidden_size {width}")
    if config.image_size % config.patch_size != 0:
        raise RecipeError(f"image_size: {config.image_size} is not a multiple of patch_size {config.patch_size}")
    return config


# What FSDP wraps. The stock list also names embeddings and decoder, whose weights the forward below uses directly.
_WRAPPED_MODULES = ("DailyMAELayer",)


class _Encoder(ViTMAEModel):
    _no_split_modules = _WRAPPED_MODULES

    def __init__(self, config: ViTMAEConfig):
        super().__init__(config)
        self.embeddings.patch_embeddings.__class__ = DailyPatchEmbeddings
        use_daily_layers(self.layers)

    def init_weights(self) -> None:
        """Nothing: the whole model is initialised at once, by its parent."""


class DailyMAEForPreTraining(ViTMAEForPreTraining):
    """Drop-in `ViTMAEForPreTraining`: same maths, same checkpoint, MAE's initial weights, any square input size.

    `mask_ratio` and `decoder_keep` are plain attributes for schedules to set; the config stays as it is.

    - `mask_ratio`: fraction of masked patches, `config.mask_ratio` at first.
    - `decoder_keep`: fraction of the masked patches that the decoder reconstructs (a random subset, chosen by the
      noise); 1.0 is MAE. It acts in training mode only, as dropout does.
    """

    accepts_loss_kwargs = False  # else the Trainer leaves the loss undivided under gradient accumulation
    _no_split_modules = _WRAPPED_MODULES

    def __init__(self, config: ViTMAEConfig):
        super(ViTMAEForPreTraining, self).__init__(config)
        self.vit = _Encoder(config)
        self.decoder = ViTMAEDecoder(config, num_patches=self.vit.embeddings.patch_embeddings.num_patches)
        layers = self.decoder.decoder_layers
        # Built once more, as it was when the published figures were measured: a seed keeps its initial weights.
        layers[-1] = ViTMAELayer(layers[-1].attention.config)
        use_daily_layers(layers)
        self.mask_ratio = config.mask_ratio
        self.decoder_keep = 1.0
        self.register_load_state_dict_pre_hook(weight_names.rename_on_load)
        self.register_load_state_dict_pre_hook(stored_positions.note_native_grids)
        self.post_init()
        # Of each stored position table: the grid whose sin-cos table it is, None for any other table.
        native_grid = config.image_size // config.patch_size
        self.native_grids: dict[str, int | None] = dict.fromkeys(stored_positions.TABLES, native_grid)

    def initialize_weights(self) -> None:
        """Called by transformers after construction, and after loading for tensors that were missing."""
        draw_initial_weights(self, self.config.initializer_range)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        noise: torch.Tensor | None = None,
        mask_ratio: float | None = None,
        return_logits: bool | None = None,
        interpolate_pos_encoding: bool | None = None,
    ) -> ViTMAEForPreTrainingOutput:
        """MAE's loss: mean squared error on the masked patches, each normalised by its own mean and variance.

        Args:
            pixel_values: (B, 3, S, S) float; any S that the patch size divides. Positions follow from S.
            noise: (B, N), N = (S / patch_size)**2; the patches with the lowest values stay visible. Drawn from torch's
                generator when not given.
            mask_ratio: overrides `self.mask_ratio` for this call.
            return_logits: predict all patches and return `logits` (B, N, patch_size**2 * 3) as the stock model does.
                False predicts the masked patches only and returns None: the loss is the same, for less work. By
                default logits are made in evaluation mode and not in training mode.
            interpolate_pos_encoding: accepted for callers of the stock model; every size is taken without it.

        Returns:
            loss () float32, logits or None, mask (B, N) float32 with 1 for masked, ids_restore (B, N) int64.

        Raises:
            RecipeError: the image is not square or not a multiple of the patch size, or `mask_ratio` leaves nothing
                to see or to predict.
        """
        patches = self._patches(pixel_values)
        batch_size, num_patches, _ = patches.shape
        visible = num_visible(num_patches, self.mask_ratio if mask_ratio is None else mask_ratio)
        if return_logits is None:
            return_logits = not self.training
        if noise is None:
            noise = torch.rand(batch_size, num_patches, device=pixel_values.device)

        # Stable, so that equal values are ordered alike on every device.
        ids_shuffle = torch.argsort(noise, dim=1, stable=True)
        ids_restore = torch.empty_like(ids_shuffle).scatter_(
            1, ids_shuffle, torch.arange(num_patches, device=noise.device).expand_as(ids_shuffle)
        )
        dropping = self.training and not return_logits
        predicted = num_predicted(num_patches, visible, self.decoder_keep if dropping else 1.0)

        hidden_states = self._encode(patches, ids_shuffle[:, :visible])
        predictions = self._decode(
            self.vit.layernorm(hidden_states),
            ids_shuffle[:, : visible + predicted],
            num_patches,
            all_patches=return_logits,
        )
        masked = _rows(patches, ids_shuffle[:, visible : visible + predicted]).float()
        target = patch_targets(masked, normalize=self.config.norm_pix_loss)
        return ViTMAEForPreTrainingOutput(
            loss=F.mse_loss(predictions[:, -predicted:].float(), target),
            logits=_rows(predictions, ids_restore) if return_logits else None,
            mask=(ids_restore >= visible).float(),
            ids_restore=ids_restore,
        )

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Patch tokens of the whole, unmasked image before the final LayerNorm: (B, N, hidden_size).

        `pixel_values` is (B, 3, S, S) as in `forward`. What the online probe and kNN read; any size, with gradients
        unless the caller switches them off.
        """
        return self._encode(self._patches(pixel_values), None)[:, 1:]

    def _patches(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, N, patch_size**2 * 3), pixels of a patch row by row with channels innermost."""
        if torch.compiler.is_compiling():
            # One graph per resolution: a graph for symbolic sizes would be slower and could not hold position tables.
            torch._dynamo.mark_static(pixel_values, 2)
            torch._dynamo.mark_static(pixel_values, 3)
        height, width = pixel_values.shape[-2:]
        if height != width or height % self.config.patch_size != 0:
            raise RecipeError(
                f"pixel_values: images of {height}x{width} are not square or not a multiple of the patch size "
                f"{self.config.patch_size}"
            )
        return self.patchify(pixel_values)

    def _encode(self, patches: torch.Tensor, ids_keep: torch.Tensor | None) -> torch.Tensor:
        """Raw patches, (B, V) indices of visible ones (None: all) -> (B, 1 + V, hidden_size), before the final norm."""
        embeddings = self.vit.embeddings
        positions = self._positions(stored_positions.ENCODER, patches.shape[1])
        if ids_keep is None:
            tokens = embeddings.patch_embeddings(patches) + positions[:, 1:]
        else:
            tokens = embeddings.patch_embeddings(_rows(patches, ids_keep))
            tokens = tokens + F.embedding(ids_keep, positions[0, 1:])
        class_token = (embeddings.cls_token + positions[:, :1]).expand(tokens.shape[0], -1, -1)
        hidden_states = torch.cat([class_token, tokens], dim=1)
        for layer in self.vit.layers:
            hidden_states = layer(hidden_states)
        return hidden_states

    def _decode(self, latent: torch.Tensor, ids: torch.Tensor, num_patches: int, *, all_patches: bool) -> torch.Tensor:
        """Predicted pixels of the patches `ids` (B, M): first the visible ones, then those to predict.

        The sequence stays in the shuffled order of `ids`: attention does not depend on the order, so nothing has to be
        moved back. Without `all_patches` the visible ones are left out: (B, M - V, patch_size**2 * 3).
        """
        decoder = self.decoder
        visible = latent.shape[1] - 1
        table = self._positions(stored_positions.DECODER, num_patches)
        tokens = decoder.decoder_embed(latent)
        positions = F.embedding(ids, table[0, 1:])
        hidden_states = torch.cat(
            [
                tokens[:, :1] + table[:, :1],
                tokens[:, 1:] + positions[:, :visible],
                decoder.mask_token + positions[:, visible:],
            ],
            dim=1,
        )
        # Before the first attention a mask token is its position's alone, whatever the image.
        mask_tokens = decoder.mask_token[0] + table[0, 1:]
        last = len(decoder.decoder_layers) - 1
        for number, layer in enumerate(decoder.decoder_layers):
            first = 0 if number < last else 1 if all_patches else 1 + visible
            recurring = (mask_tokens, ids[:, visible:]) if number == 0 else None
            hidden_states = layer(hidden_states, None, first, recurring)
        return decoder.decoder_pred(decoder.decoder_norm(hidden_states))

    def _positions(self, name: str, num_patches: int) -> torch.Tensor:
        """A stored table, or what it says about another grid: (1, 1 + num_patches, D)."""
        stored = self.get_parameter(name)
        return positions_on(stored, round(num_patches**0.5), self.native_grids[name])

    @classmethod
    def from_pretrained(
        cls,
        *args: Any,
        strict: bool = True,
        image_size: int | None = None,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """`PreTrainedModel.from_pretrained`, but a checkpoint that does not fill the whole model is an error.

        Reads files with the Hub's (4.x) names and with 5.x names. `strict=False` gives tensors that are missing MAE's
        initial values instead, which is how an encoder without a decoder is taken on. With an `image_size` other than
        the checkpoint's the model stores positions of that size; what becomes of them is logged.

        Raises:
            CheckpointError: a tensor of encoder or decoder is missing, has another shape, or is not in the model.
            RecipeError: `image_size` is not a multiple of the patch size.
        """
        source = str(args[0] if args else kwargs.get("pretrained_model_name_or_path"))
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        if strict:
            _check_loaded(source, info)
        stored_positions.note_native_grids(model, model.state_dict(), "")
        stored_positions.warn_of_other_tables(source, model)
        if image_size not in (None, model.config.image_size):
            model = stored_positions.resized(source, model, image_size)
        return (model, info) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: Any,
        is_main_process: bool = True,
        state_dict: dict[str, torch.Tensor] | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """`PreTrainedModel.save_pretrained` with the names and the architecture of a plain ViTMAE checkpoint."""
        hub_arguments = {name: kwargs.pop(name) for name in _HUB_ARGUMENTS if name in kwargs}
        super().save_pretrained(
            save_directory,
            is_main_process=is_main_process,
            state_dict=weight_names.to_file_names(self.state_dict() if state_dict is None else state_dict),
            save_original_format=False,
            **kwargs,
        )
        # The stock method has just written this class's own name, which plain transformers does not know.
        self.config.architectures = [ViTMAEForPreTraining.__name__]
        if is_main_process:
            open_to_readers(Path(save_directory))
            self.config.save_pretrained(save_directory)
            if push_to_hub:
                repo_id = hub_arguments.pop("repo_id", Path(save_directory).name)
                self.push_to_hub(repo_id, token=kwargs.get("token"), **hub_arguments)


def _rows(tensor: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Rows `ids` (B, M) of `tensor` (B, N, D): (B, M, D)."""
    return tensor.gather(1, ids.unsqueeze(-1).expand(-1, -1, tensor.shape[-1]))


def _check_loaded(source: str, info: dict[str, Any]) -> None:
    unknown = [name for name in info["unexpected_keys"] if name.startswith(("vit.", "decoder."))]
    wrong = [entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]]
    for problem, names in (
        ("lacks", sorted(info["missing_keys"])),
        ("has another shape for", sorted(wrong)),
        ("has, unlike the model that its config describes,", sorted(unknown)),
    ):
        if names:
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            raise CheckpointError(f"{source} {problem} {shown}")


weight_names.register(DailyMAEForPreTraining.__name__)
