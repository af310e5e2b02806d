"""The Keras network of a run, a bundle or ``imagenet:NAME``, and the images that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.bundle.files import BACKBONE_FILE, NETWORK_FILE
from transfer_cli.catalog import backbones
from transfer_cli.catalog.backbones import BackboneSpec
from transfer_cli.data.views import View
from transfer_cli.errors import ModelError
from transfer_cli.inference.models import IMAGENET
from transfer_cli.models.weights.registry import imagenet_files, require_available
from transfer_cli.progress import SILENT, Progress
from transfer_cli.text import shell_command


@dataclass(frozen=True)
class SourceNetwork:
    """One network with its weights.

    Attributes
    ----------
    network : keras.Model
    view : View
    backbone : str
        Name of the backbone that it consists of or contains.
    scheme : str
        How that backbone scales images, see `BackboneSpec`.
    """

    network: Any
    view: View
    backbone: str
    scheme: str

    @classmethod
    def open(cls, source: str, *, offline: bool = False, progress: Progress = SILENT) -> SourceNetwork:
        """Load the network of a run, a bundle or ``imagenet:NAME``; it imports TensorFlow.

        Raises
        ------
        ModelError
            If the model is missing or damaged, or is an ensemble, which has several networks.
        UnknownNameError
            If there is no backbone NAME.
        WeightsError
            If the weights of ``imagenet:NAME`` are missing and cannot be downloaded.
        """
        if source.startswith(IMAGENET):
            spec = backbones.find(source.removeprefix(IMAGENET))
            network = imagenet_network(spec, offline=offline, progress=progress)
            return cls(network, View(spec.size, "crop"), spec.name, spec.scheme)
        opened = ModelBundle.open(Path(source))
        if opened.members:
            raise ModelError(
                f"{source} is an ensemble of {len(opened.members)} models. Expected a model with one network.",
                hint=f"Inspect a member: transfer-cli inspect {shell_command(str(opened.members[0].directory))}",
            )
        own = opened.bundle.backbone
        scheme = own.get("preprocess") or backbones.row_of(str(own["name"])).scheme
        return cls(bundle_network(opened), opened.views[0], str(own["name"]), scheme)


def bundle_network(opened: OpenedBundle) -> Any:
    """Return the Keras network of a bundle, up to the classes, or up to the features if a classifier follows."""
    from transfer_cli.models.keras_file import load_keras

    return load_keras(opened.directory / (NETWORK_FILE if opened.bundle.kind == "network" else BACKBONE_FILE))


def imagenet_network(spec: BackboneSpec, *, offline: bool = False, progress: Progress = SILENT) -> Any:
    """Return a backbone with its 1000 ImageNet classes; raise WeightsError if its weights are not available."""
    require_available(imagenet_files(spec, top=True, size=spec.size), offline=offline)

    from transfer_cli.models.backbone import build_with_top

    return build_with_top(spec, offline=offline, progress=progress)
