"""Training from .beton files under the Hugging Face Trainer: trainers, checkpoints, optimizer, callbacks."""
