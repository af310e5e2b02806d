"""Feature extraction: a frozen backbone, and a classifier that is trained on its features."""

from __future__ import annotations

from functools import partial

from transfer_cli.audit.grouping import compiled_backbone
from transfer_cli.catalog import classifiers
from transfer_cli.data.groups import assign_group_ids
from transfer_cli.data.split import Split
from transfer_cli.errors import InputError
from transfer_cli.features.shared_extraction import ExtractedFolder, SharedExtraction, link
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.io.atomic import atomic_write, remove, scratch_folder
from transfer_cli.models.weights.own_weights import check_weights
from transfer_cli.quiet_imports import import_in_background
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.scoring import thresholds_note
from transfer_cli.training.setup.claim import check_can_start, claim, completed_result
from transfer_cli.training.setup.labels import check_needs_no_labels
from transfer_cli.training.setup.resolve import resolve_recipe
from transfer_cli.training.setup.split import make_split, warn_of_few_images, write_split

_FEW_PER_CLASS = 5
"""With fewer images a class is missing in some fold of the cross-validation."""
_FOR_CLASSIFIER = ("transfer_cli.classifiers.fit", "skops.io", "scipy.stats")
"""Modules that take seconds to import, and are not needed before the features are there."""


def extract(request: TrainingRequest, recipe: ExtractRecipe, shared: SharedExtraction | None = None) -> TrainingResult:
    """Train a classifier on the features of a frozen backbone, and score it.

    Each image passes once through the backbone. With a validation set the classifier is trained on the training set
    alone; without one, the metrics of val are out-of-fold, and all images that are not in the test set are trained on.
    The test set is read once, at the end.

    Parameters
    ----------
    request : TrainingRequest
        A complete run of the same recipe is returned as it is.
    recipe : ExtractRecipe
    shared : SharedExtraction, optional
        Features and network of other runs on the same folder.

    Raises
    ------
    WeightsError
        If the pretrained weights are missing and cannot be downloaded. Nothing is written.
    RunError
        If the run directory holds another run.
    FolderError
        If too few images can be read.
    OutputError
        If the run cannot be written.
    GateError
        If the accuracy is below the minimum. The run keeps everything but the model.
    InputError
        If logs for TensorBoard are requested: there are no epochs.
    """
    run = request.run
    if request.tensorboard:
        raise InputError(
            "extract has no epochs to log for TensorBoard.", hint="Leave out --tensorboard, and see metrics.json."
        )
    with_model = _has_classifier(recipe)
    if not request.folder.is_labelled:
        check_needs_no_labels(request, recipe)
    recipe = resolve_recipe(request, recipe, keeps_model=with_model)
    check_weights(recipe.backbone.weights, recipe.spec)
    if run.is_complete(with_model=with_model, with_features=True) and not request.overwrite:
        run.check_matches(recipe, request.folder.source, request.command)
        return completed_result(request, partial(_val_note, recipe))
    with run.releasing_lock():
        return _train(request, recipe, shared or SharedExtraction())


def _train(request: TrainingRequest, recipe: ExtractRecipe, shared: SharedExtraction) -> TrainingResult:
    run = request.run
    check_can_start(request, recipe)
    network = shared.network = shared.network or compiled_backbone(request, recipe)
    claim(request, recipe)
    run.write_environment(recipe.seed, network.device)
    extracted = _extract_features(request, recipe, shared, network)
    split = extracted.split
    write_split(request, split, extracted.skipped)
    run.log(
        "features",
        width=network.width,
        runtime=network.runtime_version,
        skipped=len(extracted.skipped),
        split=split.counts(),
    )
    note = _val_note(recipe, split)
    if not _has_classifier(recipe):
        remove(run.model)  # of an earlier run
        return TrainingResult.complete(run, split, {}, extracted.skipped, note)
    warn_of_few_images(request, split, _FEW_PER_CLASS)
    with request.progress.track("starting scikit-learn", None):
        from transfer_cli.training.feature_classifier import train_classifier
    metrics = train_classifier(request, recipe, extracted, shared, note)
    return TrainingResult.complete(run, split, metrics, extracted.skipped, note)


def _has_classifier(recipe: ExtractRecipe) -> bool:
    return recipe.classifier.name != classifiers.NONE


def _val_note(recipe: ExtractRecipe, split: Split) -> str:
    held_out = "out-of-fold" if recipe.bag is None else "out-of-bag"
    return ", ".join(filter(None, ["" if "val" in split.counts() else held_out, thresholds_note(split)]))


def _extract_features(
    request: TrainingRequest, recipe: ExtractRecipe, shared: SharedExtraction, network: CompiledNetwork
) -> ExtractedFolder:
    """Write features.parquet, from the features that another run shares if there are any."""
    if shared.extracted is not None:
        with atomic_write(request.run.features) as target:
            link(shared.extracted.features, target)
        return shared.extracted
    with import_in_background(*(_FOR_CLASSIFIER if _has_classifier(recipe) else ())):
        shared.extracted = _run_network(request, recipe, network)
    if shared.earlier is not None:
        shared.reuse_network_of(shared.earlier)
    return shared.extracted


def _run_network(request: TrainingRequest, recipe: ExtractRecipe, network: CompiledNetwork) -> ExtractedFolder:
    """Run the network on all images, split them, and write features.parquet."""
    from transfer_cli.features import table
    from transfer_cli.features.extraction import FeatureExtractor

    folder, run = request.folder, request.run
    extractor = FeatureExtractor(request, recipe, network)
    with atomic_write(run.features) as target, scratch_folder(run.path, ".features-") as scratch:
        draft = scratch / "features.parquet"
        what = f"features by {recipe.backbone.name} on {network.runtime}"
        try:
            with request.progress.track(what, len(folder.files)) as advance:
                read = table.write_features(
                    draft, extractor.batches(), extractor.rows, folder, width=network.width, advance=advance
                )
            extractor.check()
        finally:
            # An interrupted run leaves its features in the cache.
            extractor.close()
        split, groups = make_split(request, recipe, read, lambda: (read.indices, table.read(draft)))
        table.add_split_column(draft, target, split, network.width)
    group_ids = assign_group_ids(read.digests, groups)
    return ExtractedFolder(split, read.skipped, group_ids, run.features, extractor.prints)
