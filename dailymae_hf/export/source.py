"""What can be exported: a masked autoencoder's encoder, or a classifier of either pooling."""

from pathlib import Path

from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel, ViTModel, logging

from dailymae_hf.errors import CheckpointError
from dailymae_hf.hub.checkpoint_name import require_checkpoint

MODEL_TYPES = ("vit_mae", "vit", "beit")


def load_for_export(checkpoint: str | Path) -> PreTrainedModel:
    """The model of a folder or Hub name, as a plain class: `ViTModel` of a masked autoencoder, else the classifier.

    Raises:
        CheckpointError: there is none, or of a kind that cannot be exported; or weights are missing.
    """
    require_checkpoint(checkpoint, "export")
    try:
        config = AutoConfig.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{checkpoint}: {error}") from error
    if config.model_type not in MODEL_TYPES:
        raise CheckpointError(f"{checkpoint}: a {config.model_type}; {', '.join(MODEL_TYPES)} can be exported")
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # else a table of the decoder's tensors, which no encoder takes
    try:
        if config.model_type == "vit_mae":
            model, report = ViTModel.from_pretrained(checkpoint, add_pooling_layer=False, output_loading_info=True)
        else:
            model, report = AutoModelForImageClassification.from_pretrained(checkpoint, output_loading_info=True)
    finally:
        logging.set_verbosity(verbosity)
    lost = sorted(report["missing_keys"])
    if lost:
        raise CheckpointError(f"{checkpoint}: no {', '.join(lost[:4])} ({len(lost)} tensors are missing)")
    return model.eval()
