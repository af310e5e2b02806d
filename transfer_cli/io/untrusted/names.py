"""Names of the metadata files in an exported model."""

from __future__ import annotations

METADATA_FILE = "transfer_cli.json"
LABELS_FILE = "labels.txt"
METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
"""Members of a ``.keras`` file."""
MOST_BYTES = 64_000_000
"""The longest configuration of a backbone has 1.0 MB."""
