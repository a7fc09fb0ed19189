"""The masked autoencoder: a ViTMAE with MAE's initial weights, its masks, its positions, its cost."""
