"""Fine-tuned networks of one backbone become one network, with the mean of their weights.

"Model soups" (Wortsman et al. 2022): networks that were fine-tuned from the same weights often lie in one valley of
the loss, so that the mean of their weights is as good as the mean of their answers, and costs what one of them costs.
BatchNorm's moving statistics are averaged like all else. Where networks learn with the statistics of their batches, the
mean has other activations, and its statistics are to be estimated anew (Izmailov et al. 2018, "Averaging Weights Leads
to Wider Optima and Better Generalization"). `finetune` leaves them as they were before: members have the same ones, and
so has their mean.
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
from transfer_cli.ensembling.fit_combination import FittedCombination
from transfer_cli.ensembling.member_comparison import Joint, MemberComparison
from transfer_cli.ensembling.members import Members
from transfer_cli.ensembling.request import EnsembleRequest, learnt_of
from transfer_cli.ensembling.soup_compatibility import must_be_built_alike, must_fit
from transfer_cli.errors import InputError
from transfer_cli.inference.latency import Cost, Costs, megabytes_of, milliseconds_of
from transfer_cli.inference.load import load, load_members
from transfer_cli.io.array_store import Scratch
from transfer_cli.io.atomic import write_json
from transfer_cli.metrics.scores import of_epoch
from transfer_cli.models.weight_averaging import Tried, greedy, mean_of, mean_temperature
from transfer_cli.quiet_imports import start_tensorflow
from transfer_cli.recipe.ensemble import EnsembleRecipe
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.evaluation_directory import training_images_of
from transfer_cli.runs.request import TrainingRequest, TrainingResult, is_uneven
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.scoring import thresholds_note
from transfer_cli.training.setup import lifecycle
from transfer_cli.training.setup.image_store import Decoded, decode_all

_SHARED = ("seed", "images", "split", "backbone", "inference", "head")
"""What a soup has of its first member's recipe: of the rest it has something of each."""
_SHOWN = 3


def soup(
    members: Members, recipe: EnsembleRecipe, run: RunDirectory, source: Path, request: EnsembleRequest
) -> TrainingResult:
    """Write the run of one network with the mean of the members' weights.

    Two soups are compared on val: that of all members, and a greedy one, to which members are added in the order of
    their accuracy on val, each where that does not fall. Members that have learnt from val in the end cannot be
    compared on it, and neither can what is made of them: their soup is that of all, it has no figures of val, and is as
    sure as its members are on average.

    Parameters
    ----------
    members : Members
    recipe : EnsembleRecipe
        Resolved.
    run : RunDirectory
    source : Path
        What the run is said to be made from.
    request : Asked

    Raises
    ------
    InputError
        When the members have no weights that could be averaged, or the pictures are gone.
    GateError
        When the accuracy is below the one that was asked for.
    """
    must_fit(members)
    first = members.runs[0] if request.images is None else replace(members.runs[0], images=request.images)
    folder = _folder_of(members.split, first.root, source)
    run.begin(recipe, source, command=request.command, overwrite=request.overwrite)
    run.log("begin", members=list(members.names), combination=ensemble_methods.SOUP)
    training = TrainingRequest(folder, run, command=request.command, cache=request.cache, progress=request.progress)
    with request.progress.track("starting TensorFlow", None):
        run.write_environment(recipe.seed, start_tensorflow())
    with Scratch(run.path) as scratch:
        return _SoupBuilder(members, recipe, request, training, scratch).cook()


class _SoupBuilder:
    """A soup on its way from its members to a run."""

    def __init__(
        self,
        members: Members,
        recipe: EnsembleRecipe,
        request: EnsembleRequest,
        training: TrainingRequest,
        scratch: Scratch,
    ) -> None:
        self._members, self._recipe, self._request, self._training = members, recipe, request, training
        self._run, self._progress, self._scratch = training.run, training.progress, scratch
        self._first = FinetuneRecipe.load(str(members.runs[0].directory.recipe))
        self._monitor = tasks.TASKS[members.split.task].monitors[0]
        self._learnt_val = [
            name for name, each in zip(members.names, members.runs, strict=True) if _knows_val(each.directory)
        ]

    def cook(self) -> TrainingResult:
        from transfer_cli.models.classifier_network import Whole
        from transfer_cli.training.loop.finalize import RunFinalizer
        from transfer_cli.training.loop.micro_batches import memory_explained, portions_of

        run, members, split = self._run, self._members, self._members.split
        skipped = read_skipped(members.runs[0].directory.skipped)
        with self._progress.track("reading the weights", None):
            whole, weights = self._read_weights()
        decoded = decode_all(self._training, self._first, self._scratch)
        _must_be_those_of(split, decoded, self._training.folder.root)
        with memory_explained():
            chosen = self._chosen(whole, weights, decoded.images)
            _set(whole, mean_of(weights, chosen))
            lifecycle.write_split(self._training, split, skipped)
            learnt = learnt_of(members).say([row.sha256 for row in split.rows])
            finishing = RunFinalizer(
                self._training,
                self._first,
                split,
                Whole(whole, int(members.bundles[0].bundle.backbone["width"])),
                decoded.images,
                np.flatnonzero([said == "yes" for said in learnt]),
                None,
                portions_of(self._first, run, self._progress),
                known=self._trust_of(chosen) if self._learnt_val else None,
                made_by=self._words(),
            )
            metrics, note = finishing.score(), val_note(members)
            lifecycle.must_be_good_enough(self._request, metrics, note)
            finishing.save(note)
        weights_of = tuple((number in chosen) / len(chosen) for number in range(len(members.runs)))
        costs, own = self._costs()
        company = MemberComparison.of(
            members,
            FittedCombination(ensemble_methods.SOUP, weights_of),
            costs,
            self._joint(),
            thresholds=_bars(run),
            own=own,
        )
        write_json(run.members, company.to_dict())
        write_json(run.metrics, metrics)
        run.log("end", metrics=metrics)
        return TrainingResult(run, metrics, skipped, note, is_uneven=is_uneven(split))

    def _joint(self) -> Joint | None:
        """Return what the soup says of test, of val where there is no test."""
        made = FinishedRun(self._run, self._members.split, {}, {})
        for part in reversed(made.parts):
            about = self._members.part(part)
            if about is not None:
                answered = made.answered(part)
                place = {row: number for number, row in enumerate(answered.rows.tolist())}
                kept = [place[row] for row in about.rows.tolist()]
                return Joint(part, about, answered.predictions.probabilities[kept])
        return None

    def _costs(self) -> tuple[Costs, Cost]:
        with self._progress.track("measuring what the members cost", None):
            models = load_members(self._members.bundles, cache=self._request.cache, progress=self._progress)
            own = ModelBundle.open(self._run.model)
            alone = milliseconds_of(load(str(self._run.model), cache=self._request.cache, progress=self._progress))
            return Costs(models, self._members.bundles), Cost(alone, megabytes_of([own]))

    def _read_weights(self) -> tuple[Any, NDArray[np.float32]]:
        """Return the network of the first member, and the weights of each, of shape (m, parameters)."""
        from transfer_cli.models.keras_file import load_keras

        members, whole, matrix = self._members, None, np.empty((0, 0), np.float32)
        for number, opened in enumerate(members.bundles):
            network = load_keras(opened.directory / NETWORK_FILE)
            if whole is None:
                whole = network
                total = sum(int(np.prod(variable.shape)) for variable in _floats(whole))
                matrix = self._scratch.array((len(members.runs), total), np.float32)
            else:
                must_be_built_alike(whole, network, (members.names[0], members.names[number]))
            matrix[number] = np.concatenate([np.asarray(variable).ravel() for variable in _floats(network)])
        return whole, matrix

    def _chosen(self, whole: Any, weights: NDArray[np.float32], images: NDArray[np.uint8]) -> tuple[int, ...]:
        """Return the members whose mean is taken."""
        from transfer_cli.models.compile import inference_function

        every = tuple(range(len(weights)))
        rows = np.flatnonzero(self._members.split.mask("val"))
        if self._learnt_val:
            names = ", ".join(self._learnt_val)
            self._progress.note(
                f"the soup of all {len(every)}: {names} learnt from val in the end, so that no soup can be chosen or "
                "scored on it; it is as sure as its members are on average"
            )
            return every
        if not len(rows):
            self._progress.note(f"the soup of all {len(every)}: there is no val part to choose another by")
            return every
        truth, size, run = self._members.split.truth()[rows], self._first.batch_size, inference_function(whole)

        def score(members: Sequence[int]) -> float:
            _set(whole, mean_of(weights, members))
            given = np.concatenate([run(images[rows[at : at + size]]) for at in range(0, len(rows), size)])
            return float(of_epoch(truth, given)[self._monitor])

        with self._progress.track("comparing soups on val", None):
            alone = [score((member,)) for member in every]
            uniform = Tried(every, score(every))
            other = greedy(sorted(every, key=lambda member: -alone[member]), score)
        taken = uniform if uniform.score >= other.score else other
        self._say(alone, uniform, other, taken)
        return tuple(sorted(taken.members))

    def _say(self, alone: Sequence[float], uniform: Tried, other: Tried, taken: Tried) -> None:
        names, word = self._members.names, self._monitor.replace("_", " ")
        kept = ", ".join(names[member] for member in other.members)
        self._run.log(
            "soup",
            monitor=self._monitor,
            alone=list(alone),
            uniform=uniform.score,
            greedy={"members": [names[member] for member in other.members], "score": other.score},
            taken="uniform" if taken is uniform else "greedy",
        )
        self._progress.note(
            f"val {word}: the best alone {max(alone):.3f}, the soup of all {len(alone)} {uniform.score:.3f}, the "
            f"greedy one of {kept} {other.score:.3f}; taken: the {'soup of all' if taken is uniform else 'greedy one'}"
        )
        if len(taken.members) == 1:
            self._progress.warn(
                f"this is {kept} as it is: on val no mean of weights does as well. Their answers may do better "
                f"together: --method {ensemble_methods.AVERAGE}"
            )

    def _trust_of(self, chosen: Sequence[int]) -> ValFit:
        """Return how sure the members are on average, of which each was sure before it learnt from val."""
        bundles = [self._members.bundles[member].bundle for member in chosen]
        bars = [bundle.thresholds for bundle in bundles if bundle.thresholds is not None]
        if bars:
            return ValFit(np.mean(bars, axis=0))
        return ValFit(None, mean_temperature([bundle.temperature for bundle in bundles]))

    def _words(self) -> dict[str, Any]:
        return {
            **{word: said for word, said in _dumped(self._first).items() if word in _SHARED},
            **_dumped(self._recipe),
        }


def val_note(members: Members) -> str:
    """Return what the figures of val of a soup are."""
    if not members.split.mask("val").any() or any(_knows_val(each.directory) for each in members.runs):
        return ""
    return ", ".join(filter(None, ["the soup was chosen on it", thresholds_note(members.split)]))


def _knows_val(run: RunDirectory) -> bool:
    """Return whether a run has learnt from pictures of val in the end, by what its bundle says."""
    said = training_images_of(str(run.path))
    return said is not None and "yes" in said.say(
        [row.sha256 for row in Split.read(run.split).rows if row.part == "val"]
    )


def _dumped(recipe: FinetuneRecipe | EnsembleRecipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude_none=True)


def _floats(network: Any) -> list[Any]:
    return [variable for variable in network.weights if "float" in str(variable.dtype)]


def _set(network: Any, row: NDArray[np.float32]) -> None:
    """Set the weights of a network, which lie in a row one after the other."""
    at = 0
    for variable in _floats(network):
        size = int(np.prod(variable.shape))
        variable.assign(row[at : at + size].reshape(variable.shape))
        at += size


def _folder_of(split: Split, root: Path, source: Path) -> ImageFolder:
    """Return the pictures of a split; raise InputError where some are gone."""
    gone = [row.path for row in split.rows if not (root / row.path).is_file()]
    if gone:
        raise _lost(gone, len(split.rows), root, "are not in")
    files = tuple(ImageFile(row.path, row.labels, row.part) for row in split.rows)
    return ImageFolder(root, files, split.class_names, {}, source, split.task)


def _must_be_those_of(split: Split, decoded: Decoded, root: Path) -> None:
    digest_of = dict(zip(decoded.indices, decoded.digests, strict=True))
    if changed := [row.path for place, row in enumerate(split.rows) if digest_of.get(place) != row.sha256]:
        raise _lost(changed, len(split.rows), root, "cannot be read or are other ones by now in")


def _lost(paths: Sequence[str], count: int, root: Path, how: str) -> InputError:
    more = ", ..." if len(paths) > _SHOWN else ""
    return InputError(
        f"{len(paths)} of {count} pictures {how} {root}: {', '.join(paths[:_SHOWN])}{more}. A soup is a new network, "
        "which has to be asked about them.",
        hint="Say where they are now with --images FOLDER.",
    )


def _bars(run: RunDirectory) -> NDArray[np.float64] | None:
    """Return from which probability on a picture has a label, of a soup that was written."""
    bundle, _ = ModelBundle.read(run.model)
    return None if bundle.thresholds is None else np.array(bundle.thresholds)
