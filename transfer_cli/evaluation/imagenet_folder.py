"""Folders of the 1000 ImageNet classes, or of some of them, for networks with their own classification head."""

from __future__ import annotations

from dataclasses import replace

from transfer_cli.catalog import backbones
from transfer_cli.data.image_folder import ImageFolder, sort_class_names
from transfer_cli.inference.imagenet_classes import ImageNetClasses
from transfer_cli.inference.models import IMAGENET
from transfer_cli.metrics.scores import MetricValue
from transfer_cli.models.weights.download import download_missing
from transfer_cli.models.weights.registry import imagenet_files, require_available
from transfer_cli.progress import Progress

_ERRORS = {"top_1_error": "accuracy", "top_5_error": "top_5_accuracy"}


def with_imagenet_names(model: str, folder: ImageFolder, *, offline: bool, progress: Progress) -> ImageFolder:
    """Return a folder with the class names of a network that is given as ``imagenet:BACKBONE``.

    Raises
    ------
    WeightsError
        If the weights or the names of the classes are missing and cannot be downloaded.
    FolderError
        If classes of the folder are not classes of ImageNet.
    """
    spec = backbones.find(model.removeprefix(IMAGENET))
    require_available(imagenet_files(spec, top=True, size=spec.size), offline=offline)
    download_missing([backbones.CLASS_INDEX], offline=offline, progress=progress)
    name_of = ImageNetClasses.read().names_of(folder.class_names, folder.source)
    files = tuple(
        replace(file, labels=tuple(dict.fromkeys(name_of[label] for label in file.labels))) for file in folder.files
    )
    return replace(folder, files=files, class_names=sort_class_names(name_of.values()))


def with_errors(metrics: dict[str, MetricValue]) -> dict[str, MetricValue]:
    """Return metrics with the top-1 and the top-5 error, the usual figures of ImageNet."""
    return metrics | {error: _complement(metrics[name]) for error, name in _ERRORS.items() if name in metrics}


def _complement(share: MetricValue) -> MetricValue:
    low, high = share["low"], share["high"]
    return {
        "value": 1 - share["value"],
        "low": None if high is None else 1 - high,
        "high": None if low is None else 1 - low,
    }
