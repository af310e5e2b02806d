"""The fine-tuning loop: stages, steps, checkpoints, early stopping, frozen activations."""
