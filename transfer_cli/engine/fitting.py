"""A fine-tuning under way: from the probe through the stages to the bundle, from any checkpoint."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import classifiers, heads
from transfer_cli.choices import Stage
from transfer_cli.engine import stopping, training
from transfer_cli.engine.checkpoints import HISTORY_HEADER, Checkpoints, Epoch, State, history_rows
from transfer_cli.engine.decoded import Decoded
from transfer_cli.engine.scores import score_parts
from transfer_cli.engine.scratch import Scratch
from transfer_cli.engine.training import Request
from transfer_cli.errors import RecipeError, RunError
from transfer_cli.metrics import Metrics
from transfer_cli.recipe import FinetuneRecipe
from transfer_cli.split import Split
from transfer_cli.tables import write_table

if TYPE_CHECKING:
    from transfer_cli.engine.network import Network
    from transfer_cli.engine.stages import Pictures, StageTraining

SETTLING = 64
"""From so many pictures the BatchNorms of a network of random weights get their scale."""


class Fitting:
    """A fine-tuning under way."""

    def __init__(
        self,
        asked: Request,
        recipe: FinetuneRecipe,
        features: Any,
        decoded: Decoded,
        split: Split,
        scratch: Scratch,
    ) -> None:
        with asked.progress.track("starting the training", None):
            from transfer_cli.engine import backbone, freezing, network, stages
            from transfer_cli.engine.augment import Augmenter

        self._asked, self._recipe, self._split, self._scratch = asked, recipe, split, scratch
        self._run, self._progress = asked.run, asked.progress
        self._checkpoints = Checkpoints(asked.run)
        if recipe.backbone.weights == "none":
            backbone.settle(features, decoded.images[np.flatnonzero(split.mask("train"))[:SETTLING]])
        self._network: Network = network.Network(features, recipe.head, len(split.class_names), recipe.seed)
        self._pictures: Pictures = stages.Pictures(
            decoded.images,
            np.array(decoded.indices, np.int64),
            split.truth(),
            np.flatnonzero(split.mask("train")),
            np.flatnonzero(split.mask("val")),
        )
        self._augment = Augmenter(recipe.augmentation, recipe.seed)
        self._learning = {
            layer.name for stage in recipe.stage for layer in freezing.thaw(features, stage.unfreeze).layers
        }
        self._state = State(pictures=_digest(split))
        self._last = self._checkpoints.read_last()
        if self._last and self._last[0].pictures != self._state.pictures:
            raise _changed(asked, split)

    def run(self) -> None:
        """Train all stages, from the beginning or from the last checkpoint."""
        optimizer = self._resume()
        if optimizer is None and self._recipe.head.start == heads.PROBE:
            self._start_from_probe()
        self._draw_preview()
        while True:
            self._train_stage(optimizer)
            optimizer = None
            if self._state.best is not None:
                self._network.set_weights(self._checkpoints.read_best(self._state), self._learning)
            if self._state.stage + 1 == len(self._recipe.stage):
                break
            self._state = self._state.next_stage()
        if self._state.best is not None:
            self._progress.note(_what_it_brought(self._state))

    def score(self) -> Metrics:
        """Write predictions and curves; return the figures of val and test."""
        from transfer_cli.engine import backbone, plots

        plots.curves(self._state.history, self._state.best, self._run.plots / "curves.png")
        run = backbone.run(self._network.whole)
        scored = {}
        for part in ("val", "test"):
            rows = np.flatnonzero(self._split.mask(part))
            if len(rows):
                size = self._recipe.batch_size
                parts = [run(self._pictures.images[rows[at : at + size]]) for at in range(0, len(rows), size)]
                scored[part] = rows, np.concatenate(parts)
        return score_parts(self._run, self._split, scored)

    def save(self) -> None:
        """Write the bundle; its graph is compared with the network on train pictures first."""
        from transfer_cli.engine import model
        from transfer_cli.engine.prepared import CHECKED, GRAPH_FILE, Prepared, Source

        names, width = self._split.class_names, self._network.features.output_shape[-1]
        bundle = training.new_bundle("network", self._recipe, names, width, self._run)
        source = Source({}, lambda: self._network.whole, classes=True)
        network = Prepared(source, self._recipe.inference, None, self._progress)
        if not network.is_checked:
            network.check(self._pictures.images[self._pictures.train[:CHECKED]])
        bundle.write(self._run.model, lambda folder: network.save(folder / model.NETWORK_FILE, folder / GRAPH_FILE))

    def _resume(self) -> Any:
        if self._last is None:
            return None
        state, weights, optimizer = self._last
        self._last, self._state = None, state
        self._network.set_weights(weights, self._learning)
        self._progress.note(
            f"going on after epoch {state.epoch}, in stage {state.stage + 1} of {len(self._recipe.stage)}"
        )
        self._run.log("resume", epoch=state.epoch, stage=state.stage + 1)
        # The process may have died between a checkpoint and its line.
        self._write_history()
        return optimizer

    def _start_from_probe(self) -> None:
        """Let the head begin as the best regularised logistic regression on the features."""
        from transfer_cli.engine import backbone, classify

        train, size = self._pictures.train, self._recipe.batch_size
        run = backbone.run(self._network.features)
        matrix = np.empty((len(train), self._network.features.output_shape[-1]), np.float32)
        with self._progress.track(f"features by {self._recipe.backbone.name}", len(train)) as advance:
            for start in range(0, len(train), size):
                rows = train[start : start + size]
                matrix[start : start + size] = run(self._pictures.images[rows])
                advance(len(rows))
        fitted = classify.fit(
            classifiers.find("logistic"),
            matrix,
            self._pictures.truth[train],
            classes=len(self._split.class_names),
            tune=True,
            out_of_fold=False,
            seed=self._recipe.seed,
            progress=self._progress,
        )
        self._network.start_from_probe(fitted.pipeline)
        self._run.log("probe", parameter="C", value=fitted.value)

    def _train_stage(self, optimizer: Any) -> None:
        from transfer_cli.engine.stages import StageTraining

        number, stages = self._state.stage + 1, len(self._recipe.stage)
        stage = self._recipe.stage[self._state.stage]
        name = f"stage {number} of {stages}, {stage.in_words()}"
        begun_stage = time.monotonic()
        with self._progress.track(f"preparing {name}", None):
            training_ = StageTraining(
                self._network, stage, self._recipe, self._pictures, self._augment, self._scratch, self._progress
            )
        if optimizer and self._state.done:
            training_.set_optimizer_state(optimizer)
        learning = sum(int(np.prod(variable.shape)) for variable in training_.variables)
        self._progress.note(f"{name}: {learning:,} parameters learn, {stage.epochs} epochs of {training_.steps} steps")
        if not self._state.history and self._recipe.head.start == heads.PROBE:
            self._record(training_, None, time.monotonic())
        left = stage.epochs - self._state.done
        with self._progress.track(f"{name}, steps", left * training_.steps) as advance:
            while not self._state.ended:
                begun = time.monotonic()
                trained = training_.epoch(self._state.epoch + 1, self._state.done, advance)
                self._record(training_, trained, begun)
        training_.close()
        self._run.log("stage", stage=number, epochs=self._state.done, seconds=time.monotonic() - begun_stage)

    def _record(self, training_: StageTraining, trained: tuple[float, float] | None, begun: float) -> None:
        """Score the epoch that was just trained (None: before the first), write and say it."""
        before = self._state
        stage = self._recipe.stage[before.stage]
        val = training_.score_val() if len(self._pictures.val) else (None, None)
        loss, accuracy = trained or (None, None)
        done = before.done + 1 if trained else 0
        epoch = Epoch(
            epoch=before.epoch + 1 if trained else 0,
            stage=before.stage + 1,
            learning_rate=stage.learning_rate_at(done - 0.5) if trained else None,
            loss=loss,
            accuracy=accuracy,
            val_loss=val[0],
            val_accuracy=val[1],
            seconds=time.monotonic() - begun,
        )
        best = before.best
        early = self._recipe.early_stopping
        if val[0] is not None and (best is None or stopping.key(epoch, early) > stopping.key(before.of(best), early)):
            best = epoch.epoch
        state = replace(
            before,
            done=done,
            best=best,
            best_in_stage=done if best == epoch.epoch else before.best_in_stage,
            history=(*before.history, epoch),
        )
        why = stopping.why(state, stage, early)
        self._state = state = replace(state, ended=bool(why) or done == stage.epochs)
        weights = self._network.weights(self._learning)
        self._must_be_finite(epoch, weights)
        self._checkpoints.save(state, weights, training_.optimizer_state())
        self._write_history()
        self._run.log("epoch", **{word: value for word, value in vars(epoch).items() if value is not None})
        self._progress.note(_said(epoch, state, stage))
        if why and done < stage.epochs:
            self._progress.note(why)
            self._run.log("early stop", epoch=epoch.epoch, best=best)

    def _write_history(self) -> None:
        write_table(self._run.history, HISTORY_HEADER, history_rows(self._state.history))

    def _must_be_finite(self, epoch: Epoch, weights: Mapping[str, NDArray[Any]]) -> None:
        losses = [loss for loss in (epoch.loss, epoch.val_loss) if loss is not None]
        if np.isfinite(losses).all() and all(np.isfinite(array).all() for array in weights.values()):
            return
        lower = self._recipe.stage[epoch.stage - 1].learning_rate / 10
        raise RecipeError(
            f"In epoch {epoch.epoch} the weights have run away: they, or the loss, are no finite numbers any more.",
            hint=f"Lower the learning rate: --set stage.{epoch.stage}.learning_rate={lower:g} --overwrite",
        )

    def _draw_preview(self) -> None:
        from transfer_cli.engine import plots

        chosen = plots.one_of_each(self._pictures.truth[self._pictures.train])
        names, truth = self._split.class_names, self._pictures.truth
        seen = [
            plots.Seen(self._pictures.images[row], int(self._pictures.indices[row]), names[truth[row]])
            for row in self._pictures.train[chosen]
        ]
        plots.preview(seen, self._augment, self._run.plots / "preview.png")


def _changed(asked: Request, split: Split) -> RunError:
    before = {row.path: row for row in Split.read(asked.run.split).rows} if asked.run.split.is_file() else {}
    after = {row.path: row for row in split.rows}
    counts = {
        "new": len(after.keys() - before.keys()),
        "gone": len(before.keys() - after.keys()),
        "changed or in another part": sum(before[path] != after[path] for path in before.keys() & after.keys()),
    }
    return RunError(
        f"{asked.run.path} was stopped with other pictures than {asked.folder.root} gives now: "
        f"{', '.join(f'{count} {what}' for what, count in counts.items())}. Expected the same, to go on with it.",
        hint="Begin it anew with --overwrite.",
    )


def _digest(split: Split) -> str:
    text = "\n".join(f"{row.path}\0{row.sha256}\0{row.label}\0{row.part}" for row in split.rows)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _what_it_brought(state: State) -> str:
    """Return whether training was better than not training, for a person."""
    assert state.best is not None
    best, first = state.of(state.best), state.history[0]
    if best.epoch == 0:
        return (
            "training brought nothing: no epoch did better on val than the classifier on the frozen network, "
            "so that is what was kept"
        )
    before = f", {first.val_accuracy:.3f} before training" if first.epoch == 0 else ""
    return f"kept: epoch {best.epoch}, val accuracy {best.val_accuracy:.3f}{before}"


def _said(epoch: Epoch, state: State, stage: Stage) -> str:
    val = ""
    if epoch.val_accuracy is not None and state.best is not None:
        best = state.of(state.best)
        rank = "the best so far" if best is epoch else f"best {best.val_accuracy:.3f}, epoch {best.epoch}"
        val = f"val loss {epoch.val_loss:.3f}, accuracy {epoch.val_accuracy:.3f} ({rank})"
    if epoch.loss is None:
        return f"epoch 0, the classifier on the frozen network: {val or 'no val part to compare on'}"
    loss = f"loss {epoch.loss:.3f}, accuracy {epoch.accuracy:.3f}"
    first = state.done == epoch.epoch
    where = f"{epoch.epoch} of {stage.epochs}" if first else f"{epoch.epoch} ({state.done} of {stage.epochs})"
    return f"epoch {where}: {'; '.join(filter(None, [loss, val]))}; {epoch.seconds:.1f} s"
