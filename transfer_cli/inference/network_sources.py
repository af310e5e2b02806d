"""Descriptions of networks: what determines their output, and how to build them if no cached graph exists."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.bundle.files import BACKBONE_FILE, LINEAR_FILE, NETWORK_FILE
from transfer_cli.catalog.backbones import EMBEDDED, BackboneSpec
from transfer_cli.inference.backbone_network import build_backbone
from transfer_cli.inference.compiled_network import NetworkSource
from transfer_cli.inference.earlier_run import EarlierRun
from transfer_cli.io.digests import digest_of_file
from transfer_cli.models.weights import download
from transfer_cli.models.weights.registry import cache_folder, embedded_file, imagenet_files, require_weights_file
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe.recipes import Recipe

GRAPH_VERSION = 1
"""Increased whenever the same network is built or converted differently."""


def backbone_source(recipe: Recipe, *, offline: bool = False, progress: Progress = SILENT) -> NetworkSource:
    """Return the network of a resolved recipe, from images to features.

    Raises
    ------
    WeightsError
        If the weights are missing and cannot be downloaded.
    """
    choice, spec, size = recipe.backbone, recipe.spec, recipe.image_size
    top = spec.needs_top(choice.layer, choice.weights, size)
    facts: dict[str, Any] = {"backbone": spec.name}
    if spec.layers:
        facts["layers"] = [vars(layer) for layer in spec.layers]
    if choice.is_file:
        # By its digest: two files may have the same name, and one file several.
        facts = {"backbone": "file", "file": choice.sha256, "preprocess": choice.preprocess}
    if choice.starts_from_run:
        opened = EarlierRun.open(Path(choice.weights)).opened
        facts["weights"] = opened.bundle.files[NETWORK_FILE].sha256
    elif not choice.is_file:
        facts["weights"] = _weights(
            spec, choice.weights, size, recipe.seed, top=top, offline=offline, progress=progress
        )
    build = partial(build_backbone, recipe, offline=offline, progress=progress)
    return _source(build, **facts, size=size, layer=choice.layer, pooling=choice.pooling, top=top)


def imagenet_source(spec: BackboneSpec, *, offline: bool = False, progress: Progress = SILENT) -> NetworkSource:
    """Return the network from images to the probabilities of the 1000 ImageNet classes."""
    # The weights, and the names of their classes.
    download.download_missing(imagenet_files(spec, top=True, size=spec.size), offline=offline, progress=progress)
    weights = _weights(spec, "imagenet", spec.size, 0, top=True, offline=offline, progress=progress)

    def build() -> Any:
        from transfer_cli.models import backbone

        return backbone.build_with_top(spec, offline=offline, progress=progress)

    return _source(build, classes=True, backbone=spec.name, weights=weights, size=spec.size, top=True)


def bundle_source(opened: OpenedBundle) -> NetworkSource:
    """Return the network of a bundle, see `load_network`."""
    is_cut = is_below_logits(opened.bundle)
    facts = {"cut": "below the logits"} if is_cut else {}
    digest = opened.bundle.files[network_file(opened).name].sha256
    classes = opened.bundle.kind == "network" and not is_cut
    return _source(partial(load_network, opened), classes=classes, file=digest, **facts)


def load_network(opened: OpenedBundle) -> Any:
    """Load the Keras network of a bundle; if the bundle has its last dense layer as a matrix, only what is below it."""
    from transfer_cli.models.classifier_network import below_logits_of
    from transfer_cli.models.keras_file import load_keras

    network = load_keras(network_file(opened))
    return below_logits_of(network) if is_below_logits(opened.bundle) else network


def network_file(opened: OpenedBundle) -> Path:
    """Return the Keras file of a bundle."""
    return opened.directory / (NETWORK_FILE if opened.bundle.kind == "network" else BACKBONE_FILE)


def is_below_logits(bundle: ModelBundle) -> bool:
    """Return whether only the part of a bundle's network below its last dense layer is used."""
    return bundle.kind == "network" and LINEAR_FILE in bundle.files


def _source(build: Callable[[], Any], classes: bool = False, **facts: Any) -> NetworkSource:
    versions = {package: metadata.version(package) for package in ("keras", "tensorflow")}
    return NetworkSource({**facts, **versions, "graph": GRAPH_VERSION}, build, classes)


def _weights(
    spec: BackboneSpec, weights: str, size: int, seed: int, *, top: bool, offline: bool, progress: Progress
) -> str:
    """Return what identifies the weights: a digest, or a random seed."""
    if spec.is_handcrafted:
        return "none"
    if weights == "none":
        return f"random, seed {seed}"
    if weights == EMBEDDED:
        return digest_of_file(embedded_file(spec)).sha256
    if weights != "imagenet":
        require_weights_file(weights)
        return digest_of_file(Path(weights)).sha256
    file = spec.weights_file(top=top, size=size)
    download.download_missing([file], offline=offline, progress=progress)
    return digest_of_file(cache_folder() / file.name).sha256
