"""A checkpoint under the tensor names of timm's `vision_transformer.py`, in a folder that `timm.create_model` opens.

timm keeps query, key and value in one matrix. With `global_pool="avg"` it has its norm after the mean of the patch
tokens, as MAE's fine-tuning has: `fc_norm`. Positions include the class token's, as in transformers.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, PreTrainedModel

from dailymae_hf.errors import CheckpointError
from dailymae_hf.export.source import load_for_export
from dailymae_hf.model.weight_files import save_tensors

# What timm's ViT is, where nothing that it reads from a file can say otherwise.
_FIXED = {"layer_norm_eps": 1e-6, "hidden_act": "gelu"}
_FIXED_IN_BEIT = {
    "use_absolute_position_embeddings": True,
    "use_relative_position_bias": False,
    "use_shared_relative_position_bias": False,
    "layer_scale_init_value": 0,
    "use_mean_pooling": True,
}
# One of timm's names whose defaults are overridden by `model_args` wherever they differ.
ARCHITECTURE = "vit_base_patch16_224"
_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.o_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def export_timm(checkpoint: str | Path, out: str | Path) -> Path:
    """Write `model.safetensors` and timm's `config.json` into the folder `out`; returns it.

        timm.create_model("local-dir:OUT", pretrained=True)

    Raises:
        CheckpointError: the model cannot be exported; timm's ViT has no place for one of its settings.
    """
    model = load_for_export(checkpoint)
    for name, value in (_FIXED | (_FIXED_IN_BEIT if model.config.model_type == "beit" else {})).items():
        found = getattr(model.config, name)
        if found != value:
            raise CheckpointError(f"{checkpoint}: {name} is {found}, and timm's ViT has {value}")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(timm_state(model), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(timm_config(model, checkpoint), indent=2) + "\n")
    return folder


def timm_state(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """timm's name -> tensor, of a plain ViT or BEiT (absolute positions, no layer scale)."""
    state = model.base_model.state_dict()
    patches = "embeddings.patch_embeddings.projection"
    found = {
        "cls_token": state["embeddings.cls_token"],
        "pos_embed": state["embeddings.position_embeddings"],
        "patch_embed.proj.weight": state[f"{patches}.weight"],
        "patch_embed.proj.bias": state[f"{patches}.bias"],
    }
    for number in range(model.config.num_hidden_layers):
        ours, theirs = f"layers.{number}", f"blocks.{number}"
        for kind in ("weight", "bias"):
            for name, source in _BLOCK.items():
                found[f"{theirs}.{name}.{kind}"] = state[f"{ours}.{source}.{kind}"]
            found[f"{theirs}.attn.qkv.{kind}"] = torch.cat(_projections(state, f"{ours}.attention", kind))
    mean_pooled = "pooler.layernorm.weight" in state
    norm, source = ("fc_norm", "pooler.layernorm") if mean_pooled else ("norm", "layernorm")
    for kind in ("weight", "bias"):
        found[f"{norm}.{kind}"] = state[f"{source}.{kind}"]
    if hasattr(model, "classifier"):
        found["head.weight"], found["head.bias"] = model.classifier.weight.data, model.classifier.bias.data
    return {name: tensor.contiguous() for name, tensor in found.items()}


def _projections(state: dict[str, torch.Tensor], attention: str, kind: str) -> list[torch.Tensor]:
    # BEiT's keys have no bias, and with `qkv_bias` false none of the three has one: zero says the same.
    absent = torch.zeros(len(state[f"{attention}.q_proj.weight"]))
    return [state.get(f"{attention}.{name}_proj.{kind}", absent) for name in "qkv"]


def mlp_ratio(width: int, mlp_width: int) -> float:
    """The ratio for which timm's `int(width * ratio)` is exactly `mlp_width`."""
    ratio = mlp_width / width
    while int(width * ratio) < mlp_width:  # the product is a hair below the integer
        ratio = math.nextafter(ratio, math.inf)
    return ratio


def timm_config(model: PreTrainedModel, checkpoint: str | Path) -> dict[str, Any]:
    """What timm makes the model from: its shape, its classes, and how images are prepared."""
    config = model.config
    classifier = hasattr(model, "classifier")
    mean_pooled = "pooler.layernorm.weight" in model.base_model.state_dict()
    pool = "avg" if mean_pooled else "token"
    classes = config.num_labels if classifier else 0
    prepared: dict[str, Any] = {"input_size": [config.num_channels, config.image_size, config.image_size]}
    try:
        processor = AutoImageProcessor.from_pretrained(checkpoint)
        prepared |= {"mean": list(processor.image_mean), "std": list(processor.image_std), "interpolation": "bicubic"}
        shortest = dict(processor.size).get("shortest_edge")
        prepared |= {"crop_pct": config.image_size / shortest if shortest else 1.0}
    except OSError:  # saved without one
        pass
    names = {"label_names": [config.id2label[number] for number in range(classes)]} if classifier else {}
    return {
        "architecture": ARCHITECTURE,
        "num_classes": classes,
        "num_features": config.hidden_size,
        "global_pool": pool,
        "model_args": {
            "img_size": config.image_size,
            "patch_size": config.patch_size,
            "in_chans": config.num_channels,
            "embed_dim": config.hidden_size,
            "depth": config.num_hidden_layers,
            "num_heads": config.num_attention_heads,
            "mlp_ratio": mlp_ratio(config.hidden_size, config.intermediate_size),
            "global_pool": pool,
        },
        "pretrained_cfg": {
            **prepared,
            "num_classes": classes,
            "pool_size": None,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            **names,
        },
    }
