"""A bundle looked at as if a stranger had sent it: each guard, then whether it predicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import MANIFEST, ModelBundle, OpenedBundle
from transfer_cli.bundle.files import BACKBONE_FILE, CLASSIFIER_FILE, GRAPH_FILE, LINEAR_FILE, NETWORK_FILE
from transfer_cli.bundle.training_images import LEARNT_FILE, TrainingImages
from transfer_cli.calibration.rejection import REJECTION_FILE, Rejection
from transfer_cli.catalog import runtimes
from transfer_cli.classifiers import skops_file
from transfer_cli.classifiers.linear import Linear
from transfer_cli.errors import ModelError
from transfer_cli.inference import runtimes as running
from transfer_cli.inference.load import load
from transfer_cli.inference.models import FeatureModel
from transfer_cli.io.untrusted import keras_config
from transfer_cli.io.untrusted.checked_output import guarded
from transfer_cli.progress import SILENT, Progress
from transfer_cli.quiet_imports import start_tensorflow

GREY = 127
ALIKE = 0.05
"""How far the probabilities of one picture may lie apart, by each way through a bundle; rounding takes far less."""
SAME = 0.02
"""How far the rows of one network may lie apart in two runtimes, as a share of the largest number."""
_GUARDS = {
    BACKBONE_FILE: keras_config.must_be_known,
    NETWORK_FILE: keras_config.must_be_known,
    CLASSIFIER_FILE: skops_file.must_be_known,
    LINEAR_FILE: Linear.load,
    REJECTION_FILE: Rejection.load,
    LEARNT_FILE: TrainingImages.load,
}


@dataclass(frozen=True)
class Verified:
    """What was found of a bundle in which nothing is wrong.

    Attributes
    ----------
    bundle : ModelBundle
    directory : Path
    files : tuple of str
        See `models_files`.
    others : tuple of str
        What lies beside its files without belonging to it; nothing reads that.
    label : str
        What it says of a grey picture.
    confidence : float
        How sure it is of that.
    ways : tuple of str
        The files that were asked.
    """

    bundle: ModelBundle
    directory: Path
    files: tuple[str, ...]
    others: tuple[str, ...]
    label: str
    confidence: float
    ways: tuple[str, ...]


def look_at(opened: OpenedBundle) -> None:
    """Raise ModelError where a file of a bundle has anything that it should not have; no file of it is run."""
    for name in opened.bundle.files:
        if name in _GUARDS:
            _GUARDS[name](opened.directory / name)
    for member in opened.members:
        look_at(member)


def models_files(opened: OpenedBundle) -> tuple[str, ...]:
    """Return the paths of the files of a bundle, and of an ensemble those of its members, without the manifests."""
    return tuple(sorted(name for name in opened.files() if not name.endswith(MANIFEST)))


def strangers_in(opened: OpenedBundle) -> tuple[str, ...]:
    """Return the paths of what lies in a bundle's folder and is not named by its manifest, sorted."""
    there = {path.relative_to(opened.directory) for path in opened.directory.rglob("*") if not path.is_dir()}
    return tuple(sorted({path.as_posix() for path in there} - {*opened.files()}))


def verify(path: Path, progress: Progress = SILENT) -> Verified:
    """Return what is found of the bundle at `path` (a bundle, or a run that holds one).

    Its digests are compared, each of its files is looked at, all are loaded, and each way through it is asked about a
    grey picture.

    Raises
    ------
    ModelError
        When anything is wrong with it.
    """
    opened = ModelBundle.open(path)
    bundle, directory = opened.bundle, opened.directory
    look_at(opened)
    with progress.track("loading all of it", None):
        answers = _answers(opened)
    given = _must_agree(answers, directory)
    column = int(given[0].argmax())
    return Verified(
        bundle,
        directory,
        models_files(opened),
        strangers_in(opened),
        bundle.class_names[column],
        float(given[0, column]),
        tuple(answers),
    )


def _answers(opened: OpenedBundle) -> dict[str, NDArray[np.float32]]:
    """Return the probabilities of a grey picture by each way through a bundle, by the files that were asked."""
    bundle, directory = opened.bundle, opened.directory
    if opened.members:
        return _of_ensemble(opened)
    images = _grey(bundle.image_size)
    networks = {}
    linear = Linear.load(directory / LINEAR_FILE) if LINEAR_FILE in bundle.files else None
    if GRAPH_FILE in bundle.files:
        graph = running.open_graph(runtimes.LITERT, directory / GRAPH_FILE, size=bundle.image_size)
        networks[GRAPH_FILE] = graph
    file = directory / (NETWORK_FILE if bundle.kind == "network" else BACKBONE_FILE)
    networks[file.name] = _keras(file, below_logits=bundle.kind == "network" and linear is not None)
    classes = len(bundle.class_names)
    readers: dict[str, tuple[int, Any]] = {}
    if linear is not None:
        linear.must_give(classes, directory / LINEAR_FILE)
        readers[LINEAR_FILE] = len(linear.kernel), linear.probabilities
    if CLASSIFIER_FILE in bundle.files:
        readers[CLASSIFIER_FILE] = _classifier(directory / CLASSIFIER_FILE, classes)
    width = next((width for width, _ in readers.values()), classes)
    rows = {name: guarded(run, directory / name, width)(images) for name, run in networks.items()}
    _must_be_one(rows, directory)
    if not readers:
        return rows
    return {
        f"{name} and {reader}": FeatureModel(bundle, lambda given: given, probabilities).classify(row)
        for name, row in rows.items()
        for reader, (_, probabilities) in readers.items()
    }


def _of_ensemble(opened: OpenedBundle) -> dict[str, NDArray[np.float32]]:
    """Return what an ensemble says of a grey picture, each of whose members is of one mind about it."""
    for member in opened.members:
        _must_agree(_answers(member), member.directory)
    model = load(str(opened.directory))
    return {f"{len(opened.members)} members": model.predict_views([_grey(view.size) for view in model.views])}


def _grey(size: int) -> NDArray[np.uint8]:
    return np.full((1, size, size, 3), GREY, np.uint8)


def _must_agree(answers: dict[str, NDArray[np.float32]], directory: Path) -> NDArray[np.float32]:
    """Return what all ways through a bundle say; raise ModelError where they do not say the same."""
    (first, given), *others = answers.items()
    for name, other in others:
        if not np.abs(other - given).max() <= ALIKE:
            raise ModelError(f"{directory}: by {name} a grey picture is something else than by {first}.")
    if not np.isfinite(given).all():
        raise ModelError(f"{directory}: what it says of a grey picture is no number.")
    return given


def _must_be_one(rows: dict[str, NDArray[np.float32]], directory: Path) -> None:
    """Raise ModelError where two files that should hold one network give different rows."""
    (first, expected), *others = rows.items()
    for name, given in others:
        if not np.abs(given - expected).max() <= SAME * np.abs(expected).max():
            raise ModelError(f"{directory}: {first} and {name} should be one network, and are not.")


def _keras(file: Path, *, below_logits: bool) -> Any:
    start_tensorflow()
    from transfer_cli.models.classifier_network import below_logits_of
    from transfer_cli.models.compile import inference_function
    from transfer_cli.models.keras_file import load_keras

    network = load_keras(file)
    return inference_function(below_logits_of(network) if below_logits else network)


def _classifier(file: Path, classes: int) -> tuple[int, Any]:
    from transfer_cli.classifiers import fit

    pipeline = fit.load(file)
    return skops_file.width_of(pipeline, file), guarded(
        lambda features: fit.probabilities(pipeline, features, classes), file, classes, failures=(Exception,)
    )
