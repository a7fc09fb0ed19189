"""A masked autoencoder's encoder as a plain `ViTModel`, written as files.

Plain transformers hides three quarters of the patches wherever it loads a ViTMAE checkpoint as a feature extractor
(`AutoModel`, `pipeline("image-feature-extraction")`), other ones at each call. The same weights as a ViT give the
tokens of the whole image in its order. The tensors' names in files are the autoencoder's without their prefix.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import ViTConfig, ViTMAEConfig

from dailymae_hf.errors import CheckpointError
from dailymae_hf.model.weight_files import save_tensors

FIELDS = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "patch_size",
    "num_channels", "layer_norm_eps", "initializer_range", "hidden_dropout_prob", "attention_probs_dropout_prob",
)  # fmt: skip
PROCESSOR = "preprocessor_config.json"
_PREFIX = "vit."


def encoder_config(config: ViTMAEConfig) -> ViTConfig:
    """The encoder's config as a ViT; `pooler_output` is the class token."""
    shared = {name: getattr(config, name) for name in (*FIELDS, "image_size", "qkv_bias")}
    return ViTConfig(**shared, pooler_act="linear", architectures=["ViTModel"], dtype="float32")


def write_plain_vit(tensors: Mapping[str, torch.Tensor], config: ViTMAEConfig, folder: Path) -> Path:
    """Write config and weights of the encoder into `folder`; returns it.

    Args:
        tensors: of the autoencoder, by the names that its files have (see `weight_names`).
        config: the autoencoder's.

    Raises:
        CheckpointError: there is no tensor of an encoder.
    """
    found = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)}
    if not found:
        raise CheckpointError("there is no encoder: no tensor is called vit.*")
    # transformers builds a ViT with a pooler, and would draw one at random: this one hands on the class token.
    found["pooler.dense.weight"] = torch.eye(config.hidden_size)
    found["pooler.dense.bias"] = torch.zeros(config.hidden_size)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.float() for name, tensor in found.items()}
    save_tensors(state, folder / "model.safetensors", metadata={"format": "pt"})
    encoder_config(config).save_pretrained(folder)
    return folder


def write_encoder_beside(checkpoint: Path) -> Path:
    """Write the encoder of a saved autoencoder into its subfolder `encoder`, image processor included; returns that.

    Raises:
        CheckpointError: the folder's weights cannot be read or have no encoder.
    """
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(checkpoint.glob("model*.safetensors")):
        try:
            tensors |= load_file(path)
        except SafetensorError as error:
            raise CheckpointError(f"{path}: {error}") from error
    folder = write_plain_vit(tensors, ViTMAEConfig.from_pretrained(checkpoint), checkpoint / "encoder")
    if (checkpoint / PROCESSOR).is_file():
        shutil.copyfile(checkpoint / PROCESSOR, folder / PROCESSOR)
    return folder
