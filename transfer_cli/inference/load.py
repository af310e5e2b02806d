"""Load a model from a run, a bundle, an export or ImageNet weights."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.bundle.files import BACKBONE_FILE, CLASSIFIER_FILE, GRAPH_FILE, LINEAR_FILE, NETWORK_FILE
from transfer_cli.calibration.rejection import REJECTION_FILE
from transfer_cli.catalog import backbones, ensemble_methods, runtimes
from transfer_cli.catalog.backbones import BackboneSpec
from transfer_cli.classifiers.linear import Linear
from transfer_cli.data.decoding import DECODER
from transfer_cli.errors import ModelError
from transfer_cli.inference import exported_model, network_sources
from transfer_cli.inference import runtimes as running
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.inference.models import IMAGENET, AbstractModel, FeatureModel, Images, NetworkModel
from transfer_cli.io.cache import Cache
from transfer_cli.io.untrusted.checked_output import guarded
from transfer_cli.models.weights.integrity import must_be_what_keras_knows
from transfer_cli.models.weights.registry import cache_folder, imagenet_files, must_be_had
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe.sections import Inference


def load(
    source: str,
    *,
    runtime: str = runtimes.AUTO,
    images: int = 0,
    offline: bool = False,
    cache: Cache | None = None,
    progress: Progress = SILENT,
) -> AbstractModel:
    """Return the model of a run, a bundle or an exported file, or ``imagenet:BACKBONE`` with its own 1000 classes.

    Parameters
    ----------
    source : str
    runtime : str
        ``auto``: the one the bundle was made for, from the graph in it, or Keras on a graphics card.
    images : int
        How many there are to predict, as far as that is known.
    offline : bool
    cache : Cache, optional
        Where converted networks are kept; the person's own where it is not given.
    progress : Progress

    Raises
    ------
    ModelError
        When it is missing, damaged, of a newer version, or holds anything but what the catalog makes.
    WeightsError
        When the weights of ``imagenet:BACKBONE`` cannot be had.
    MissingExtraError
        When the runtime is not installed.
    """
    cache = cache or Cache.of_user()
    if exported_model.is_exported(Path(source)):
        return _exported(Path(source), runtime, progress)
    if source.startswith(IMAGENET):
        spec = backbones.find(source.removeprefix(IMAGENET))
        name = running.resolve(runtime, images=images, keeps_model=False, parameters=spec.parameters)
        return _imagenet(spec, Inference(runtime=name), offline, cache, progress)
    return _Loading(runtime, images, cache, progress).model(ModelBundle.open(Path(source)))


def load_members(
    opened: Sequence[OpenedBundle], *, cache: Cache | None = None, progress: Progress = SILENT
) -> list[AbstractModel]:
    """Return the models of some bundles as those of one ensemble: a network that several have is loaded once."""
    loading = _Loading(runtimes.AUTO, 0, cache or Cache.of_user(), progress)
    return [loading.model(each) for each in opened]


class _Loading:
    """How bundles are loaded; the networks that several members of an ensemble have are loaded once.

    Parameters
    ----------
    runtime, pictures, cache, progress
        As for `load`.
    """

    def __init__(self, runtime: str, images: int, cache: Cache, progress: Progress) -> None:
        self._runtime, self._images, self._cache, self._progress = runtime, images, cache, progress
        self._networks: dict[str, Callable[[Images], Any]] = {}

    def model(self, opened: OpenedBundle) -> AbstractModel:
        """Return the model of a bundle whose digests were compared."""
        bundle, directory = opened.bundle, opened.directory
        if opened.members:
            return self._ensemble(opened)
        _must_see_alike(bundle.decoder, self._progress)
        inference = _inference(bundle, self._runtime, self._images, self._progress)
        key = _network_key(bundle, inference)
        if key not in self._networks:
            self._networks[key] = _run_of(bundle, directory, inference, self._cache, self._progress)
        return _read_out(bundle, directory, self._networks[key])

    def _ensemble(self, opened: OpenedBundle) -> AbstractModel:
        from transfer_cli.inference.ensemble_model import EnsembleModel

        bundle, directory = opened.bundle, opened.directory
        linear = None
        if bundle.combination == ensemble_methods.STACK:
            if LINEAR_FILE not in bundle.files:
                raise ModelError(f"{directory} gives no digest of {LINEAR_FILE}, which joins the members' answers.")
            linear = Linear.load(directory / LINEAR_FILE)
            linear.must_give(len(bundle.class_names), directory / LINEAR_FILE)
            linear.must_read(len(bundle.members) * len(bundle.class_names), directory / LINEAR_FILE)
        rejection = directory / REJECTION_FILE if REJECTION_FILE in bundle.files else None
        judge = judge_of([member.bundle for member in opened.members])
        if rejection is not None and judge is None:
            raise ModelError(f"{directory} holds {REJECTION_FILE}, but no member whose features it could go by.")
        return EnsembleModel(bundle, [self.model(member) for member in opened.members], linear, judge, rejection)


def judge_of(members: Sequence[ModelBundle]) -> int | None:
    """Return which member of an ensemble tells by its features whether a picture is one to judge; None: none can.

    The first whose backbone is as it was: what was trained on the pictures forgets what is unlike them all.
    """
    return next((place for place, bundle in enumerate(members) if bundle.kind == "features"), None)


def _network_key(bundle: ModelBundle, inference: Inference) -> str:
    """Return what tells the network of a bundle, and what runs it, from others."""
    files = {
        name: bundle.files[name].sha256 for name in (GRAPH_FILE, BACKBONE_FILE, NETWORK_FILE) if name in bundle.files
    }
    below = bundle.kind == "network" and LINEAR_FILE in bundle.files
    made_for = bundle.recipe.get("inference", {})
    return json.dumps([bundle.kind, below, files, made_for, inference.model_dump(mode="json"), bundle.image_size])


def _read_out(bundle: ModelBundle, directory: Path, run: Callable[[Images], Any]) -> AbstractModel:
    """Return the model whose network is `run`."""
    rejection = directory / REJECTION_FILE if REJECTION_FILE in bundle.files else None
    classes = len(bundle.class_names)
    if LINEAR_FILE in bundle.files:
        linear = Linear.load(directory / LINEAR_FILE)
        linear.must_give(classes, directory / LINEAR_FILE)
        features = guarded(run, directory, len(linear.kernel))
        return FeatureModel(bundle, features, linear.probabilities, rejection, run)
    if bundle.kind == "network":
        given = guarded(run, directory, classes)
        return NetworkModel(given, bundle.class_names, bundle.image_size, bundle.resize, bundle.thresholds)

    from transfer_cli.classifiers import fit
    from transfer_cli.classifiers.skops_file import width_of

    file = directory / CLASSIFIER_FILE
    pipeline = fit.load(file)
    # Of classes that are known, but with contents that do not fit, scikit-learn raises whatever it meets first.
    plain = partial(fit.probabilities, pipeline, classes=classes)
    answers = guarded(plain, file, classes, failures=(Exception,))
    return FeatureModel(bundle, guarded(run, directory, width_of(pipeline, file)), answers, rejection, run)


def _exported(path: Path, runtime: str, progress: Progress) -> NetworkModel:
    facts = exported_model.facts_of(path)
    if runtime != runtimes.AUTO:
        raise ModelError(f"{path} is made for its own runtime. Received: --runtime {runtime}.", hint="Leave it out.")
    _must_see_alike(facts.decoder, progress)
    # Whatever its runtime raises where the graph does not fit what the file says of itself.
    opened = exported_model.open_exported(path, facts)
    run = guarded(opened, path, len(facts.class_names), failures=(Exception,))
    return NetworkModel(run, facts.class_names, facts.image_size, facts.resize, facts.thresholds)


def _must_see_alike(decoder: str, progress: Progress) -> None:
    if decoder != DECODER:
        progress.warn(f"the model was made with the decoder {decoder}; this one is {DECODER}")


def has_gradient(bundle: ModelBundle) -> bool:
    """Return whether what a bundle says is a function that can be differentiated: a network, or one with a matrix."""
    return bundle.kind == "network" or (bundle.kind == "features" and LINEAR_FILE in bundle.files)


def _inference(bundle: ModelBundle, runtime: str, images: int, progress: Progress) -> Inference:
    """Return what runs a bundle: what was asked for, else what it was made for, as far as that is here."""
    try:
        own = Inference.model_validate(bundle.recipe.get("inference", {"runtime": runtimes.KERAS}))
    except ValidationError as error:
        raise ModelError(f"The bundle is made for a runtime that this program does not know: {error}.") from None
    if runtime != runtimes.AUTO:
        return own if runtime == own.runtime else Inference(runtime=runtime)
    if GRAPH_FILE not in bundle.files or (running.has_gpu() and images >= running.WORTH_CONVERTING):
        return Inference(runtime=runtimes.KERAS)
    if not runtimes.find(own.runtime).is_here:
        progress.warn(f"{own.runtime}, which the bundle was made for, is not installed: Keras predicts, more slowly")
        return Inference(runtime=runtimes.KERAS)
    return own


def _run_of(
    bundle: ModelBundle, directory: Path, inference: Inference, cache: Cache, progress: Progress
) -> Callable[[Images], Any]:
    """Return what runs the network of a bundle."""
    made_for = bundle.recipe.get("inference", {}).get("runtime")
    if inference.runtime == made_for and GRAPH_FILE in bundle.files:
        # It was compared with Keras on this runtime before it became part of the bundle.
        return running.open_graph(
            inference.runtime, directory / GRAPH_FILE, inference.precision, size=bundle.image_size
        )
    file = directory / (NETWORK_FILE if bundle.kind == "network" else BACKBONE_FILE)
    below_logits = bundle.kind == "network" and LINEAR_FILE in bundle.files
    classes = bundle.kind == "network" and not below_logits
    source = network_sources.file_source(file, classes=classes, below_logits=below_logits)
    return CompiledNetwork(source, inference, cache, progress)


def _imagenet(
    spec: BackboneSpec, inference: Inference, offline: bool, cache: Cache, progress: Progress
) -> NetworkModel:
    must_be_had(imagenet_files(spec, top=True, size=spec.size), offline=offline)
    source = network_sources.imagenet_source(spec, offline=offline, progress=progress)
    return NetworkModel(CompiledNetwork(source, inference, cache, progress), imagenet_names(), spec.size, "crop")


def imagenet_names() -> tuple[str, ...]:
    """Return the names of ImageNet's 1000 classes in the order of a backbone's output.

    Two names stand for two classes each (crane, maillot); these carry their WordNet number.
    """
    path = cache_folder() / backbones.CLASS_INDEX.name
    must_be_what_keras_knows(backbones.CLASS_INDEX)
    try:
        index = json.loads(path.read_text("utf-8"))
        pairs = [index[str(column)] for column in range(len(index))]
        count = Counter(name for _, name in pairs)
        return tuple(name if count[name] == 1 else f"{name} ({number})" for number, name in pairs)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is not ImageNet's table of classes: {error}.") from error
