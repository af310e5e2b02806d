"""What extract and finetune have in common: how a run begins, which pictures it may learn from, what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from transfer_cli.bundle.bundle import FORMAT_VERSION, ModelBundle
from transfer_cli.calibration.fit import ValFit
from transfer_cli.catalog import backbones, runtimes
from transfer_cli.data import groups as grouping
from transfer_cli.data.decoding import DECODER
from transfer_cli.data.image_folder import ImageFolder, describe_left_out
from transfer_cli.data.skipped import Skipped, read_skipped, write_skipped
from transfer_cli.data.split import Split
from transfer_cli.errors import FolderError, GateError, ImageError, InputError, RunError
from transfer_cli.inference import runtimes as running
from transfer_cli.io.atomic import write_json
from transfer_cli.metrics.scores import Metrics, summary
from transfer_cli.models.weights.registry import imagenet_files, must_be_had
from transfer_cli.progress import Progress
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.accuracy_gate import FLAG, Gate
from transfer_cli.runs.request import Judged, TrainingRequest, TrainingResult, is_uneven
from transfer_cli.runs.run_directory import RunDirectory

Made = TypeVar("Made")
Chosen = TypeVar("Chosen", bound=Recipe)


def resolved(request: TrainingRequest, recipe: Chosen, *, keeps_model: bool) -> Chosen:
    """Return the recipe with nothing left open; a run that was begun goes on with the runtime it has.

    Parameters
    ----------
    request : Request
    recipe : Recipe
    keeps_model : bool
        Whether the run will hold a model.

    Raises
    ------
    InputError
        When an accuracy is asked for and there will be none.
    RecipeError
        When it groups pictures by something that names no group.
    """
    if recipe.split.group_by is not None:
        grouping.must_part([file.path for file in request.folder.files], recipe.split.group_by)
    if request.min_accuracy is not None:
        Gate(request.min_accuracy).must_fit(request.folder.task)
        if not keeps_model:
            raise InputError(f"{FLAG} is for a classifier, and this run makes none. Leave it out, or choose one.")
    runtime = recipe.inference.runtime
    if runtime == runtimes.AUTO and not request.overwrite:
        runtime = request.run.runtime() or runtime
    runtime = running.resolve(
        runtime,
        images=len(request.folder.files),
        keeps_model=keeps_model,
        parameters=backbones.find(recipe.backbone.name).parameters,
    )
    return recipe.resolved(request.folder.task).on_runtime(runtime)


def begin(
    request: TrainingRequest, recipe: Chosen, make: Callable[[], Made], plan: Callable[[Made], Chosen] | None = None
) -> Made:
    """Claim the run and return its network.

    Parameters
    ----------
    request : Request
    recipe : Recipe
        Resolved.
    make : callable
        Returns the network, or raises where the recipe does not fit it.
    plan : callable, optional
        Takes what `make` returned, and returns the recipe that is run instead.
    """
    folder, run, progress = request.folder, request.run, request.progress
    spec = backbones.find(recipe.backbone.name)
    if recipe.backbone.weights == "imagenet":
        # Before TensorFlow is loaded, so that a missing file is said at once.
        must_be_had(imagenet_files(spec, top=False, size=recipe.image_size), offline=request.offline)
    run.must_be_free(recipe, folder.source, overwrite=request.overwrite)
    for line in filter(None, [folder.summary(), describe_left_out(folder.left_out)]):
        progress.note(line)
    for line in folder.warnings():
        progress.warn(line)
    if recipe.backbone.weights == "none" and (spec.is_pretrained or not recipe.trains_all):
        progress.warn("the network has random weights: it knows nothing of pictures, and the score will show it")
    # Nothing is written, and nothing of an earlier run given up, before it is known that the new one can begin.
    network = make()
    if plan is not None:
        recipe = plan(network)
    run.begin(recipe, folder.source, command=request.command, overwrite=request.overwrite)
    run.log("begin", folder=str(folder.source.resolve()), images=len(folder.files), backbone=spec.name)
    return network


def make_split(
    request: TrainingRequest,
    recipe: Recipe,
    indices: Sequence[int],
    digests: Sequence[str],
    skipped: Sequence[Skipped],
    groups: Sequence[str | None] | None = None,
) -> Split:
    """Return the split of the pictures that could be read.

    Parameters
    ----------
    request : Request
    recipe : Recipe
    indices : sequence of int
        Their positions in the folder.
    digests : sequence of str
    skipped : sequence of Skipped
    groups : sequence of str or None, optional
        What the relatives of each picture are called (see relatives.groups_of).

    Raises
    ------
    FolderError
        When too few pictures can be read to learn from.
    """
    folder = request.folder
    split = Split.make(
        [folder.files[index] for index in indices],
        digests,
        test=recipe.split.test,
        val=recipe.split.val,
        seed=recipe.split.seed,
        existing=_existing(request),
        task=folder.task,
        groups=groups,
    )
    if groups is not None:
        shares = grouping.shares(groups, split, test=recipe.split.test, val=recipe.split.val)
        for line in [*grouping.warnings(groups, split), *shares]:
            request.progress.warn(line)
    _must_be_learnable(folder, split, skipped, request.progress)
    return split


def write_split(request: TrainingRequest, split: Split, skipped: Sequence[Skipped]) -> None:
    """Write split.csv and skipped.csv, and say what a person should know of the parts."""
    split.write(request.run.split)
    write_skipped(request.run.skipped, skipped)
    request.progress.note(split.summary())
    for line in split.warnings():
        request.progress.warn(line)


def complete(request: TrainingRequest, val_note: Callable[[Split], str]) -> TrainingResult:
    """Return what a complete run came to; say where the folder has changed since."""
    run, folder = request.run, request.folder
    skipped = read_skipped(run.skipped)
    if request.strict and skipped:
        raise ImageError(f"{skipped[0].path} could not be read: {skipped[0].reason}.")
    split = Split.read(run.split)
    _must_be_followed(request, split)
    metrics = run.read_metrics()
    must_still_be_good_enough(request, metrics, val_note(split))
    known = {row.path for row in split.rows} | {item.path for item in skipped}
    new = [file.path for file in folder.files if file.path not in known]
    gone = known - {file.path for file in folder.files}
    if new or gone:
        request.progress.warn(
            f"the folder has changed since this run: {len(new)} new pictures, {len(gone)} gone. "
            "To learn from it as it is now, add --overwrite; the test pictures stay the same"
        )
    return TrainingResult(run, metrics, skipped, val_note(split), was_complete=True, is_uneven=is_uneven(split))


def must_be_good_enough(request: Judged, metrics: Metrics, val_note: str) -> None:
    """Raise GateError where an accuracy was asked for that was not reached; the figures are written and said before.

    To be called before the model is written. The same run can be completed without the bar.
    """
    if request.min_accuracy is None:
        return
    run = request.run
    try:
        _judge(request, metrics, f"No model was written; {run.path} keeps the figures and predictions.", val_note)
    except GateError:
        write_json(run.metrics, metrics)
        run.log("gate", least=request.min_accuracy, metrics=metrics)
        raise


def must_still_be_good_enough(request: Judged, metrics: Metrics, val_note: str) -> None:
    """Raise GateError where a complete run has not the accuracy that is asked for now."""
    if request.min_accuracy is not None:
        _judge(request, metrics, f"The model of an earlier command is still in {request.run.model}.", val_note)


def _judge(request: Judged, metrics: Metrics, left: str, val_note: str) -> None:
    hint = (
        f"To take it as it is, give the same command without {FLAG}. For a better one: more pictures, a larger "
        "--backbone, or transfer-cli finetune where extract was used."
    )
    try:
        Gate(request.min_accuracy or 0.0).judge(metrics, ("test", "val"), left=left, hint=hint)
    except GateError:
        for part, figures in metrics.items():
            request.progress.note(summary(part, figures, f", {val_note}" if part == "val" and val_note else ""))
        raise


def _must_be_followed(request: TrainingRequest, split: Split) -> None:
    """Raise RunError where a split was asked for that the run did not follow."""
    wanted = {row.path: row.part for row in request.split.rows} if request.split else {}
    for row in split.rows:
        if (part := wanted.get(row.path, row.part)) != row.part:
            raise RunError(
                f"{request.run.path} is complete with other parts: {row.path} is in {row.part} there, and in {part} by "
                "the split that was asked for.",
                hint="Choose another place with -o RUN, or --overwrite to replace it.",
            )


def new_bundle(
    kind: Literal["features", "network"],
    recipe: Recipe,
    split: Split,
    width: int,
    run: RunDirectory,
    fitted: ValFit,
) -> ModelBundle:
    """Return the manifest of what was trained, its files still to come.

    Parameters
    ----------
    kind : {"features", "network"}
    recipe : Recipe
    split : Split
        What was learnt from.
    width : int
        Numbers a feature.
    run : RunDirectory
    fitted : Trust
        What was fitted on val.
    """
    return ModelBundle(
        format_version=FORMAT_VERSION,
        kind=kind,
        task=split.task,
        class_names=split.class_names,
        thresholds=None if fitted.thresholds is None else tuple(fitted.thresholds.tolist()),
        temperature=fitted.temperature,
        image_size=recipe.image_size,
        resize=recipe.images.resize,
        decoder=DECODER,
        backbone={**recipe.backbone.model_dump(exclude_none=True), "width": width},
        versions=run.versions(),
        recipe=recipe.model_dump(mode="json", exclude_none=True),
    )


def write_card(
    request: TrainingRequest,
    directory: Path,
    bundle: ModelBundle,
    split: Split,
    metrics: Metrics,
    fitted: ValFit,
    val_note: str,
) -> None:
    """Write MODEL_CARD.md beside the other files of a bundle."""
    from transfer_cli.bundle import model_card

    skipped = len(read_skipped(request.run.skipped))
    model_card.write(
        directory, bundle, split, metrics, fitted, name=request.folder.name, skipped=skipped, val_note=val_note
    )


def _existing(request: TrainingRequest) -> Split | None:
    if request.split is not None:
        return request.split
    for path in (request.run.split, request.folder.root / request.run.split.name):
        if path.is_file():
            return Split.read(path)
    return None


def _must_be_learnable(folder: ImageFolder, split: Split, skipped: Sequence[Skipped], progress: Progress) -> None:
    readable = set(split.class_names)
    learnt = {name for name, count in split.learnt().items() if count}
    if missing := [name for name in folder.class_names if name in readable - learnt]:
        raise FolderError(
            f"{', '.join(missing)}: no picture of the train part could be read. Expected one or more of each class."
        )
    if len(learnt) < 2:
        unread = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:5])
        raise FolderError(
            f"A classifier needs two classes or more. Received: pictures of {len(learnt)}; {len(split.rows)} pictures "
            f"of {folder.source} could be read, {len(skipped)} could not.{unread}"
        )
    for name in folder.class_names:
        if name not in readable:
            progress.warn(f"class {name} is left out: none of its pictures could be read")
