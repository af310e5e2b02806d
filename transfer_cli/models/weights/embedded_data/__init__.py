"""Weights that come with the package; MODEL_CARD.md says what they have learnt from."""
