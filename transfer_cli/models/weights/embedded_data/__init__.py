"""The weights that are shipped with the package; MODEL_CARD.md says how they were trained."""
