"""Off-the-shelf transfer: features of a frozen backbone, a classifier on them, an honest score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from transfer_cli.bundle import FORMAT_VERSION, ModelBundle
from transfer_cli.catalog import backbones, classifiers
from transfer_cli.engine.images import DECODER, batches
from transfer_cli.engine.scores import score_parts
from transfer_cli.engine.startup import import_ahead, start_tensorflow
from transfer_cli.errors import FolderError, ImageError
from transfer_cli.folder import PARTS, ImageFolder, describe_left_out
from transfer_cli.metrics import Metrics
from transfer_cli.predictions import Skipped, read_skipped, write_skipped
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe import Recipe
from transfer_cli.run import RunDirectory
from transfer_cli.split import Split
from transfer_cli.tables import write_table
from transfer_cli.weights import imagenet_files, must_be_had, must_be_known
from transfer_cli.writing import write_json, written_whole

if TYPE_CHECKING:
    from transfer_cli.engine.classify import Fitted


@dataclass(frozen=True)
class ExtractResult:
    """What a run of extract came to.

    Attributes
    ----------
    run : RunDirectory
    metrics : mapping
        As in metrics.json; empty without a classifier.
    skipped : tuple of Skipped
    out_of_fold : bool
        Whether the val figures are out-of-fold predictions of the training pictures.
    was_complete : bool
        Whether the run was there already, so that nothing was done.
    """

    run: RunDirectory
    metrics: Metrics
    skipped: tuple[Skipped, ...]
    out_of_fold: bool
    was_complete: bool = False


def extract(
    folder: ImageFolder,
    recipe: Recipe,
    run: RunDirectory,
    *,
    split: Split | None = None,
    offline: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    command: Sequence[str] = (),
    progress: Progress = SILENT,
) -> ExtractResult:
    """Make a classifier from a folder of pictures and score it.

    Every picture goes once through the frozen backbone; the classifier learns from the features. With a val part the
    classifier learns from train alone; without one the val figures are out-of-fold, and the classifier learns
    from all pictures that are not test. The test part is read once, at the end.

    Parameters
    ----------
    folder : ImageFolder
    recipe : Recipe
    run : RunDirectory
        Where everything is written. A complete run of the same recipe is returned as it is.
    split : Split, optional
        Followed for the pictures it knows; else the run's own, else split.csv in the folder.
    offline : bool
        Never open a socket.
    strict : bool
        Raise ImageError at the first picture that cannot be read.
    overwrite : bool
        Replace an earlier run, keeping its split.
    command : sequence of str
        Written to command.txt.
    progress : Progress

    Raises
    ------
    WeightsError
        When the backbone's weights cannot be had. Nothing is written.
    RunError
        When the run directory holds another run.
    FolderError
        When too few pictures can be read to learn from.
    OutputError
        When the run cannot be written.
    """
    recipe = recipe.resolved()
    must_be_known(recipe.backbone.weights)
    with_model = recipe.classifier.name != classifiers.NONE
    if run.is_complete(with_model=with_model) and not overwrite:
        run.must_match(recipe, folder.root)
        return _complete(run, folder, strict, progress)
    spec = backbones.find(recipe.backbone.name)
    if recipe.backbone.weights == "imagenet":
        # Before TensorFlow is loaded, so that a missing file is said at once.
        must_be_had(imagenet_files(spec, top=False, size=_size(recipe)), offline=offline)
    network: Any = None
    if overwrite:
        # What is there is not given up before it is known that the new run can begin.
        network, device = _network(recipe, offline, progress)
    run.begin(recipe, folder.root, command=command, overwrite=overwrite)
    run.log("begin", folder=str(folder.root.resolve()), pictures=len(folder.files), backbone=spec.name)
    for line in filter(None, [folder.in_words(), describe_left_out(folder.left_out)]):
        progress.note(line)
    for line in folder.warnings():
        progress.warn(line)
    if recipe.backbone.weights == "none":
        progress.warn("the network has random weights: it knows nothing of pictures, and the score will show it")
    if network is None:
        network, device = _network(recipe, offline, progress)
    run.write_environment(recipe.seed, device)
    if with_model:
        import_ahead("transfer_cli.engine.classify", "skops.io", "scipy.stats")
    split, skipped = _features(folder, recipe, run, network, _existing(split, run, folder), strict, progress)
    progress.note(split.in_words())
    for line in split.warnings():
        progress.warn(line)
    run.log("features", width=network.output_shape[-1], skipped=len(skipped), parts=split.counts())
    metrics: Metrics = {}
    if with_model:
        metrics = _classify(recipe, run, network, split, progress)
    write_json(run.metrics, metrics)
    run.log("end", metrics=metrics)
    return ExtractResult(run, metrics, skipped, "val" not in split.counts())


def _size(recipe: Recipe) -> int:
    assert recipe.images.size is not None  # resolved
    return recipe.images.size


def _complete(run: RunDirectory, folder: ImageFolder, strict: bool, progress: Progress) -> ExtractResult:
    skipped = read_skipped(run.skipped)
    if strict and skipped:
        raise ImageError(f"{skipped[0].path} could not be read: {skipped[0].reason}.")
    split = Split.read(run.split)
    known = {row.path for row in split.rows} | {item.path for item in skipped}
    new = [file.path for file in folder.files if file.path not in known]
    gone = known - {file.path for file in folder.files}
    if new or gone:
        progress.warn(
            f"the folder has changed since this run: {len(new)} new pictures, {len(gone)} gone. "
            "To learn from it as it is now, add --overwrite; the test pictures stay the same"
        )
    metrics = run.read_metrics()
    return ExtractResult(run, metrics, skipped, "val" not in split.counts(), was_complete=True)


def _existing(split: Split | None, run: RunDirectory, folder: ImageFolder) -> Split | None:
    if split is not None:
        return split
    for path in (run.split, folder.root / run.split.name):
        if path.is_file():
            return Split.read(path)
    return None


def _network(recipe: Recipe, offline: bool, progress: Progress) -> tuple[Any, str]:
    with progress.track("starting TensorFlow", None):
        device = start_tensorflow()

        from transfer_cli.engine import backbone

        network = backbone.build(
            backbones.find(recipe.backbone.name),
            weights=recipe.backbone.weights,
            size=recipe.images.size,
            layer=recipe.backbone.layer,
            pooling=recipe.backbone.pooling,
            seed=recipe.seed,
            offline=offline,
            progress=progress,
        )
    return network, device


def _features(
    folder: ImageFolder,
    recipe: Recipe,
    run: RunDirectory,
    network: Any,
    existing: Split | None,
    strict: bool,
    progress: Progress,
) -> tuple[Split, tuple[Skipped, ...]]:
    """Write features.parquet, split.csv and skipped.csv."""
    from transfer_cli.engine import backbone, features

    read = batches(
        (file.path for file in folder.files),
        size=_size(recipe),
        resize=recipe.images.resize,
        batch_size=recipe.batch_size,
        root=folder.root,
        strict=strict,
    )
    width = network.output_shape[-1]
    with written_whole(run.features) as target, TemporaryDirectory(prefix=".features-", dir=run.path) as place:
        draft = Path(place) / "features.parquet"
        with progress.track(f"features by {recipe.backbone.name}", len(folder.files)) as advance:
            found = features.extract_to(draft, read, backbone.run(network), folder, width=width, advance=advance)
        split = Split.make(
            [folder.files[index] for index in found.indices],
            found.digests,
            test=recipe.split.test,
            val=recipe.split.val,
            seed=recipe.split.seed,
            existing=existing,
        )
        _must_be_learnable(folder, split, found.skipped, progress)
        features.add_parts(draft, target, split, width)
    split.write(run.split)
    write_skipped(run.skipped, found.skipped)
    return split, found.skipped


def _must_be_learnable(folder: ImageFolder, split: Split, skipped: Sequence[Skipped], progress: Progress) -> None:
    readable = {row.label for row in split.rows}
    learnt = {row.label for row in split.rows if row.part == "train"}
    if missing := [name for name in folder.class_names if name in readable - learnt]:
        raise FolderError(
            f"{', '.join(missing)}: no picture of the train part could be read. Expected one or more of each class."
        )
    if len(learnt) < 2:
        unread = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:5])
        raise FolderError(
            f"A classifier needs two classes or more. Received: pictures of {len(learnt)}; {len(split.rows)} pictures "
            f"of {folder.root} could be read, {len(skipped)} could not.{unread}"
        )
    for name in folder.class_names:
        if name not in readable:
            progress.warn(f"class {name} is left out: none of its pictures could be read")


def _classify(recipe: Recipe, run: RunDirectory, network: Any, split: Split, progress: Progress) -> Metrics:
    """Fit, score and save the classifier; return the figures of each part."""
    with progress.track("starting scikit-learn", None):
        from transfer_cli.engine import classify, features, model

    matrix = features.read(run.features)
    names = split.class_names
    truth = split.truth()
    train, val, test = (split.mask(part) for part in PARTS)
    spec = classifiers.find(recipe.classifier.name)
    fitted = classify.fit(
        spec,
        matrix[train],
        truth[train],
        classes=len(names),
        tune=bool(recipe.classifier.tune),
        seconds=recipe.classifier.tune_seconds,
        out_of_fold=not val.any(),
        seed=recipe.seed,
        progress=progress,
    )
    _write_history(fitted, spec, run)
    scored = {}
    if fitted.out_of_fold is not None:
        known = ~np.isnan(fitted.out_of_fold[:, 0])
        scored["val"] = np.flatnonzero(train)[known], fitted.out_of_fold[known]
    for part, mask in (("val", val), ("test", test)):
        if mask.any():
            scored[part] = np.flatnonzero(mask), classify.probabilities(fitted.pipeline, matrix[mask], len(names))
    metrics = score_parts(run, split, scored)

    def save(directory: Path) -> None:
        network.save(directory / model.BACKBONE_FILE)
        classify.save(fitted.pipeline, directory / model.CLASSIFIER_FILE)

    _bundle(recipe, names, network, run).write(run.model, save)
    return metrics


def _bundle(recipe: Recipe, names: tuple[str, ...], network: Any, run: RunDirectory) -> ModelBundle:
    return ModelBundle(
        format_version=FORMAT_VERSION,
        kind="features",
        task="single-label",
        class_names=names,
        image_size=_size(recipe),
        resize=recipe.images.resize,
        decoder=DECODER,
        backbone={**recipe.backbone.model_dump(exclude_none=True), "width": network.output_shape[-1]},
        versions=run.versions(),
        recipe=recipe.model_dump(exclude_none=True),
    )


def _write_history(fitted: Fitted, spec: classifiers.ClassifierSpec, run: RunDirectory) -> None:
    rows = (
        (trial.value, f"{trial.log_loss:.6f}", f"{trial.accuracy:.6f}", "yes" if trial.value == fitted.value else "no")
        for trial in fitted.trials
    )
    write_table(run.history, (spec.parameter or "value", "log_loss", "accuracy", "chosen"), rows)
