"""Load a model from a run, a bundle, an exported file or ImageNet weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from transfer_cli.arguments import StrPath, as_text
from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.bundle.files import BACKBONE_FILE, CLASSIFIER_FILE, GRAPH_FILE, LINEAR_FILE, MANIFEST, NETWORK_FILE
from transfer_cli.bundle.manifest import bundle_directory
from transfer_cli.calibration.rejection import REJECTION_FILE
from transfer_cli.catalog import backbones, ensemble_methods, runtimes
from transfer_cli.classifiers.linear import Linear, Predict
from transfer_cli.data.decoding import DECODER
from transfer_cli.errors import ModelError, UnknownNameError
from transfer_cli.inference import exported_model
from transfer_cli.inference import runtimes as running
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.inference.ensemble_model import EnsembleModel
from transfer_cli.inference.imagenet_classes import ImageNetClasses
from transfer_cli.inference.models import IMAGENET, AbstractModel, FeatureModel, Images, NetworkModel
from transfer_cli.inference.network_sources import bundle_source, imagenet_source, is_below_logits
from transfer_cli.io.cache import Cache
from transfer_cli.io.untrusted.checked_output import check_output
from transfer_cli.io.untrusted.json_text import validation_summary
from transfer_cli.models.weights.registry import imagenet_files, require_available
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe.sections import Inference

PACKED_SUFFIX = ".zip"
_SKLEARN = "scikit-learn"


def load(
    source: StrPath,
    *,
    runtime: str = runtimes.AUTO,
    images: int = 0,
    offline: bool = False,
    cache: Cache | None = None,
    progress: Progress = SILENT,
) -> AbstractModel:
    """Load the model of a run, a bundle, a packed bundle or an exported file, or ``imagenet:BACKBONE``.

    Parameters
    ----------
    source : str or os.PathLike
        A run, its ``model`` folder, an exported file, or ``imagenet:BACKBONE``.
    runtime : str
        ``auto``: the runtime that the bundle was made for, or Keras on a GPU.
    images : int
        Number of images to predict, as far as it is known.
    offline : bool
    cache : Cache, optional
        Where converted graphs are stored; the user's cache by default.
    progress : Progress

    Raises
    ------
    ModelError
        If the model is missing, damaged or of another format version, or holds an unexpected type.
    WeightsError
        If the weights of ``imagenet:BACKBONE`` are missing and cannot be downloaded.
    MissingExtraError
        If the runtime is not installed.
    """
    source = as_text(source, "a run, a bundle, an exported file or imagenet:BACKBONE")
    cache = cache or Cache.of_user()
    if exported_model.is_exported(Path(source)):
        return _load_exported(Path(source), runtime, progress)
    if source.startswith(IMAGENET):
        spec = backbones.find(source.removeprefix(IMAGENET))
        name = running.resolve(runtime, images=images, keeps_model=False, parameters=spec.parameters)
        require_available(imagenet_files(spec, top=True, size=spec.size), offline=offline)
        network = imagenet_source(spec, offline=offline, progress=progress)
        run = CompiledNetwork.build(network, Inference(runtime=name), cache, progress)
        return NetworkModel(run, ImageNetClasses.read().names, spec.size, "crop")
    source = unpacked_source(source)
    while True:
        before = _manifest_of(Path(source))
        try:
            model = _Loader(runtime, images, cache, progress).load(ModelBundle.open(Path(source)))
        except ModelError:
            if _manifest_of(Path(source)) == before:
                raise
            continue
        # If a training replaced the model meanwhile, files of both may have been read.
        if _manifest_of(Path(source)) == before:
            return model


def unpacked_source(source: str) -> str:
    """Return the path of a model; of a packed bundle that of a temporary folder with its content.

    Raises
    ------
    ModelError
        If the packed bundle does not pass the checks.
    """
    if Path(source).suffix.lower() != PACKED_SUFFIX or not Path(source).is_file():
        return source
    from transfer_cli.inference.bundle_archive import unpacked

    return str(unpacked(Path(source)))


def _manifest_of(path: Path) -> bytes | None:
    try:
        return (bundle_directory(path) / MANIFEST).read_bytes()
    except (OSError, ModelError):
        return None


def load_members(
    opened: Sequence[OpenedBundle], *, cache: Cache | None = None, progress: Progress = SILENT
) -> list[AbstractModel]:
    """Load bundles as the members of one ensemble: a network that several of them contain is loaded once."""
    loader = _Loader(runtimes.AUTO, 0, cache or Cache.of_user(), progress)
    return [loader.load(each) for each in opened]


class _Loader:
    """Loads bundles, and each network that several of them contain only once."""

    def __init__(self, runtime: str, images: int, cache: Cache, progress: Progress) -> None:
        self._runtime, self._images, self._cache, self._progress = runtime, images, cache, progress
        self._networks: dict[str, Callable[[Images], Any]] = {}

    def load(self, opened: OpenedBundle) -> AbstractModel:
        """Return the model of a verified bundle."""
        if opened.members:
            return self._load_ensemble(opened)
        _warn_of_other_decoder(opened.bundle.decoder, self._progress)
        _warn_of_other_sklearn(opened.bundle, self._progress)
        inference = _select_runtime(opened.bundle, self._runtime, self._images, self._progress)
        key = _network_key(opened.bundle, inference)
        if key not in self._networks:
            self._networks[key] = _load_network(opened, inference, self._cache, self._progress)
        return _with_classifier(opened, self._networks[key])

    def _load_ensemble(self, opened: OpenedBundle) -> EnsembleModel:
        bundle, directory, linear = opened.bundle, opened.directory, None
        if bundle.combination == ensemble_methods.STACK:
            linear = linear_of(opened, len(bundle.members) * len(bundle.class_names))
            if linear is None:
                raise ModelError(f"{directory} gives no digest of {LINEAR_FILE}, the classifier of its stacking.")
        rejection = _rejection_file(opened)
        member = rejection_member([each.bundle for each in opened.members])
        if rejection is not None and member is None:
            raise ModelError(f"{directory} holds {REJECTION_FILE}, but no member has a frozen backbone for it.")
        return EnsembleModel(bundle, [self.load(each) for each in opened.members], linear, member, rejection)


def linear_of(opened: OpenedBundle, width: int | None = None) -> Linear | None:
    """Return the linear classifier of a bundle, None if it has none.

    Raises
    ------
    ModelError
        If it does not fit the classes of the bundle, or takes other than `width` features.
    """
    if LINEAR_FILE not in opened.bundle.files:
        return None
    path = opened.directory / LINEAR_FILE
    linear = Linear.load(path)
    linear.check_classes(len(opened.bundle.class_names), path)
    if width is not None:
        linear.check_width(width, path)
    return linear


def classifiers_of(opened: OpenedBundle) -> Iterator[tuple[str, int, Predict]]:
    """Yield each form of a bundle's classifier, the fastest first: its file, number of features, and function."""
    if linear := linear_of(opened):
        yield LINEAR_FILE, len(linear.kernel), linear.probabilities
    if CLASSIFIER_FILE in opened.bundle.files:
        from transfer_cli.classifiers import fit
        from transfer_cli.classifiers.skops_file import width_of

        file, classes = opened.directory / CLASSIFIER_FILE, len(opened.bundle.class_names)
        pipeline = fit.load(file)
        predict = partial(fit.probabilities, pipeline, classes=classes)
        # If the contents of a known class do not fit, scikit-learn may raise any exception.
        yield CLASSIFIER_FILE, width_of(pipeline, file), check_output(predict, file, classes, failures=(Exception,))


def _rejection_file(opened: OpenedBundle) -> Path | None:
    return opened.directory / REJECTION_FILE if REJECTION_FILE in opened.bundle.files else None


def rejection_member(members: Sequence[ModelBundle]) -> int | None:
    """Return the index of the ensemble member whose features the rejection uses; None if there is none.

    It is the first one with a frozen backbone: features of a fine-tuned network separate out-of-distribution images
    worse.
    """
    return next((number for number, bundle in enumerate(members) if bundle.kind == "features"), None)


def _network_key(bundle: ModelBundle, inference: Inference) -> str:
    """Return what identifies the network of a bundle and its runtime."""
    files = {
        name: bundle.files[name].sha256 for name in (GRAPH_FILE, BACKBONE_FILE, NETWORK_FILE) if name in bundle.files
    }
    made_for = bundle.recipe.get("inference", {})
    runtime = inference.model_dump(mode="json")
    return json.dumps([bundle.kind, is_below_logits(bundle), files, made_for, runtime, bundle.image_size])


def _with_classifier(opened: OpenedBundle, run: Callable[[Images], Any]) -> AbstractModel:
    """Return the model that consists of a network and the classifier in a bundle."""
    bundle, directory = opened.bundle, opened.directory
    if bundle.kind == "network" and not is_below_logits(bundle):
        checked = check_output(run, directory, len(bundle.class_names))
        view, names = bundle.view, bundle.class_names
        return NetworkModel(checked, names, view.size, view.resize, bundle.thresholds, view.bit_depth)
    _, width, classify = next(classifiers_of(opened))
    return FeatureModel(bundle, check_output(run, directory, width), classify, _rejection_file(opened), run)


def _load_exported(path: Path, runtime: str, progress: Progress) -> NetworkModel:
    metadata = exported_model.exported_metadata(path)
    if runtime != runtimes.AUTO:
        raise ModelError(
            f"An exported model runs on its own runtime. Received: --runtime {runtime} for {path}.",
            hint="Remove --runtime.",
        )
    _warn_of_other_decoder(metadata.decoder, progress)
    # If the graph does not match its metadata, a runtime may raise any exception.
    opened = exported_model.open_exported(path, metadata)
    run = check_output(opened, path, len(metadata.class_names), failures=(Exception,))
    names, thresholds = metadata.class_names, metadata.thresholds
    return NetworkModel(run, names, metadata.image_size, metadata.resize, thresholds, metadata.bit_depth)


def _warn_of_other_decoder(decoder: str, progress: Progress) -> None:
    if decoder != DECODER:
        progress.warn(
            f"the model was trained with the image decoder {decoder}, this release has {DECODER}: predictions may "
            "differ slightly"
        )


def _warn_of_other_sklearn(bundle: ModelBundle, progress: Progress) -> None:
    """Warn if a classifier that scikit-learn runs was trained with another version of it."""
    if LINEAR_FILE in bundle.files or CLASSIFIER_FILE not in bundle.files:
        return
    trained, here = bundle.versions.get(_SKLEARN), version(_SKLEARN)
    # Only a number belongs into a command to type.
    if trained and trained != here and trained.replace(".", "").isalnum():
        progress.warn(
            f"the classifier was trained with {_SKLEARN} {trained}, and {here} is installed: predictions may differ "
            f"slightly. To have the same version: pip install {_SKLEARN}=={trained}"
        )


def has_gradient(bundle: ModelBundle) -> bool:
    """Return whether a bundle's predictions are differentiable: a network alone, or with a linear classifier."""
    return bundle.kind == "network" or (bundle.kind == "features" and LINEAR_FILE in bundle.files)


def _select_runtime(bundle: ModelBundle, runtime: str, images: int, progress: Progress) -> Inference:
    """Return the requested runtime, or the one that the bundle was made for if it is installed."""
    try:
        own = Inference.model_validate(bundle.recipe.get("inference", {"runtime": runtimes.KERAS}))
        # A bundle names what its choice was.
        runtimes.find(own.runtime)
    except (ValidationError, UnknownNameError) as error:
        reason = validation_summary(error) if isinstance(error, ValidationError) else str(error).rstrip(".")
        raise ModelError(
            f"The bundle was made for a runtime that this release does not support: {reason}.",
            hint="Install a newer release of transfer-cli.",
        ) from None
    if runtime != runtimes.AUTO:
        return own if runtime == own.runtime else Inference(runtime=runtime)
    if GRAPH_FILE not in bundle.files or (running.has_gpu() and images >= running.MIN_IMAGES_TO_CONVERT):
        return Inference(runtime=runtimes.KERAS)
    if not runtimes.find(own.runtime).is_installed:
        progress.warn(f"falling back to Keras (slower): the bundle was made for {own.runtime}, which is not installed")
        return Inference(runtime=runtimes.KERAS)
    return own


def _load_network(
    opened: OpenedBundle, inference: Inference, cache: Cache, progress: Progress
) -> Callable[[Images], Any]:
    """Return the function that runs the network of a bundle."""
    bundle = opened.bundle
    made_for = bundle.recipe.get("inference", {}).get("runtime")
    if inference.runtime == made_for and GRAPH_FILE in bundle.files:
        # Its output was compared with that of Keras before it was added to the bundle.
        graph = opened.directory / GRAPH_FILE
        return running.open_graph(inference.runtime, graph, inference.precision, size=bundle.image_size)
    return CompiledNetwork.build(bundle_source(opened), inference, cache, progress)
