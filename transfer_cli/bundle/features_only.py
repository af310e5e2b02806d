"""A run of ``--classifier none``: what to do instead of asking it for a model or for predictions."""

from __future__ import annotations

from pathlib import Path

from transfer_cli.catalog.classifiers import NONE
from transfer_cli.data.split import UNLABELLED_HEADER
from transfer_cli.errors import TransferError
from transfer_cli.io.csv_tables import csv_bytes
from transfer_cli.io.untrusted.toml_text import read_toml
from transfer_cli.text import shell_command


def is_features_only(run: Path) -> bool:
    """Return whether a run was to have features, but no classifier."""
    try:
        classifier = read_toml(run / "recipe.toml")[1].get("classifier")
    except (OSError, ValueError, TransferError):
        return False
    return isinstance(classifier, dict) and classifier.get("name") == NONE


def features_only_hint(run: Path) -> str:
    """Return what to type to get a classifier, and what a run without one is for."""
    if _has_labels(run):
        train = "Train a classifier: transfer-cli extract FOLDER --classifier logistic"
    else:
        train = (
            "Its images have no labels. Sort them into one sub-folder per class, or list their classes in a CSV file "
            "with the columns path,label, then: transfer-cli extract FOLDER"
        )
    look = f"To look at its images: {shell_command('transfer-cli', 'map', run)}"
    return f"{train}\n{look}, or {shell_command('transfer-cli', 'similar', run)} IMAGES"


def _has_labels(run: Path) -> bool:
    try:
        with (run / "split.csv").open("rb") as table:
            return table.readline(80) != csv_bytes([UNLABELLED_HEADER])
    except OSError:
        return True
