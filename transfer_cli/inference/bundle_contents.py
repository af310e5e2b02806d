"""Whether the files of a bundle hold what they should, before a library opens them."""

from __future__ import annotations

from transfer_cli.bundle import files
from transfer_cli.bundle.bundle import OpenedBundle
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.calibration.rejection import REJECTION_FILE, Rejection
from transfer_cli.classifiers import skops_file
from transfer_cli.classifiers.linear import Linear
from transfer_cli.io.untrusted import keras_config

_CHECKS = {
    files.BACKBONE_FILE: keras_config.check_keras_file,
    files.NETWORK_FILE: keras_config.check_keras_file,
    files.CLASSIFIER_FILE: skops_file.check_classifier_file,
    files.LINEAR_FILE: Linear.load,
    REJECTION_FILE: Rejection.load,
    files.TRAINING_IMAGES_FILE: TrainingImages.load,
}


def check_contents(opened: OpenedBundle) -> None:
    """Raise ModelError if a file of a bundle contains anything unexpected; nothing in it is executed."""
    for name in opened.bundle.files:
        if name in _CHECKS:
            _CHECKS[name](opened.directory / name)
    for member in opened.members:
        check_contents(member)
