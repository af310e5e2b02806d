"""Verify a bundle as an untrusted file: digests, contents of each file, and a test prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle import files
from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.catalog import runtimes
from transfer_cli.errors import ModelError
from transfer_cli.inference import runtimes as running
from transfer_cli.inference.bundle_contents import check_contents
from transfer_cli.inference.load import classifiers_of, load
from transfer_cli.inference.models import FeatureModel
from transfer_cli.inference.network_sources import load_network, network_file
from transfer_cli.io.untrusted.checked_output import check_output
from transfer_cli.progress import SILENT, Progress
from transfer_cli.quiet_imports import import_tensorflow

GREY = 127
MAX_PROBABILITY_DIFFERENCE = 0.05
"""Maximum difference between the probabilities that a bundle's files give for one image; rounding gives far less."""
MAX_OUTPUT_DIFFERENCE = 0.02
"""Maximum difference between the outputs of one network on two runtimes, relative to the largest value."""


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle that passed every check.

    Attributes
    ----------
    opened : OpenedBundle
    label : str
        The predicted class of a grey image.
    confidence : float
        Its probability.
    computed_by : tuple of str
        The files, or combinations of files, that predicted the image.
    """

    opened: OpenedBundle
    label: str
    confidence: float
    computed_by: tuple[str, ...]


def bundle_files(opened: OpenedBundle) -> tuple[str, ...]:
    """Return the sorted paths of a bundle's files, including those of ensemble members, without the manifests."""
    return tuple(sorted(name for name in opened.files() if not name.endswith(files.MANIFEST)))


def unlisted_files(opened: OpenedBundle) -> tuple[str, ...]:
    """Return the sorted paths of files in a bundle's folder that its manifest does not name."""
    paths = {path.relative_to(opened.directory) for path in opened.directory.rglob("*") if not path.is_dir()}
    return tuple(sorted({path.as_posix() for path in paths} - {*opened.files()}))


def verify(path: Path, progress: Progress = SILENT) -> VerifiedBundle:
    """Verify the bundle at `path` (a bundle or a run).

    The digests are compared, the contents of each file are checked, all files are loaded, and a grey image is
    predicted with each combination of network and classifier in the bundle.

    Raises
    ------
    ModelError
        If a check fails.
    """
    opened = ModelBundle.open(path)
    check_contents(opened)
    with progress.track("loading all files", None):
        predictions = _predict_grey(opened)
    (probabilities,) = _require_agreement(predictions, opened.directory)
    column = int(probabilities.argmax())
    label, confidence = opened.bundle.class_names[column], float(probabilities[column])
    return VerifiedBundle(opened, label, confidence, tuple(predictions))


def _predict_grey(opened: OpenedBundle) -> dict[str, NDArray[np.float32]]:
    """Return the probabilities of a grey image, by the files, or members of an ensemble, that computed them."""
    bundle, directory = opened.bundle, opened.directory
    if opened.members:
        for member in opened.members:
            _require_agreement(_predict_grey(member), member.directory)
        model = load(str(directory))
        return {f"{len(opened.members)} members": model.predict_views([_grey(view.size) for view in model.views])}
    networks = {}
    if files.GRAPH_FILE in bundle.files:
        graph = directory / files.GRAPH_FILE
        networks[graph.name] = running.open_graph(runtimes.LITERT, graph, size=bundle.image_size)
    import_tensorflow()
    from transfer_cli.models.compile import inference_function

    networks[network_file(opened).name] = inference_function(load_network(opened))
    classifiers = list(classifiers_of(opened))
    width = classifiers[0][1] if classifiers else len(bundle.class_names)
    images = _grey(bundle.image_size)
    outputs = {name: check_output(run, directory / name, width)(images) for name, run in networks.items()}
    _require_one_network(outputs, directory)
    if not classifiers:
        return outputs
    return {
        f"{name} and {classifier}": FeatureModel(bundle, lambda features: features, probabilities).classify(output)
        for name, output in outputs.items()
        for classifier, _, probabilities in classifiers
    }


def _grey(size: int) -> NDArray[np.uint8]:
    return np.full((1, size, size, 3), GREY, np.uint8)


def _require_agreement(predictions: dict[str, NDArray[np.float32]], directory: Path) -> NDArray[np.float32]:
    """Return the first probabilities; raise ModelError unless the others agree."""
    (first, probabilities), *others = predictions.items()
    for name, other in others:
        if not np.abs(other - probabilities).max() <= MAX_PROBABILITY_DIFFERENCE:
            raise ModelError(f"{directory}: {name} and {first} give different probabilities for the same image.")
    if not np.isfinite(probabilities).all():
        raise ModelError(f"{directory}: the model's probabilities are not finite.")
    return probabilities


def _require_one_network(outputs: dict[str, NDArray[np.float32]], directory: Path) -> None:
    """Raise ModelError if two files that should contain the same network have different outputs."""
    (first, expected), *others = outputs.items()
    for name, output in others:
        if not np.abs(output - expected).max() <= MAX_OUTPUT_DIFFERENCE * np.abs(expected).max():
            raise ModelError(f"{directory}: {first} and {name} should contain the same network, but outputs differ.")
