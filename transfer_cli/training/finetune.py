"""Fine-tuning: a frozen backbone, a new head, stages that unfreeze, an honest score."""

from __future__ import annotations

from functools import partial
from typing import Any, Unpack

from transfer_cli.audit.grouping import groups_of
from transfer_cli.data.groups import assign_group_ids
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split
from transfer_cli.io.array_store import Scratch
from transfer_cli.io.atomic import write_json
from transfer_cli.models.weights.registry import must_be_known
from transfer_cli.quiet_imports import import_ahead
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.request import Options, TrainingRequest, TrainingResult, is_uneven
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.scoring import thresholds_note
from transfer_cli.training.loop import tensorboard
from transfer_cli.training.loop.checkpoints import Checkpoints
from transfer_cli.training.loop.network_setup import build_network
from transfer_cli.training.loop.trainer import Trainer, refits
from transfer_cli.training.planning import time_budget
from transfer_cli.training.planning.estimate import FEW, Plan
from transfer_cli.training.setup import lifecycle
from transfer_cli.training.setup.image_store import decode_all


def finetune(
    folder: ImageFolder, recipe: FinetuneRecipe, run: RunDirectory, **options: Unpack[Options]
) -> TrainingResult:
    """Fine-tune a backbone on a folder of pictures and score it.

    The head learns first, then what each stage of the recipe unfreezes. After every epoch the network is compared
    on val; the best epoch is what predicts. Without a val part it is the last. The test part is read once, at the end.

    Parameters
    ----------
    folder : ImageFolder
    recipe : FinetuneRecipe
    run : RunDirectory
        Where everything is written. A complete run of the same recipe is returned as it is; an unfinished one goes on
        after its last epoch and ends with the weights it would have had.
    **options
        See training.Options.

    Raises
    ------
    WeightsError
        When the backbone's weights cannot be had. Nothing is written.
    UnknownNameError
        When a stage unfreezes from a layer that is not there.
    RunError
        When the run directory holds another run, or its pictures or their parts have changed since its last epoch.
    FolderError
        When too few pictures can be read to learn from.
    RecipeError
        When the weights run away, or a stage unfreezes nothing that learns.
    OutputError
        When the run cannot be written.
    GateError
        When the accuracy is below the one that was asked for. The run keeps all but the model.
    MissingExtraError
        When it shall be written for TensorBoard, and that is not installed.
    """
    return learn(TrainingRequest(folder, run, **options), recipe)


def learn(request: TrainingRequest, recipe: FinetuneRecipe) -> TrainingResult:
    """Do what `finetune` does."""
    if request.tensorboard:
        tensorboard.must_be_here()
    recipe = lifecycle.resolved(request, recipe, keeps_model=True)
    must_be_known(recipe.backbone.weights)
    if recipe.unlabelled.folder is None:
        return _supervised(request, recipe)

    from transfer_cli.training import pseudo_labels

    return pseudo_labels.train(request, recipe, _supervised)


def _supervised(request: TrainingRequest, recipe: FinetuneRecipe) -> TrainingResult:
    """Train on what a request holds, or return what a complete run came to."""
    run = request.run
    planned = time_budget.going_on(request, recipe)
    recipe = planned or recipe
    if run.is_complete(with_model=True, with_features=False) and not request.overwrite:
        run.must_match(recipe, request.folder.source)
        if request.tensorboard and (last := Checkpoints(run).read_last()):
            tensorboard.write_all(run, last[0].history)
        return lifecycle.complete(request, partial(_val_note, recipe))
    with run.released():
        return _train(request, recipe, plans=request.time_budget is not None and planned is None)


def _train(request: TrainingRequest, recipe: FinetuneRecipe, *, plans: bool) -> TrainingResult:
    run, chosen = request.run, _Chosen(request, recipe)
    features, device = lifecycle.begin(
        request, recipe, lambda: build_network(request, recipe), chosen if plans else None
    )
    recipe = chosen.take()
    run.write_environment(recipe.seed, device)
    with Scratch(run.path) as scratch:
        with import_ahead("transfer_cli.classifiers.fit", "scipy.stats", "matplotlib.figure"):
            decoded = decode_all(request, recipe, scratch)
            groups = groups_of(request, recipe, decoded.indices, decoded.digests)
            split = lifecycle.make_split(request, recipe, decoded.indices, decoded.digests, decoded.skipped, groups)
            group_ids = assign_group_ids(decoded.digests, groups)
            fitting = Trainer(request, recipe, features, decoded, split, scratch, _guard(request), group_ids)
        lifecycle.write_split(request, split, decoded.skipped)
        for line in _what_to_expect(split):
            request.progress.warn(line)
        fitting.run()
        finishing = fitting.finishing()
        metrics = finishing.score()
        lifecycle.must_be_good_enough(request, metrics, _val_note(recipe, split))
        finishing.save(_val_note(recipe, split))
    write_json(run.metrics, metrics)
    run.log("end", metrics=metrics)
    note, uneven = _val_note(recipe, split), is_uneven(split)
    return TrainingResult(run, metrics, decoded.skipped, note, is_uneven=uneven)


def _val_note(recipe: FinetuneRecipe, split: Split) -> str:
    later = ", and it was learnt from later" if refits(recipe, split) else ""
    several = f", {thresholds_note(split)}" if thresholds_note(split) else ""
    return f"the best epoch was chosen on it{later}{several}" if "val" in split.counts() else ""


class _Chosen:
    """The recipe that is run: the one that was asked for, or as much of it as a time budget allows."""

    def __init__(self, request: TrainingRequest, recipe: FinetuneRecipe) -> None:
        self._request, self._wanted, self._recipe = request, recipe, recipe
        self._plan: Plan | None = None

    def __call__(self, network: tuple[Any, str]) -> FinetuneRecipe:
        from transfer_cli.training.planning.plan import into_budget

        self._recipe, self._plan = into_budget(self._request, self._wanted, network[0])
        return self._recipe

    def take(self) -> FinetuneRecipe:
        """Return the recipe; write what was planned into the run that has been begun."""
        if self._plan is not None and self._request.time_budget is not None:
            time_budget.write_plan(self._request.run, self._wanted, self._recipe, self._plan, self._request.time_budget)
        return self._recipe


def _guard(request: TrainingRequest) -> time_budget.TimeBudgetGuard | None:
    return None if request.time_budget is None else time_budget.TimeBudgetGuard(request.run, request.begun)


def _what_to_expect(split: Split) -> list[str]:
    label, fewest = min(split.learnt().items(), key=lambda item: item[1])
    said = []
    if fewest < FEW:
        tested = split.counts().get("test", 0)
        said.append(
            f"few pictures: {label} has {fewest} to learn from. Expect a rough classifier and a rough score: it rests "
            f"on {tested} test pictures, see its interval. More pictures help more than anything else"
        )
    if "val" not in split.counts():
        said.append("there is no val part: every epoch is run, and the last one is what predicts")
    return said
