"""What predicts: pictures in, probabilities out, whatever it is made of."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle import ModelBundle
from transfer_cli.catalog import backbones
from transfer_cli.engine.images import DECODER
from transfer_cli.engine.startup import start_tensorflow
from transfer_cli.errors import ModelError
from transfer_cli.progress import SILENT, Progress
from transfer_cli.weights import cache_folder, imagenet_files, must_be_had

BACKBONE_FILE = "backbone.keras"
CLASSIFIER_FILE = "classifier.skops"
NETWORK_FILE = "network.keras"
IMAGENET = "imagenet:"
"""The prefix of a backbone with its own 1000 classes, where a bundle is expected."""

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


class AbstractModel(ABC):
    """What predicts.

    Attributes
    ----------
    class_names : tuple of str
    image_size : int
        Side of the input in pixels.
    resize : str
        How a picture becomes that square.
    """

    class_names: tuple[str, ...]
    image_size: int
    resize: str

    @abstractmethod
    def predict_proba(self, images: Images) -> Probabilities:
        """Return the probabilities of each class.

        Parameters
        ----------
        images : ndarray of shape (n, image_size, image_size, 3), uint8
            RGB.

        Returns
        -------
        ndarray of shape (n, k), float32
        """


class FeatureModel(AbstractModel):
    """A frozen backbone and a scikit-learn classifier on its features."""

    def __init__(self, bundle: ModelBundle, features: Callable[[Images], Any], classifier: Any) -> None:
        self.class_names = bundle.class_names
        self.image_size = bundle.image_size
        self.resize = bundle.resize
        self._features = features
        self._classifier = classifier

    def predict_proba(self, images: Images) -> Probabilities:
        """Return the classifier's probabilities on the backbone's features."""
        from transfer_cli.engine.classify import probabilities

        return probabilities(self._classifier, self._features(images), len(self.class_names))


class KerasModel(AbstractModel):
    """A network that gives probabilities by itself."""

    def __init__(
        self, run: Callable[[Images], Any], class_names: tuple[str, ...], image_size: int, resize: str
    ) -> None:
        self.class_names = class_names
        self.image_size = image_size
        self.resize = resize
        self._run = run

    def predict_proba(self, images: Images) -> Probabilities:
        """Return the network's output."""
        return np.asarray(self._run(images), np.float32)


def load(source: str, *, offline: bool = False, progress: Progress = SILENT) -> AbstractModel:
    """Return the model of a run or a bundle, or ``imagenet:BACKBONE`` with its own 1000 classes.

    Raises
    ------
    ModelError
        When it is missing, damaged, of a newer version, or holds anything but what the catalog makes.
    WeightsError
        When the weights of ``imagenet:BACKBONE`` cannot be had.
    """
    if source.startswith(IMAGENET):
        return _imagenet(source.removeprefix(IMAGENET), offline, progress)
    bundle, directory = ModelBundle.read(Path(source))
    if bundle.decoder != DECODER:
        progress.warn(f"the bundle was made with the decoder {bundle.decoder}; this one is {DECODER}")
    start_tensorflow()

    from transfer_cli.engine import backbone

    if bundle.kind == "network":
        run = backbone.run(_load_keras(directory / NETWORK_FILE))
        return KerasModel(run, bundle.class_names, bundle.image_size, bundle.resize)

    from transfer_cli.engine import classify

    network = _load_keras(directory / BACKBONE_FILE)
    return FeatureModel(bundle, backbone.run(network), classify.load(directory / CLASSIFIER_FILE))


def _load_keras(path: Path) -> Any:
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds at a file it does not want
        raise ModelError(f"{path} could not be loaded: {error}.") from error


def _imagenet(name: str, offline: bool, progress: Progress) -> KerasModel:
    spec = backbones.find(name)
    must_be_had(imagenet_files(spec, top=True, size=spec.size), offline=offline)
    start_tensorflow()

    from transfer_cli.engine import backbone

    network = backbone.build_with_top(spec, offline=offline, progress=progress)
    return KerasModel(backbone.run(network), imagenet_names(), spec.size, "crop")


def imagenet_names() -> tuple[str, ...]:
    """Return the names of ImageNet's 1000 classes in the order of a backbone's output.

    Two names stand for two classes each (crane, maillot); these carry their WordNet number.
    """
    path = cache_folder() / backbones.CLASS_INDEX.name
    try:
        index = json.loads(path.read_text("utf-8"))
        pairs = [index[str(column)] for column in range(len(index))]
        count = Counter(name for _, name in pairs)
        return tuple(name if count[name] == 1 else f"{name} ({number})" for number, name in pairs)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is not ImageNet's table of classes: {error}.") from error
