"""Run by the Python of another environment, with its transformers and nothing of ours: read, compute, write numbers.

    python -I reader.py INPUTS.npz OUTPUTS.npz PRETRAINED FINE_TUNED PROBED

The three are names on the Hub that HF_ENDPOINT leads to. INPUTS has `image` (H, W, 3) uint8, `pixels` (B, 3, S, S) and
`noise` (B, N); OUTPUTS gets what each class and pipeline of transformers makes of them.
"""

import sys

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    ViTForImageClassification,
    ViTMAEForPreTraining,
    ViTMAEModel,
    ViTModel,
    pipeline,
)

inputs, outputs, pretrained, fine_tuned, probed = sys.argv[1:]
given = np.load(inputs)
image = Image.fromarray(given["image"])
pixels, noise = torch.from_numpy(given["pixels"]), torch.from_numpy(given["noise"])
found: dict[str, object] = {"version": transformers.__version__}

with torch.no_grad():
    autoencoder = ViTMAEForPreTraining.from_pretrained(pretrained).eval()
    predicted = autoencoder(pixels, noise=noise)
    found["loss"], found["reconstruction"] = predicted.loss, predicted.logits
    encoder = ViTMAEModel.from_pretrained(pretrained).eval()
    found["visible"] = encoder(pixels, noise=noise).last_hidden_state
    vit = ViTModel.from_pretrained(pretrained, add_pooling_layer=False).eval()
    found["tokens"] = vit(pixels).last_hidden_state
    found["encoder"] = AutoModel.from_pretrained(pretrained, subfolder="encoder").eval()(pixels).last_hidden_state
    # A new head on the encoder: what fine-tuning with plain transformers begins with.
    begun = ViTForImageClassification.from_pretrained(pretrained, num_labels=3).eval()
    found["begun_tokens"] = begun.vit(pixels).last_hidden_state
    found["probed"] = ViTForImageClassification.from_pretrained(probed).eval()(pixels).logits
    found["fine_tuned"] = AutoModelForImageClassification.from_pretrained(fine_tuned).eval()(pixels).logits

for name in (pretrained, fine_tuned, probed):
    processor = AutoImageProcessor.from_pretrained(name)
    found[f"processed/{name}"] = np.asarray(processor(image, return_tensors="np")["pixel_values"])

extract = pipeline("image-feature-extraction", model=pretrained, model_kwargs={"mask_ratio": 0.0}, device="cpu")
found["features"] = np.asarray(extract(image))[:, 1:].mean(axis=1)  # ViTMAE shuffles its patches: the mean has no order
for name in (fine_tuned, probed):
    answers = pipeline("image-classification", model=name, device="cpu")(image, top_k=10)
    found[f"labels/{name}"] = [answer["label"] for answer in answers]
    found[f"scores/{name}"] = [answer["score"] for answer in answers]

np.savez(outputs, **{name: np.asarray(value) for name, value in found.items()})
