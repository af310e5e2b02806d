"""Train the stages of a recipe on one TrainingData, epoch by epoch, from the beginning or from a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from transfer_cli.catalog import heads
from transfer_cli.runs.history import Epoch
from transfer_cli.text import counted
from transfer_cli.training.loop import early_stopping, messages
from transfer_cli.training.loop.checkpoints import State
from transfer_cli.training.loop.context import TrainingContext, TrainingData

if TYPE_CHECKING:
    from transfer_cli.training.loop.stage_trainer import StageTrainer

MAX_HALVINGS = 2
"""How often the learning rate of a stage is halved when it diverges."""
_TOLERANCE = 1e-3
"""Relative difference in val log loss that rounding may cause when another part of the network is unfrozen."""


class Trainer:
    """Trains the stages of a recipe on one TrainingData.

    Parameters
    ----------
    context : TrainingContext
    data : TrainingData
    state : State
        Where to begin.
    epochs : sequence of int
        Number of epochs of each stage to train.
    """

    def __init__(self, context: TrainingContext, data: TrainingData, state: State, epochs: Sequence[int]) -> None:
        self._context, self._data, self._state, self._epochs = context, data, state, epochs

    def train(self, optimizer: Any = None) -> State:
        """Train the stages that are left; return the last state.

        The network then has the weights of the best epoch on val; without a validation set, those of the last.

        Parameters
        ----------
        optimizer : mapping of str to ndarray, optional
            The optimizer variables of a checkpoint.
        """
        context = self._context
        while self._state.stage < len(self._epochs):
            self._train_stage(optimizer)
            optimizer = None
            if len(self._data.val):
                context.set_weights(context.recorder.checkpoints.read_best(self._state))
            if self._state.stage + 1 == len(self._epochs):
                break
            self._state = self._state.next_stage()
        return self._state

    def _train_stage(self, optimizer: Any) -> None:
        from transfer_cli.training.loop.stage_trainer import StageTrainer

        context, state, started = self._context, self._state, time.monotonic()
        stage, epochs = context.stages[state.stage], self._epochs[state.stage]
        name = f"stage {state.stage + 1} of {len(context.stages)}, {stage.summary()}"
        with context.progress.track(f"preparing {name}", None):
            trainer = StageTrainer.build(context, stage, self._data)
        if optimizer and state.done:
            trainer.set_optimizer_state(optimizer)
        parameters = sum(int(np.prod(variable.shape)) for variable in trainer.step.variables)
        is_automatic = context.recipe.stage[state.stage].epochs == "auto" and not state.refit
        chosen = f" (chosen for {counted(len(self._data.train), 'image')})" if is_automatic else ""
        context.progress.note(
            f"{name}: {counted(parameters, 'trainable parameter')}, {counted(epochs, 'epoch')} of "
            f"{counted(trainer.steps_per_epoch, 'step')}{chosen}"
        )
        if not state.history and context.recipe.head.start == heads.PROBE:
            self._record(trainer, None, time.monotonic())
        elif not state.done and len(self._data.val) and state.best_epoch is not None:
            self._check_unchanged(trainer, state.best_epoch)
        steps = (epochs - state.done) * trainer.steps_per_epoch
        with context.progress.track(f"{name}, steps", steps) as advance:
            while not self._state.ended:
                self._train_epoch(trainer, advance)
        # Without a validation set there is no best epoch whose weights are restored.
        trainer.finish()
        trainer.close()
        context.recorder.record_stage(self._state, time.monotonic() - started)

    def _check_unchanged(self, trainer: StageTrainer, best: Epoch) -> None:
        """Raise RuntimeError if unfreezing more layers changed the predictions on val, before any step."""
        number, now = self._state.stage + 1, trainer.score_val()
        self._context.run.log("unfrozen", stage=number, val_loss=now["log_loss"], val_accuracy=now["accuracy"])
        assert best.val_loss is not None
        assert best.val_accuracy is not None
        # If two classes have nearly equal probabilities, rounding decides: for one image, or a few in a thousand.
        count = len(self._data.val)
        changed = abs(now["accuracy"] - best.val_accuracy) * count > max(1.5, 0.002 * count)
        if changed or not abs(now["log_loss"] - best.val_loss) <= _TOLERANCE * max(1.0, best.val_loss):
            raise RuntimeError(
                f"Unfreezing layers for stage {number} changed the predictions before any step: on val, log loss "
                f"{now['log_loss']:.4f} and accuracy {now['accuracy']:.3f}, where epoch {best.epoch} had "
                f"{best.val_loss:.4f} and {best.val_accuracy:.3f}."
            )

    def _train_epoch(self, trainer: StageTrainer, advance: Callable[[int], None]) -> None:
        """Train an epoch and record it.

        If memory runs out or training diverges, the weights are restored, and the caller repeats the epoch with smaller
        micro-batches or half the learning rate.
        """
        import tensorflow as tf

        context, state = self._context, self._state
        started, epoch = time.monotonic(), state.epoch + 1
        weights, optimizer = context.weights(), trainer.optimizer_state()
        try:
            trained = trainer.epoch(epoch, state, advance)
        except tf.errors.ResourceExhaustedError:
            context.micro_batches.halve()
        else:
            if np.isfinite(trained[0]) and all(np.isfinite(array).all() for array in context.weights().values()):
                self._record(trainer, trained, started)
                return
            if state.halvings == MAX_HALVINGS:
                raise messages.diverged(epoch, state.stage + 1, context.recipe, MAX_HALVINGS)
            self._state = replace(state, halvings=state.halvings + 1)
            context.progress.warn(f"epoch {epoch} diverged; repeating it at half the learning rate")
            context.run.log("halved", epoch=epoch, halvings=self._state.halvings)
        context.set_weights(weights)
        trainer.set_optimizer_state(optimizer)

    def _record(self, trainer: StageTrainer, trained: tuple[float, float] | None, started: float) -> None:
        """Score the network, decide whether the stage ends, and write the epoch; `trained` is None for epoch 0."""
        context, before = self._context, self._state
        stage, epochs, early = context.stages[before.stage], self._epochs[before.stage], context.recipe.early_stopping
        weights = context.weights()
        with trainer.averaged():
            val = trainer.score_val() if len(self._data.val) else {}
            scored = context.weights() if stage.ema else weights
        loss, accuracy = trained or (None, None)
        epoch = Epoch(
            epoch=before.epoch + 1 if trained else 0,
            stage=before.stage + 1,
            learning_rate=trainer.learning_rate(before, 0.5) if trained else None,
            loss=loss,
            accuracy=accuracy,
            val_loss=val.get("log_loss"),
            val_accuracy=val.get("accuracy"),
            val_balanced_accuracy=val.get("balanced_accuracy"),
            val_mean_average_precision=val.get("mean_average_precision"),
            seconds=time.monotonic() - started,
            refit=before.refit,
        )
        state = replace(early_stopping.advance(before, epoch, early), memory_halvings=context.micro_batches.halvings)
        is_last = state.done == epochs
        early_stop = early_stopping.stop_reason(state, stage, early)
        limit = context.limit if trained and not early_stop and not is_last else None
        out_of_time = limit.stop_reason(state) if limit else ""
        self._state = state = replace(state, ended=bool(early_stop or out_of_time) or is_last)
        context.recorder.record(state, weights, trainer.optimizer_state(), scored)
        context.progress.note(messages.epoch_summary(epoch, state, epochs, early))
        if early_stop and not is_last:
            context.progress.note(early_stop)
            context.run.log("early stop", epoch=epoch.epoch, best=state.best)
        if out_of_time:
            context.progress.warn(out_of_time)
            context.run.log("budget used up", epoch=epoch.epoch, best=state.best)
