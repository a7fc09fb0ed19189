"""Run by the Python of another environment, with its transformers and nothing of ours: write checkpoints, and what they
compute.

    python -I writer.py INPUTS.npz FOLDER

writes FOLDER/{autoencoder,processor} and FOLDER/expected.npz.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import ViTImageProcessor, ViTMAEConfig, ViTMAEForPreTraining

inputs, folder = sys.argv[1], Path(sys.argv[2])
given = np.load(inputs)
torch.manual_seed(1)
config = ViTMAEConfig(
    image_size=32,
    patch_size=8,
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=96,
    decoder_hidden_size=32,
    decoder_num_hidden_layers=2,
    decoder_num_attention_heads=2,
    decoder_intermediate_size=64,
    norm_pix_loss=True,
)
model = ViTMAEForPreTraining(config).eval()
with torch.no_grad():
    for parameter in model.parameters():  # biases and tokens as well, which a new model has at zero
        parameter.add_(0.05 * torch.randn_like(parameter))
    outputs = model(torch.from_numpy(given["pixels"]), noise=torch.from_numpy(given["noise"]))
model.save_pretrained(folder / "autoencoder")
ViTImageProcessor(image_mean=[0.4, 0.5, 0.6], size={"height": 32, "width": 32}).save_pretrained(folder / "processor")
np.savez(folder / "expected.npz", loss=outputs.loss.numpy(), logits=outputs.logits.numpy())
