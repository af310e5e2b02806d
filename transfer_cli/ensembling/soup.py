"""Model soup: one network with the mean of the weights of several fine-tuned networks (Wortsman et al. 2022).

Networks that were fine-tuned from the same weights often lie in one basin of the loss, so that the mean of their
weights is as accurate as the mean of their predictions, at the cost of a single network. The moving statistics of
BatchNorm are averaged, too. They need no re-estimation (Izmailov et al. 2018), since `finetune` freezes them: all
members have the same ones.

References
----------
M. Wortsman et al. (2022), "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time".
P. Izmailov et al. (2018), "Averaging Weights Leads to Wider Optima and Better Generalization".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.files import NETWORK_FILE
from transfer_cli.calibration.fit import ValFit
from transfer_cli.catalog import ensemble_methods, tasks
from transfer_cli.data.image_folder import ImageFile, ImageFolder
from transfer_cli.data.skipped import read_skipped
from transfer_cli.data.split import Split
from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.ensembling.members import Members
from transfer_cli.ensembling.request import EnsembleRequest
from transfer_cli.ensembling.soup_compatibility import check_same_architecture, check_same_origin
from transfer_cli.errors import InputError
from transfer_cli.inference.latency import MemberCosts
from transfer_cli.inference.load import load_members
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.metrics.scores import epoch_metrics
from transfer_cli.models import weight_averaging as averaging
from transfer_cli.models.weight_averaging import SoupCandidate, assign_weights, mean_of
from transfer_cli.quiet_imports import import_tensorflow
from transfer_cli.recipe.ensemble import EnsembleRecipe
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.earlier_images import copy_earlier_images
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.run_of_model import training_images_of
from transfer_cli.runs.scoring import thresholds_note
from transfer_cli.runs.selection_tables import copy_tables
from transfer_cli.text import counted
from transfer_cli.training.setup.image_store import Decoded, decode_all
from transfer_cli.training.setup.split import write_split

_SHARED = {"seed", "images", "split", "backbone", "inference", "head"}
"""Settings that a soup takes over from the recipe of its first member; the others may differ between members."""
_MAX_LISTED = 3


def soup(request: EnsembleRequest, members: Members, recipe: EnsembleRecipe, note: str) -> TrainingResult:
    """Write the run of one network with the mean of the members' weights.

    Two soups are compared on val: the uniform soup of all members, and the greedy soup, to which members are added in
    descending order of their accuracy, each only if the accuracy of the soup does not fall. If a member was refitted on
    val, no soup can be selected or scored on val: the uniform soup is written, with the mean temperature or the mean
    thresholds of its members.

    Parameters
    ----------
    request : EnsembleRequest
    members : Members
    recipe : EnsembleRecipe
        Resolved.
    note : str
        How the metrics on val are computed (see `val_note`).

    Raises
    ------
    InputError
        When the members are not fine-tuned from the same weights, or images are missing.
    GateError
        When the accuracy is below the required one.
    """
    check_same_origin(members)
    run, source = request.run, members.runs[0].source
    folder = _folder_of(members.split, replace(members.runs[0], images=request.images).root, source)
    run.claim(recipe, source, command=request.command, overwrite=request.overwrite)
    copy_earlier_images(members.runs[0].directory, run)
    run.write_images(members.runs[0].images_elsewhere)
    copy_tables(members.runs[0].directory, run)
    run.log("begin", members=list(members.names), combination=ensemble_methods.SOUP)
    training = TrainingRequest(
        folder, run, cache=request.cache, progress=request.progress, min_accuracy=request.min_accuracy
    )
    with request.progress.track("starting TensorFlow", None):
        run.write_environment(recipe.seed, import_tensorflow())
    return _SoupBuilder(request, members, recipe, training).build(note)


class _SoupBuilder:
    """Builds the run of a soup from its members."""

    def __init__(
        self, request: EnsembleRequest, members: Members, recipe: EnsembleRecipe, training: TrainingRequest
    ) -> None:
        self._request, self._members, self._recipe, self._training = request, members, recipe, training
        self._run, self._progress = training.run, training.progress
        self._first = FinetuneRecipe.load(str(members.runs[0].directory.recipe))
        self._monitor = tasks.TASKS[members.split.task].monitors[0]
        self._trained_on_val = _trained_on_val(members)

    def build(self, note: str) -> TrainingResult:
        from transfer_cli.models.classifier_network import LoadedNetwork
        from transfer_cli.training.loop.finalize import TrainedNetwork, finalize
        from transfer_cli.training.loop.micro_batches import MicroBatches, explain_out_of_memory

        run, members, split = self._run, self._members, self._members.split
        skipped = read_skipped(members.runs[0].directory.skipped)
        with ArrayStore(run.path) as scratch, explain_out_of_memory():
            network, weights = self._read_weights(scratch)
            decoded = decode_all(self._training, self._first, scratch)
            _check_unchanged(split, decoded, self._training.folder.root)
            selected = self._select(network, weights, decoded.images)
            assign_weights(network, mean_of(weights, selected))
            write_split(self._training, split, skipped)
            recipe = self._first.model_dump(mode="json", exclude_none=True, include=_SHARED)
            roles = members.training_images().roles_of([row.sha256 for row in split.rows])
            trained = TrainedNetwork(
                LoadedNetwork(network, int(members.bundles[0].bundle.backbone["width"])),
                MicroBatches.of(self._first, run, self._progress),
                split,
                decoded.images,
                np.flatnonzero([role == "train" for role in roles]),
                val_fit=self._mean_val_fit(selected) if self._trained_on_val else None,
                recipe=recipe | self._recipe.model_dump(mode="json", exclude_none=True),
            )
            metrics = finalize(self._training, self._first, trained, note)
        self._compare_members(selected).write(run.members)
        return TrainingResult.complete(run, split, metrics, skipped, note)

    def _compare_members(self, selected: Sequence[int]) -> MemberComparison:
        members, own = self._members, ModelBundle.open(self._run.model)
        bundles = [*members.bundles, own]
        with self._progress.track("measuring the speed of the members", None):
            models = load_members(bundles, cache=self._request.cache, progress=self._progress)
            costs = MemberCosts.measure(models, bundles)
        weights = [(number in selected) / len(selected) for number in range(len(members.runs))]
        thresholds = None if own.bundle.thresholds is None else np.array(own.bundle.thresholds)
        return MemberComparison.of(members, weights, costs, self._run, costs.alone(len(weights)), thresholds)

    def _read_weights(self, scratch: ArrayStore) -> tuple[Any, NDArray[np.float32]]:
        """Return the network of the first member, and the weights of each member, of shape (m, parameters)."""
        from transfer_cli.models.keras_file import load_keras

        names, bundles = self._members.names, self._members.bundles
        with self._progress.track("reading the weights", None):
            first = load_keras(bundles[0].directory / NETWORK_FILE)
            matrix = scratch.array((len(bundles), len(averaging.flat_weights(first))), np.float32)
            for number, opened in enumerate(bundles):
                network = load_keras(opened.directory / NETWORK_FILE) if number else first
                check_same_architecture(first, network, (names[0], names[number]))
                matrix[number] = averaging.flat_weights(network)
        return first, matrix

    def _select(self, network: Any, weights: NDArray[np.float32], images: NDArray[np.uint8]) -> tuple[int, ...]:
        """Return the members whose weights are averaged."""
        from transfer_cli.models.compile import inference_function

        every = tuple(range(len(weights)))
        rows = np.flatnonzero(self._members.split.mask("val"))
        if self._trained_on_val:
            self._progress.note(
                f"soup of all {len(every)} members: val cannot be used to select or score a soup, because members were "
                f"refitted on it ({', '.join(self._trained_on_val)}); temperature or thresholds are their mean"
            )
            return every
        if not len(rows):
            self._progress.note(f"soup of all {len(every)} members: there is no validation set to select members by")
            return every
        truth, size, run = self._members.split.truth()[rows], self._first.batch_size, inference_function(network)

        def score(members: Sequence[int]) -> float:
            assign_weights(network, mean_of(weights, members))
            batches = [run(images[rows[at : at + size]]) for at in range(0, len(rows), size)]
            return float(epoch_metrics(truth, np.concatenate(batches))[self._monitor])

        with self._progress.track("comparing soups on val", None):
            alone = [score((member,)) for member in every]
            uniform = SoupCandidate(every, score(every))
            best_greedy = averaging.greedy(sorted(every, key=lambda member: -alone[member]), score)
        selected = uniform if uniform.score >= best_greedy.score else best_greedy
        self._report(alone, uniform, best_greedy, selected)
        return tuple(sorted(selected.members))

    def _report(
        self, alone: Sequence[float], uniform: SoupCandidate, best_greedy: SoupCandidate, selected: SoupCandidate
    ) -> None:
        names, metric = self._members.names, self._monitor.replace("_", " ")
        listed = ", ".join(names[member] for member in best_greedy.members)
        kind = "uniform" if selected is uniform else "greedy"
        greedy = {"members": [names[member] for member in best_greedy.members], "score": best_greedy.score}
        scores = {"alone": list(alone), "uniform": uniform.score, "greedy": greedy}
        self._run.log("soup", monitor=self._monitor, **scores, selected=kind)
        self._progress.note(
            f"val {metric}: best member {max(alone):.3f}, uniform soup (all {len(alone)} members) {uniform.score:.3f}, "
            f"greedy soup ({listed}) {best_greedy.score:.3f}; selected: the {kind} soup"
        )
        if len(selected.members) == 1:
            self._progress.warn(
                f"the soup is {listed} alone: no average of weights is as good on val. Averaging the predictions may "
                f"be better: --method {ensemble_methods.AVERAGE}"
            )

    def _mean_val_fit(self, selected: Sequence[int]) -> ValFit:
        """Return the mean thresholds or temperature of the members, which were fitted before their refit on val."""
        bundles = [self._members.bundles[member].bundle for member in selected]
        thresholds = [bundle.thresholds for bundle in bundles if bundle.thresholds is not None]
        if thresholds:
            return ValFit(np.mean(thresholds, axis=0))
        return ValFit(None, averaging.mean_temperature([bundle.temperature for bundle in bundles]))


def val_note(members: Members) -> str:
    """Return how the metrics of a soup on val were computed; empty if there are none."""
    if not members.split.mask("val").any() or _trained_on_val(members):
        return ""
    return ", ".join(filter(None, ["the soup was selected on it", thresholds_note(members.split)]))


def _trained_on_val(members: Members) -> list[str]:
    """Return the names of the members that were refitted on validation images."""
    names = []
    for name, run in zip(members.names, members.runs, strict=True):
        images = training_images_of(str(run.directory.path))
        if images and "train" in images.roles_of([row.sha256 for row in run.split.rows if row.part == "val"]):
            names.append(name)
    return names


def _folder_of(split: Split, root: Path, source: Path) -> ImageFolder:
    """Return the images of a split as a folder; raise InputError if some are missing."""
    missing = [row.path for row in split.rows if not (root / row.path).is_file()]
    if missing:
        raise _images_error(missing, len(split.rows), root, "are missing in")
    files = tuple(ImageFile(row.path, row.labels, row.part, row.group) for row in split.rows)
    return ImageFolder(root, files, split.class_names, {}, source, split.task)


def _check_unchanged(split: Split, decoded: Decoded, root: Path) -> None:
    digest_of = dict(zip(decoded.indices, decoded.digests, strict=True))
    if changed := [row.path for place, row in enumerate(split.rows) if digest_of.get(place) != row.sha256]:
        raise _images_error(changed, len(split.rows), root, "cannot be read, or have changed, in")


def _images_error(paths: Sequence[str], count: int, root: Path, problem: str) -> InputError:
    more = ", ..." if len(paths) > _MAX_LISTED else ""
    return InputError(
        f"{len(paths)} of {counted(count, 'image')} {problem} {root}: "
        f"{', '.join(paths[:_MAX_LISTED])}{more}. A soup is a new "
        "network, which must predict the images of all members.",
        hint="If the images were moved, add --images DIR.",
    )
