"""Names of members that exported files hold."""

from __future__ import annotations

FACTS = "transfer_cli.json"
"""What the facts are called within a file that has names for its parts."""


LABELS = "labels.txt"
