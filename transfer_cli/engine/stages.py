"""One stage of a fine-tuning: what learns, from what, and one epoch after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.catalog import optimizers
from transfer_cli.engine import backbone, freezing, stopping, trunk
from transfer_cli.engine.balancing import Balancing
from transfer_cli.engine.checkpoints import State
from transfer_cli.engine.network import Network
from transfer_cli.engine.prepared import Prepared, Source
from transfer_cli.engine.scratch import Scratch
from transfer_cli.engine.shown import Shown
from transfer_cli.engine.trunk import Rows, Views
from transfer_cli.errors import OutputError
from transfer_cli.metrics import of_epoch
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe import FinetuneRecipe
from transfer_cli.stage_choices import Stage


@dataclass(frozen=True)
class Pictures:
    """What a fine-tuning learns from and is compared on.

    Attributes
    ----------
    images : ndarray of shape (n, size, size, 3), uint8
    indices : ndarray of shape (n,), int
        Position of each picture in its folder.
    truth : ndarray of shape (n,) or (n, k), int
        Column of its class, or the indicator matrix of its labels.
    train, val : ndarray of int
        Row numbers.
    """

    images: NDArray[np.uint8]
    indices: Rows
    truth: Rows
    train: Rows
    val: Rows


class StageTraining:
    """A stage of a recipe, ready to train.

    The frozen layers below all that learns, the trunk, are run once: for the pictures of val, and for a number of views
    of each train picture (one, where nothing is augmented).

    Parameters
    ----------
    network : Network
    stage : Stage
    recipe : FinetuneRecipe
    pictures : Pictures
    shown : Shown
    scratch : Scratch
    progress : Progress
    """

    def __init__(
        self,
        network: Network,
        stage: Stage,
        recipe: FinetuneRecipe,
        pictures: Pictures,
        shown: Shown,
        scratch: Scratch,
        progress: Progress = SILENT,
    ) -> None:
        self._network, self._stage, self._recipe = network, stage, recipe
        self._pictures, self._shown, self._scratch = pictures, shown, scratch
        self._thawed = freezing.thaw(network.features, stage.unfreeze)
        freezing.set_trainable(network.whole, [*self._thawed.layers, *network.head.layers])
        rates = [stage.layer_decay**depth for depth in freezing.depths(self._thawed.layers)]
        learning = [*zip(self._thawed.layers, rates, strict=True), *((layer, 1.0) for layer in network.head.layers)]
        pairs = [(variable, rate) for layer, rate in learning for variable in layer.trainable_variables]
        self.variables = [variable for variable, _ in pairs]
        self.optimizer = optimizers.find(stage.optimizer).build(
            stage.learning_rate,
            stage.optimizer_words(),
            clip=stage.gradient_clip,
            rates=[rate for _, rate in pairs] if stage.layer_decay < 1 else None,
        )
        self.optimizer.build(self.variables)
        self._averages = [tf.Variable(variable.value) for variable in self.variables] if stage.ema else []
        self._balancing = Balancing.of(recipe.balance, pictures.truth[pictures.train], network.head.output_shape[-1])
        self._val, self._views = self._run_trunk(progress)
        self._step = self._compile_step(from_pictures=self._views is None)
        self._answer = self._compile_answer()

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        return math.ceil(len(self._pictures.train) / self._recipe.batch_size)

    def close(self) -> None:
        """Let go of what was kept for this stage; it cannot be trained any more."""
        for kept in (self._val, None if self._views is None else self._views.kept):
            if kept is not None:
                self._scratch.give_back(kept)
        # The compiled functions hold this object, and it holds them: a cycle that may live long.
        del self._val, self._views, self._step, self._answer

    def epoch(self, epoch: int, state: State, advance: Callable[[int], None]) -> tuple[float, float]:
        """Train one epoch; return its mean loss and accuracy on the pictures as they were trained on.

        Parameters
        ----------
        epoch : int
            Counted over all stages from 1; with the seed it decides the order, the augmentation and the dropout.
        state : State
            Where training stands in this stage, for the learning rate.
        advance : callable
            Told of each step.
        """
        random = np.random.default_rng((self._recipe.seed, epoch))
        order = self._balancing.order(self._pictures.truth[self._pictures.train], random)
        self._network.set_dropout(tuple(random.integers(0, 2**32, 2)))
        losses, right = 0.0, 0
        for step, (inputs, target) in enumerate(self._batches(order, epoch)):
            # Never quite zero: the first step of a warm-up should move something.
            rate = self.learning_rate(state, (step + 0.5) / self.steps)
            loss, hits = self._step(inputs, target, np.float32(rate))
            losses += float(loss) * len(target)
            right += int(hits)
            advance(1)
        return losses / len(order), right / len(order)

    def steps_at(self, rates: Iterable[float]) -> Iterator[float]:
        """Train a step at each of some learning rates, whatever the schedule says; yield the loss of each.

        Pictures come in the order of the epochs, from the first on.
        """
        left = iter(rates)
        for epoch in itertools.count(1):
            random = np.random.default_rng((self._recipe.seed, epoch))
            order = self._balancing.order(self._pictures.truth[self._pictures.train], random)
            self._network.set_dropout(tuple(random.integers(0, 2**32, 2)))
            for inputs, target in self._batches(order, epoch):
                rate = next(left, None)
                if rate is None:
                    return
                yield float(self._step(inputs, target, np.float32(rate))[0])

    def learning_rate(self, state: State, into_epoch: float) -> float:
        """Return the learning rate some way into the epoch that follows a state."""
        lowered = self._stage.learning_rate_at(state.done + into_epoch, stopping.reductions(state, self._stage))
        return float(lowered / 2**state.halvings)

    def score_val(self) -> dict[str, float]:
        """Return what epochs are compared by, on val as the network is now; see metrics.of_epoch."""
        size, val = self._recipe.batch_size, self._pictures.val
        truth = self._pictures.truth[val]
        parts = []
        for start in range(0, len(val), size):
            few = slice(start, start + size)
            inputs = self._pictures.images[val[few]] if self._val is None else self._val[few]
            parts.append(np.asarray(self._answer(inputs)))
        return of_epoch(truth, np.concatenate(parts))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the network have the average of its weights for a while, where the stage keeps one."""
        learnt = [tf.identity(variable.value) for variable in self.variables] if self._averages else []
        self.finish()
        yield
        for variable, value in zip(self.variables, learnt, strict=False):
            variable.assign(value)

    def finish(self) -> None:
        """Give the network the average of its weights for good, where the stage keeps one."""
        for variable, average in zip(self.variables, self._averages, strict=False):
            variable.assign(average)

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return the optimizer's variables by number, and the averages."""
        found = {str(number): np.asarray(value) for number, value in enumerate(self.optimizer.variables)}
        return found | {f"average/{number}": average.numpy() for number, average in enumerate(self._averages)}

    def set_optimizer_state(self, state: Any) -> None:
        """Set what `optimizer_state` returned."""
        for number, variable in enumerate(self.optimizer.variables):
            variable.assign(state[str(number)])
        for number, average in enumerate(self._averages):
            average.assign(state[f"average/{number}"])

    def _batches(self, order: Rows, epoch: int) -> Iterator[tuple[NDArray[Any], NDArray[np.float32]]]:
        size, train = self._recipe.batch_size, self._pictures.train
        chosen = [order[start : start + size] for start in range(0, len(order), size)]
        if self._views is not None:
            for few in chosen:
                # A view is what is shown in the epoch of its number.
                epochs = self._views.numbers(few, epoch) + 1
                yield self._views.take(few, epoch), self._shown.targets(train[few], epochs)
            return
        jobs = [(int(row), epoch) for row in train[order]]
        for few, batch in zip(chosen, trunk.shown_in_batches(self._shown, jobs, size), strict=True):
            yield batch, self._shown.targets(train[few], np.full(len(few), epoch))

    def _run_trunk(self, progress: Progress) -> tuple[NDArray[np.float32] | None, Views | None]:
        """Return what the trunk makes of val and of train; None where the pictures themselves are taken."""
        below, pictures, size = self._thawed.trunk, self._pictures, self._recipe.batch_size
        if below is None:
            return None, None
        shape = below.output.shape[1:]
        exact = backbone.run(below)
        still = self._recipe.augmentation.is_off
        val = trunk.plain(exact, pictures.images, pictures.val, shape, self._scratch, size)
        if still:
            kept = trunk.plain(exact, pictures.images, pictures.train, shape, self._scratch, size)
            return val, Views(kept[None], self._recipe.seed)
        count = trunk.views_of(self._recipe.trunk, self._stage, len(pictures.train), shape)
        if not count:
            return val, None
        source = Source({}, lambda: below, name="the frozen layers")
        # Views are many, and are run on what is quickest; val is compared from epoch to epoch, and stays exact.
        quick = Prepared(source, self._recipe.inference, None, progress)
        words = f"{count} views of {len(pictures.train)} pictures through {len(below.layers)} frozen layers"
        try:
            with progress.track(words, count * len(pictures.train)) as advance:
                kept = trunk.several(
                    quick,
                    self._shown,
                    pictures.train,
                    count,
                    shape,
                    self._scratch,
                    size,
                    advance,
                )
        except OutputError as error:
            if self._recipe.trunk.views != "auto":
                raise
            progress.warn(f"the frozen layers are run in every epoch, which is slower: {error}")
            return val, None
        return val, Views(kept, self._recipe.seed)

    def _forward(self, inputs: Any, training: bool = False) -> Any:
        """Return the features of trunk outputs.

        A backbone with BatchNorm answers as it does in inference whatever learns of it: it keeps its moving statistics,
        which batches of a small folder would spoil (see keras.io, "Transfer learning & fine-tuning").
        """
        training = training and not self._network.has_norms
        return inputs if self._thawed.upper is None else self._thawed.upper(inputs, training=training)

    def _compile_step(self, *, from_pictures: bool) -> Any:
        below, head, variables = self._thawed.trunk, self._network.head, self.variables
        source = self._network.features.inputs[0] if from_pictures or below is None else below.output
        classes, smoothing, momentum = head.output_shape[-1], self._stage.label_smoothing, self._stage.ema
        signature = [
            tf.TensorSpec(source.shape, source.dtype),
            tf.TensorSpec([None, classes], tf.float32),
            tf.TensorSpec([], tf.float32),
        ]

        @tf.function(input_signature=signature, autograph=False)
        def step(inputs: Any, truth: Any, rate: Any) -> Any:
            if from_pictures and below is not None:
                inputs = below(inputs, training=False)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([variable.value for variable in variables])
                logits = head(self._forward(inputs, training=True), training=True)
                loss = tf.reduce_mean(self._balancing.losses(truth, logits, smoothing))
                total = loss + tf.add_n(head.losses) if head.losses else loss
            gradients = tape.gradient(total, [variable.value for variable in variables])
            self.optimizer.learning_rate.assign(rate)
            self.optimizer.apply(gradients, variables)
            for variable, average in zip(variables, self._averages, strict=False):
                average.assign(momentum * average + (1 - momentum) * variable.value)
            return loss, self._balancing.hits(truth, logits)

        return step

    def _compile_answer(self) -> Any:
        source = self._network.features.inputs[0] if self._thawed.trunk is None else self._thawed.trunk.output

        @tf.function(input_signature=[tf.TensorSpec(source.shape, source.dtype)], autograph=False)
        def answer(inputs: Any) -> Any:
            return self._network.activation(self._network.head(self._forward(inputs), training=False))

        return answer
