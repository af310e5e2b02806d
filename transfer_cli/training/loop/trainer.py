"""A fine-tuning under way: from the probe through the stages to the bundle, from any checkpoint."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import heads, tasks
from transfer_cli.data import bootstrap
from transfer_cli.data.split import Split
from transfer_cli.errors import RecipeError
from transfer_cli.io.array_store import Scratch
from transfer_cli.io.csv_tables import write_table
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.history import Epoch
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.loop import early_stopping, messages
from transfer_cli.training.loop.checkpoints import Checkpoints, State, history_table
from transfer_cli.training.loop.tensorboard import TensorBoard
from transfer_cli.training.setup.image_store import Decoded

if TYPE_CHECKING:
    from transfer_cli.models.classifier_network import Network
    from transfer_cli.training.loop.finalize import PreRefitOutputs, RunFinalizer
    from transfer_cli.training.loop.stage_trainer import StageTrainer
    from transfer_cli.training.planning.time_budget import TimeBudgetGuard

HALVINGS = 2
"""So often the learning rate of a stage is halved where its weights run away."""
ALIKE = 1e-3
"""By what share the log loss on val may differ where a stage begins from where the last one was best: rounding."""
SETTLING = 64
"""From so many pictures the BatchNorms of a network of random weights get their scale."""


class Trainer:
    """A fine-tuning under way."""

    def __init__(
        self,
        request: TrainingRequest,
        recipe: FinetuneRecipe,
        features: Any,
        decoded: Decoded,
        split: Split,
        scratch: Scratch,
        guard: TimeBudgetGuard | None = None,
        groups: NDArray[np.int64] | None = None,
    ) -> None:
        with request.progress.track("starting the training", None):
            from transfer_cli.models import backbone, classifier_network, freezing
            from transfer_cli.training.loop import multi_gpu
            from transfer_cli.training.loop.micro_batches import portions_of

        self._request, self._recipe, self._split, self._scratch = request, recipe, split, scratch
        self._run, self._progress, self._guard, self._groups = request.run, request.progress, guard, groups
        self._checkpoints = Checkpoints(request.run)
        hardware = recipe.hardware
        self._micro_batches = portions_of(recipe, request.run, request.progress)
        if line := messages.what_computes(multi_gpu.cards(hardware.gpus), hardware.precision):
            request.progress.note(line)
        if recipe.backbone.weights == "none":
            backbone.rescale_random_batchnorms(features, decoded.images[np.flatnonzero(split.mask("train"))[:SETTLING]])
        self._task = tasks.TASKS[split.task]
        classes = len(split.class_names)
        self._network: Network = classifier_network.Network(
            features, recipe.head, classes, recipe.seed, self._task.activation
        )
        self._decoded = decoded
        self._show(self._rows_of_train(), np.flatnonzero(split.mask("val")))
        self._learning = {
            layer.name for stage in recipe.stage for layer in freezing.split_at(features, stage.unfreeze).layers
        }
        learnt = len(self._data.train)
        self._stages = [stage.for_pictures(learnt, self._micro_batches.step) for stage in recipe.stage]
        self._board = TensorBoard(request.run) if request.tensorboard else None
        self._will_refit = refits(recipe, split)
        self._initial = self._network.weights(self._learning) if self._will_refit else {}
        self._before: PreRefitOutputs | None = None
        self._state = State(split_digest=_digest(split))
        self._last = self._checkpoints.read_last()
        if self._last and self._last[0].split_digest != self._state.split_digest:
            raise messages.changed(request, split)

    def run(self) -> None:
        """Train all stages, from the beginning or from the last checkpoint, and again with val where that is wished."""
        from transfer_cli.training.loop.micro_batches import memory_explained

        with memory_explained():
            self._go_through()

    def _go_through(self) -> None:
        optimizer = self._resume()
        self._draw_preview()
        if self._board:
            self._board.describe()
        if not self._state.refit:
            if optimizer is None and self._recipe.head.start == heads.PROBE:
                self._start_from_probe()
            self._train_stages(len(self._recipe.stage), optimizer)
            optimizer = None
            if self._state.best is not None:
                self._progress.note(
                    messages.what_it_brought(self._state, self._recipe.early_stopping, self._steps_taken())
                )
            if not self._will_refit:
                return
            self._before = self._as_it_is()
            self._state = self._state.begin_refit()
            self._learn_from_val()
            self._network.set_weights(self._initial, self._learning)
            if self._recipe.head.start == heads.PROBE:
                self._start_from_probe()
        self._train_stages(self._stages_of_refit(), optimizer)

    def finishing(self) -> RunFinalizer:
        """Draw the curves; return what is left to do with the network as it is now."""
        from transfer_cli.training.loop import plots
        from transfer_cli.training.loop.finalize import RunFinalizer

        plots.curves(self._state.history, self._state.best, self._run.plots / "curves.png")
        images, train = self._data.images, self._data.train
        return RunFinalizer(
            self._request, self._recipe, self._split, self._network, images, train, self._before, self._micro_batches
        )

    def _resume(self) -> Any:
        if self._last is None:
            return None
        state, weights, optimizer = self._last
        self._last, self._state = None, state
        self._micro_batches.halvings = state.memory_halvings
        if state.refit:
            self._network.set_weights(self._checkpoints.read_best(state), self._learning)
            self._before = self._as_it_is()
            self._learn_from_val()
        self._network.set_weights(weights, self._learning)
        self._progress.note(
            f"going on after epoch {state.epoch}, in stage {state.stage + 1} of {len(self._recipe.stage)}"
        )
        # The process may have died between a checkpoint and its line.
        self._log_epochs_left_out()
        self._write_history()
        self._run.log("resume", epoch=state.epoch, stage=state.stage + 1)
        return optimizer

    def _rows_of_train(self) -> NDArray[np.int64]:
        """Return the rows of train, or of a bag of it, in which a picture may be several times."""
        rows, bag = np.flatnonzero(self._split.mask("train")), self._recipe.bag
        if bag is None:
            return rows
        group_ids = np.arange(len(self._split.rows)) if self._groups is None else self._groups
        return rows[bootstrap.drawn(bag, self._recipe.seed, self._split.truth()[rows], group_ids[rows])]

    def _show(self, train: NDArray[np.int64], val: NDArray[np.int64]) -> None:
        """Let some pictures be learnt from and others be compared on."""
        from transfer_cli.training.augmentation.augmented_images import AugmentedImages
        from transfer_cli.training.loop.images import Pictures

        images, indices, truth = self._decoded.images, np.array(self._decoded.indices, np.int64), self._split.truth()
        self._data = Pictures(images, indices, truth, train, val, self._groups)
        recipe, classes = self._recipe, len(self._split.class_names)
        self._shown = AugmentedImages(recipe.augmentation, recipe.seed, images, indices, truth, train, classes)

    def _learn_from_val(self) -> None:
        """Let the pictures of val be learnt from, too; nothing is compared any more."""
        both = np.sort(np.concatenate([self._rows_of_train(), np.flatnonzero(self._split.mask("val"))]))
        self._show(both, np.empty(0, np.int64))
        self._progress.note(f"again, with the pictures of val learnt from as well: {len(both)}")

    def _stages_of_refit(self) -> int:
        """Return in how many stages the best epoch came about."""
        assert self._state.best is not None
        best = self._state.of(self._state.best)
        return best.stage if best.epoch else 0

    def _as_it_is(self) -> PreRefitOutputs:
        """Return what the network as it is now, which has not learnt from val, makes of val and train."""
        from transfer_cli.models.compile import inference_function
        from transfer_cli.training.loop.finalize import PreRefitOutputs

        run, size = (
            self._micro_batches.run_in_chunks(inference_function(self._network.below_logits)),
            self._recipe.batch_size,
        )

        def features(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            parts = [run(self._data.images[rows[at : at + size]]) for at in range(0, len(rows), size)]
            return np.concatenate(parts)

        of_val, rows = features(self._data.val), np.unique(self._data.train)
        return PreRefitOutputs(self._network.read_out.probabilities(of_val), of_val, features(rows), rows)

    def _train_stages(self, count: int, optimizer: Any) -> None:
        """Train the first `count` stages, from where the state is."""
        while self._state.stage < count:
            self._train_stage(optimizer)
            optimizer = None
            if self._state.best is not None and not self._state.refit:
                self._network.set_weights(self._checkpoints.read_best(self._state), self._learning)
            if self._state.stage + 1 == count:
                return
            self._state = self._state.next_stage()

    def _epochs(self) -> int:
        """Return how many epochs the stage of the state has; a refit has as many as were trained before."""
        if self._state.refit:
            return len(early_stopping.trained(self._state))
        return self._stages[self._state.stage].length

    def _steps_taken(self) -> int:
        """Return how many steps were trained so far."""
        epochs = sum(epoch.epoch > 0 for epoch in self._state.history)
        return epochs * -(-len(self._data.train) // self._micro_batches.step)

    def _is_automatic(self) -> bool:
        """Return whether the epochs of the stage were chosen by the number of pictures."""
        return self._recipe.stage[self._state.stage].epochs == "auto" and not self._state.refit

    def _start_from_probe(self) -> None:
        from transfer_cli.training.loop.linear_probe import start_from_probe

        value = start_from_probe(self._network, self._recipe, self._data, self._micro_batches, self._progress)
        self._run.log("probe", parameter="C", value=value)

    def _train_stage(self, optimizer: Any) -> None:
        from transfer_cli.training.loop.stage_trainer import StageTrainer

        number, stages = self._state.stage + 1, len(self._recipe.stage)
        stage = self._stages[self._state.stage]
        name = f"stage {number} of {stages}, {stage.summary()}"
        begun_stage = time.monotonic()
        with self._progress.track(f"preparing {name}", None):
            training_ = StageTrainer(
                self._network,
                stage,
                self._recipe,
                self._data,
                self._shown,
                self._scratch,
                self._micro_batches,
                self._progress,
            )
        if optimizer and self._state.done:
            training_.set_optimizer_state(optimizer)
        learning = sum(int(np.prod(variable.shape)) for variable in training_.variables)
        chosen = f", so many for {len(self._data.train)} pictures" if self._is_automatic() else ""
        self._progress.note(
            f"{name}: {learning:,} parameters learn, {self._epochs()} epochs of {training_.steps} steps{chosen}"
        )
        if not self._state.history and self._recipe.head.start == heads.PROBE:
            self._record(training_, None, time.monotonic())
        elif not self._state.done and not self._state.refit and self._state.best is not None:
            self._must_answer_as_before(training_)
        left = self._epochs() - self._state.done
        with self._progress.track(f"{name}, steps", left * training_.steps) as advance:
            while not self._state.ended:
                self._train_epoch(training_, advance)
        # Without a val part there is no best epoch to take back.
        training_.finish()
        training_.close()
        ended = {"event": "stage", "stage": number, "refit": self._state.refit}
        if not any(ended.items() <= event.items() for event in self._run.logged()):
            facts = {
                "refit": self._state.refit,
                "epochs": self._state.done,
                "seconds": time.monotonic() - begun_stage,
            }
            self._run.log("stage", stage=number, **facts)

    def _must_answer_as_before(self, training_: StageTrainer) -> None:
        """Raise RuntimeError where another cut of the network changes what it says of val, before any step."""
        assert self._state.best is not None
        best, now = self._state.of(self._state.best), training_.score_val()
        self._run.log("unfrozen", stage=self._state.stage + 1, val_loss=now["log_loss"], val_accuracy=now["accuracy"])
        assert best.val_loss is not None
        assert best.val_accuracy is not None
        # Of two classes with nearly equal probabilities rounding decides, of a picture or of a few in a thousand.
        count = len(self._data.val)
        moved = abs(now["accuracy"] - best.val_accuracy) * count > max(1.5, 0.002 * count)
        if moved or not abs(now["log_loss"] - best.val_loss) <= ALIKE * max(1.0, best.val_loss):
            raise RuntimeError(
                f"Unfreezing for stage {self._state.stage + 1} changed what the network says, before any step: on val "
                f"log loss {now['log_loss']:.4f} and accuracy {now['accuracy']:.3f}, where epoch {best.epoch} had "
                f"{best.val_loss:.4f} and {best.val_accuracy:.3f}."
            )

    def _train_epoch(self, training_: StageTrainer, advance: Callable[[int], None]) -> None:
        """Train an epoch and record it.

        It is to be begun again, the weights as they were, with fewer pictures at a time where memory was too small, and
        with half the learning rate where the weights ran away.
        """
        import tensorflow as tf

        begun, epoch = time.monotonic(), self._state.epoch + 1
        weights, optimizer = self._network.weights(self._learning), training_.optimizer_state()
        try:
            trained = training_.epoch(epoch, self._state, advance)
        except tf.errors.ResourceExhaustedError:
            self._micro_batches.halve()
            self._network.set_weights(weights, self._learning)
            training_.set_optimizer_state(optimizer)
            return
        if self._is_finite(trained[0]):
            self._record(training_, trained, begun)
            return
        if self._state.halvings == HALVINGS:
            number = self._state.stage + 1
            lower = self._recipe.stage[number - 1].learning_rate / 10
            raise RecipeError(
                f"In epoch {epoch} the weights have run away: they, or the loss, are no finite numbers any more, "
                f"though the learning rate was halved {HALVINGS} times.",
                hint=f"Lower the learning rate: --set stage.{number}.learning_rate={lower:g} --overwrite",
            )
        self._state = replace(self._state, halvings=self._state.halvings + 1)
        self._network.set_weights(weights, self._learning)
        training_.set_optimizer_state(optimizer)
        self._progress.warn(f"epoch {epoch} is run again with half the learning rate: its weights ran away")
        self._run.log("halved", epoch=epoch, halvings=self._state.halvings)

    def _is_finite(self, loss: float) -> bool:
        return bool(np.isfinite(loss)) and all(
            np.isfinite(array).all() for array in self._network.weights(self._learning).values()
        )

    def _record(self, training_: StageTrainer, trained: tuple[float, float] | None, begun: float) -> None:
        """Score the epoch that was just trained (None: before the first), write and say it."""
        before = self._state
        stage = self._stages[before.stage]
        weights = self._network.weights(self._learning)
        with training_.averaged():
            val = training_.score_val() if len(self._data.val) else {}
            scored = self._network.weights(self._learning) if stage.ema else weights
        loss, accuracy = trained or (None, None)
        epoch = Epoch(
            epoch=before.epoch + 1 if trained else 0,
            stage=before.stage + 1,
            learning_rate=training_.learning_rate(before, 0.5) if trained else None,
            loss=loss,
            accuracy=accuracy,
            val_loss=val.get("log_loss"),
            val_accuracy=val.get("accuracy"),
            val_balanced_accuracy=val.get("balanced_accuracy"),
            val_mean_average_precision=val.get("mean_average_precision"),
            seconds=time.monotonic() - begun,
            refit=before.refit,
        )
        done = before.done + 1 if trained else 0
        best = before.best
        early = self._recipe.early_stopping
        if val and (best is None or early_stopping.key(epoch, early) > early_stopping.key(before.of(best), early)):
            best = epoch.epoch
        state = replace(
            before,
            done=done,
            best=best,
            best_in_stage=done if best == epoch.epoch else before.best_in_stage,
            memory_halvings=self._micro_batches.halvings,
            history=(*before.history, epoch),
        )
        why = early_stopping.why(state, stage, early)
        late = self._guard.why(state) if self._guard and trained and not why and done < self._epochs() else ""
        self._state = state = replace(state, ended=bool(why or late) or done == self._epochs())
        self._checkpoints.save(state, weights, training_.optimizer_state(), scored)
        self._write_history()
        self._log_epoch(epoch)
        self._progress.note(messages.of_epoch(epoch, state, self._epochs(), early))
        if why and done < stage.length:
            self._progress.note(why)
            self._run.log("early stop", epoch=epoch.epoch, best=best)
        if late:
            self._progress.warn(late)
            self._run.log("budget used up", epoch=epoch.epoch, best=best)

    def _log_epoch(self, epoch: Epoch) -> None:
        self._run.log("epoch", **{word: value for word, value in vars(epoch).items() if value is not None})

    def _log_epochs_left_out(self) -> None:
        logged = {event["epoch"] for event in self._run.logged() if event["event"] == "epoch"}
        for epoch in self._state.history:
            if epoch.epoch not in logged:
                self._log_epoch(epoch)

    def _write_history(self) -> None:
        header, *rows = history_table(self._state.history, self._task)
        write_table(self._run.history, header, rows)
        if self._board:
            self._board.write(self._state.history)

    def _draw_preview(self) -> None:
        from transfer_cli.training.loop import plots

        chosen = plots.one_of_each(self._data.truth[self._data.train])
        seen = [plots.Seen(int(row), self._split.rows[row].truth) for row in self._data.train[chosen]]
        plots.preview(seen, self._data.images, self._shown, self._run.plots / "preview.png")


def refits(recipe: FinetuneRecipe, split: Split) -> bool:
    """Return whether the pictures of val will be learnt from as well, once val has said what is best."""
    counts = split.counts()
    few = counts.get("train", 0) < recipe.refit.below * len(split.class_names)
    return "val" in counts and (recipe.refit.when == "always" or (recipe.refit.when == "auto" and few))


def _digest(split: Split) -> str:
    text = "\n".join(f"{row.path}\0{row.sha256}\0{row.truth}\0{row.part}" for row in split.rows)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
