"""A masked autoencoder's encoder as a plain ViT in a folder of its own."""

import contextlib
from pathlib import Path

from transformers import AutoImageProcessor

from dailymae_hf.downstream.encoder import load_encoder
from dailymae_hf.hub.checkpoint_name import require_checkpoint
from dailymae_hf.model.plain_vit import write_plain_vit
from dailymae_hf.model.weight_names import to_file_names


def export_vit(checkpoint: str | Path, out: str | Path) -> Path:
    """Write a folder that `AutoModel` and `pipeline("image-feature-extraction")` of transformers open as a `ViTModel`.

    Tokens are those of the whole image, after the final norm; `pooler_output` is the class token.

    Raises:
        CheckpointError: there is no masked autoencoder, or a tensor of its encoder is missing.
    """
    require_checkpoint(checkpoint, "export")
    model = load_encoder(checkpoint)
    folder = write_plain_vit(to_file_names(model.state_dict()), model.config, Path(out))
    with contextlib.suppress(OSError):  # saved without one
        AutoImageProcessor.from_pretrained(checkpoint).save_pretrained(folder)
    return folder
