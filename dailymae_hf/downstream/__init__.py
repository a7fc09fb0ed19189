"""What a pretrained encoder is used for: classifiers, linear probe, features, segmentation, compression shift."""
