"""The facts of a small run for tests of cards, and what a card must not hold."""

import re

FACTS = {
    "kind": "pretraining", "name": "run", "license": None, "repository": None, "base_model": None, "datasets": [],
    "model": {"image_size": 32, "patch_size": 8, "hidden_size": 32}, "parameters": 1_000_000, "num_labels": None,
    "data": [], "stages": [{"epochs": 2, "resolution": 32, "mask_ratio": 0.75}], "epochs": 2.0, "steps": 10,
    "global_batch": 8, "seed": 0, "precision": "float32", "devices": "1 x CPU", "totals": None, "rates": None,
    "optimizer": {"name": "AdamW", "betas": [1, 1], "weight_decay": 0, "learning_rate": 1e-3, "warmup_epochs": 1},
    "layer_decay": None, "mfu": None, "total_flops": None, "train_loss": 0.5, "eval_loss": None, "eval_accuracy": None,
    "probe_accuracy": None, "knn_accuracy": None, "classes": None, "versions": {"torch": "1"},
}  # fmt: skip


def placeholders(text: str) -> list[str]:
    """What templates and stubs leave behind, in any spelling seen on the Hub."""
    return re.findall(
        r"\{\{.*?\}\}|\{%.*?%\}|\bNone\b|\bnan\b|More Information Needed|TODO|<[A-Z_]+>|\[\[.*?\]\]", text
    )
