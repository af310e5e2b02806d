"""Names of the input and the output of exported files."""

from __future__ import annotations

INPUT, OUTPUT = "images", "probabilities"
