"""Names of the metadata files in an exported model."""

from __future__ import annotations

METADATA_FILE = "transfer_cli.json"
LABELS_FILE = "labels.txt"
