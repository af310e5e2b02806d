"""The model on disk: manifest with digests, training-image digests, model card."""
