"""A whole fine-tuning: the linear probe, the stages, and the refit on train + val, from any checkpoint."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from transfer_cli.catalog import heads
from transfer_cli.data.split import Split
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.rendering.fonts import missing_letters_warning
from transfer_cli.text import counted
from transfer_cli.training.loop import early_stopping, messages, plots
from transfer_cli.training.loop.checkpoints import Arrays, Checkpoint, State
from transfer_cli.training.loop.context import TrainingContext, TrainingData
from transfer_cli.training.loop.trainer import Trainer

if TYPE_CHECKING:
    from transfer_cli.training.loop.finalize import TrainedNetwork


def refits(recipe: FinetuneRecipe, split: Split) -> bool:
    """Return whether the network is trained again on train + val, after val has chosen the best epoch."""
    counts = split.counts()
    few = counts.get("train", 0) < recipe.refit.below * len(split.class_names)
    return "val" in counts and (recipe.refit.when == "always" or (recipe.refit.when == "auto" and few))


def fine_tune(context: TrainingContext, data: TrainingData) -> TrainedNetwork:
    """Train all stages, from the beginning or from the last checkpoint; a refit trains them again on train + val."""
    from transfer_cli.training.loop.flips import with_chosen_flips
    from transfer_cli.training.loop.micro_batches import explain_out_of_memory

    with explain_out_of_memory():
        initial, last = context.weights(), _resume(context)
        context = with_chosen_flips(context, data)
        _draw_preview(context, data)
        context.recorder.describe()
        state = _train(context, data, last)
        end = _end_with_features if context.recipe.final.classifier == "features" else _end_with_head
        state, trained = end(context, data, state, initial, last)
    plots.draw_training_curves(state.history, state.best, context.run.plots / "history.png")
    return trained


def _end_with_head(
    context: TrainingContext, data: TrainingData, state: State, initial: Arrays, last: Checkpoint | None
) -> tuple[State, TrainedNetwork]:
    """Keep the network as it was trained, or refit it."""
    from transfer_cli.training.loop.finalize import PreRefitOutputs, TrainedNetwork

    pre_refit = None
    if refits(context.recipe, context.split):
        pre_refit = PreRefitOutputs.compute(context, data)
        data = data.with_val_in_train()
        state = _refit(context, data, state, initial, last)
    network, batches = context.network, context.micro_batches
    return state, TrainedNetwork(network, batches, context.split, data.images, data.train, pre_refit)


def _end_with_features(
    context: TrainingContext, data: TrainingData, state: State, initial: Arrays, last: Checkpoint | None
) -> tuple[State, TrainedNetwork]:
    """Fit a classifier to the network's features of train + val, and average it with the linear probe."""
    from transfer_cli.training.loop.final_network import FinalNetwork
    from transfer_cli.training.loop.finalize import TrainedNetwork

    final = FinalNetwork(context, data, initial)
    choice = final.choose()
    context.progress.note(messages.share_summary(choice.share, context.recipe, trained=bool(context.trainable)))
    pre_refit, data = final.pre_refit(choice), data.with_val_in_train()
    is_refit = refits(context.recipe, context.split) and choice.trained is not None
    if is_refit:
        state = _refit(context, data, state, initial, last)
    network = final.build(choice, data, is_refit=is_refit)
    trained = TrainedNetwork(
        network, context.micro_batches, context.split, data.images, data.train, pre_refit, probe=choice.outputs
    )
    return state, trained


def _resume(context: TrainingContext) -> Checkpoint | None:
    """Return the last checkpoint, if any, and write what a killed process did not write after it."""
    last = context.recorder.checkpoints.read_last()
    if last is not None:
        state = last.state
        context.micro_batches.halvings = state.memory_halvings
        context.progress.note(
            f"resuming after epoch {state.epoch}, in stage {state.stage + 1} of {len(context.stages)}"
        )
        context.recorder.catch_up(state)
    return last


def _train(context: TrainingContext, data: TrainingData, last: Checkpoint | None) -> State:
    """Train all stages, or what a checkpoint leaves of them; the network ends with the weights of the best epoch."""
    if last is not None and last.state.refit:
        context.set_weights(context.recorder.checkpoints.read_best(last.state))
        return last.state
    epochs = [stage.length for stage in context.stages]
    if last is None:
        _start_from_probe(context, data)
        state = Trainer(context, data, State(context.split_digest), epochs).train()
    else:
        context.set_weights(last.weights)
        state = Trainer(context, data, last.state, epochs).train(last.optimizer)
    if state.best is not None:
        steps_per_epoch = math.ceil(len(data.train) / context.micro_batches.step)
        steps = sum(row.epoch > 0 for row in state.history) * steps_per_epoch
        context.progress.note(messages.training_summary(state, context.recipe.early_stopping, steps))
    return state


def _refit(
    context: TrainingContext, data: TrainingData, state: State, initial: Arrays, last: Checkpoint | None
) -> State:
    """Train again on train + val, from the initial weights or a checkpoint: the stages up to that of the best epoch.

    Each takes as many epochs as before: with fewer, its learning rate would follow another schedule.
    """
    context.progress.note(f"refitting on train + val ({counted(len(data.train), 'image')})")
    best = state.best_epoch
    assert best is not None
    stages = best.stage if best.epoch else 0
    epochs = [len(early_stopping.trained_epochs(state.history, stage)) for stage in range(stages)]
    if last is not None and state.refit:
        context.set_weights(last.weights)
        return Trainer(context, data, state, epochs).train(last.optimizer)
    context.set_weights(initial)
    _start_from_probe(context, data)
    return Trainer(context, data, state.begin_refit(), epochs).train()


def _start_from_probe(context: TrainingContext, data: TrainingData) -> None:
    """Initialise the head from a linear probe on the training images, if the recipe says so."""
    from transfer_cli.training.loop.linear_probe import start_from_probe

    if context.recipe.head.start == heads.PROBE:
        context.run.log("probe", parameter="C", value=start_from_probe(context, data))


def _draw_preview(context: TrainingContext, data: TrainingData) -> None:
    positions = plots.one_per_class(data.truth[data.train])
    rows = [(int(row), context.split.rows[row].truth) for row in data.train[positions]]
    augmented = data.augmented(context.recipe, len(context.split.class_names))
    plots.draw_preview(rows, data.images, augmented, context.run.plots / "preview.png")
    for line in missing_letters_warning(name for _, name in rows):
        context.progress.warn(line)
