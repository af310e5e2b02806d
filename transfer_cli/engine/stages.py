"""One stage of a fine-tuning: what learns, from what, and one epoch after the other."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.catalog import optimizers
from transfer_cli.choices import Stage
from transfer_cli.engine import backbone, freezing
from transfer_cli.engine.augment import Augmenter
from transfer_cli.engine.network import Network
from transfer_cli.engine.scratch import Scratch
from transfer_cli.metrics import log_loss
from transfer_cli.recipe import FinetuneRecipe

_THREADS = 2
_AHEAD = 4
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Pictures:
    """What a fine-tuning learns from and is compared on.

    Attributes
    ----------
    images : ndarray of shape (n, size, size, 3), uint8
    indices : ndarray of shape (n,), int
        Position of each picture in its folder.
    truth : ndarray of shape (n,), int
        Column of its class.
    train, val : ndarray of int
        Row numbers.
    """

    images: NDArray[np.uint8]
    indices: Rows
    truth: Rows
    train: Rows
    val: Rows


@dataclass(frozen=True)
class _Inputs:
    """What a stage is given of some pictures: what the trunk made of them, or the pictures."""

    images: NDArray[np.uint8]
    rows: Rows
    kept: NDArray[np.float32] | None

    def take(self, places: Rows) -> NDArray[Any]:
        """Return the inputs at some places among the rows."""
        return self.images[self.rows[places]] if self.kept is None else self.kept[places]


class StageTraining:
    """A stage of a recipe, ready to train.

    The frozen layers below all that learns, the trunk, are run once for pictures that do not change: those of val,
    and those of train where nothing is augmented.

    Parameters
    ----------
    network : Network
    stage : Stage
    recipe : FinetuneRecipe
    pictures : Pictures
    augment : Augmenter
    scratch : Scratch
    """

    def __init__(
        self,
        network: Network,
        stage: Stage,
        recipe: FinetuneRecipe,
        pictures: Pictures,
        augment: Augmenter,
        scratch: Scratch,
    ) -> None:
        self._network, self._stage, self._recipe = network, stage, recipe
        self._pictures, self._augment, self._scratch = pictures, augment, scratch
        self._thawed = freezing.thaw(network.features, stage.unfreeze)
        freezing.set_trainable(network.whole, [*self._thawed.layers, *network.head.layers])
        self.variables = [
            variable for layer in [*self._thawed.layers, *network.head.layers] for variable in layer.trainable_variables
        ]
        self.optimizer = optimizers.find(stage.optimizer).build(stage.learning_rate, stage.optimizer_words())
        self.optimizer.build(self.variables)
        self._val = self._through_trunk(pictures.val)
        self._train = self._through_trunk(pictures.train) if recipe.augmentation.is_off else None
        self._step = self._compile_step(from_pictures=self._train is None)
        self._answer = self._compile_answer()

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        return math.ceil(len(self._pictures.train) / self._recipe.batch_size)

    def close(self) -> None:
        """Let go of what was kept for this stage; it cannot be trained any more."""
        for inputs in filter(None, (self._val, self._train)):
            if inputs.kept is not None:
                self._scratch.give_back(inputs.kept)
        # The compiled functions hold this object, and it holds them: a cycle that may live long.
        del self._val, self._train, self._step, self._answer

    def epoch(self, epoch: int, done: int, advance: Callable[[int], None]) -> tuple[float, float]:
        """Train one epoch; return its mean loss and accuracy on the pictures as they were trained on.

        Parameters
        ----------
        epoch : int
            Counted over all stages from 1; with the seed it decides the order, the augmentation and the dropout.
        done : int
            Epochs of this stage that are done, for the schedule.
        advance : callable
            Told of each step.
        """
        random = np.random.default_rng((self._recipe.seed, epoch))
        order = random.permutation(len(self._pictures.train))
        self._network.set_dropout(tuple(random.integers(0, 2**32, 2)))
        losses, right = 0.0, 0
        for step, (inputs, truth) in enumerate(self._batches(order, epoch)):
            # Never quite zero: the first step of a warm-up should move something.
            rate = self._stage.learning_rate_at(done + (step + 0.5) / self.steps)
            loss, hits = self._step(inputs, truth, np.float32(rate))
            losses += float(loss) * len(truth)
            right += int(hits)
            advance(1)
        return losses / len(order), right / len(order)

    def score_val(self) -> tuple[float, float]:
        """Return the log loss and the accuracy on val as the network is now."""
        size = self._recipe.batch_size
        truth = self._pictures.truth[self._pictures.val]
        places = np.arange(len(truth))
        parts = [
            np.asarray(self._answer(self._val.take(places[start : start + size])))
            for start in range(0, len(truth), size)
        ]
        probabilities = np.concatenate(parts)
        return log_loss(truth, probabilities), float((probabilities.argmax(axis=1) == truth).mean())

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return the optimizer's variables by number."""
        return {str(number): np.asarray(value) for number, value in enumerate(self.optimizer.variables)}

    def set_optimizer_state(self, state: Any) -> None:
        """Set what `optimizer_state` returned."""
        for number, variable in enumerate(self.optimizer.variables):
            variable.assign(state[str(number)])

    def _batches(self, order: Rows, epoch: int) -> Iterator[tuple[NDArray[Any], Rows]]:
        size = self._recipe.batch_size
        starts = range(0, len(order), size)
        if self._train is not None:
            for start in starts:
                chosen = order[start : start + size]
                yield self._train.take(chosen), self._pictures.truth[self._pictures.train[chosen]]
            return
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="augment") as pool:
            ahead: deque[tuple[Rows, list[Future[NDArray[np.uint8]]]]] = deque()
            try:
                for start in starts:
                    rows = self._pictures.train[order[start : start + size]]
                    ahead.append((rows, [pool.submit(self._augmented, row, epoch) for row in rows]))
                    if len(ahead) > _AHEAD:
                        yield self._collected(*ahead.popleft())
                while ahead:
                    yield self._collected(*ahead.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _augmented(self, row: int, epoch: int) -> NDArray[np.uint8]:
        return self._augment(self._pictures.images[row], epoch, int(self._pictures.indices[row]))

    def _collected(self, rows: Rows, futures: list[Future[NDArray[np.uint8]]]) -> tuple[NDArray[np.uint8], Rows]:
        return np.stack([future.result() for future in futures]), self._pictures.truth[rows]

    def _through_trunk(self, rows: Rows) -> _Inputs:
        """Return what the trunk makes of pictures as they are; the pictures themselves where there is no trunk."""
        images, trunk = self._pictures.images, self._thawed.trunk
        if trunk is None or not len(rows):
            return _Inputs(images, rows, None)
        kept = self._scratch.array((len(rows), *trunk.output.shape[1:]), np.float32)
        run = backbone.run(trunk)
        size = self._recipe.batch_size
        for start in range(0, len(rows), size):
            kept[start : start + size] = run(images[rows[start : start + size]])
        return _Inputs(images, rows, kept)

    def _forward(self, inputs: Any) -> Any:
        """Return the features of trunk outputs.

        The backbone answers as it does in inference whatever learns of it: BatchNorm keeps its moving statistics, which
        batches of a small folder would spoil (see keras.io, "Transfer learning & fine-tuning").
        """
        return inputs if self._thawed.upper is None else self._thawed.upper(inputs, training=False)

    def _compile_step(self, *, from_pictures: bool) -> Any:
        trunk, head, variables = self._thawed.trunk, self._network.head, self.variables
        source = self._network.features.inputs[0] if from_pictures or trunk is None else trunk.output
        classes, smoothing = head.output_shape[-1], self._stage.label_smoothing
        signature = [
            tf.TensorSpec(source.shape, source.dtype),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([], tf.float32),
        ]

        @tf.function(input_signature=signature, autograph=False)
        def step(inputs: Any, truth: Any, rate: Any) -> Any:
            if from_pictures and trunk is not None:
                inputs = trunk(inputs, training=False)
            target = (1 - smoothing) * tf.one_hot(truth, classes) + smoothing / classes
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([variable.value for variable in variables])
                logits = head(self._forward(inputs), training=True)
                loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
                total = loss + tf.add_n(head.losses) if head.losses else loss
            gradients = tape.gradient(total, [variable.value for variable in variables])
            self.optimizer.learning_rate.assign(rate)
            self.optimizer.apply(gradients, variables)
            hits = tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == truth, tf.int32))
            return loss, hits

        return step

    def _compile_answer(self) -> Any:
        source = self._network.features.inputs[0] if self._thawed.trunk is None else self._thawed.trunk.output

        @tf.function(input_signature=[tf.TensorSpec(source.shape, source.dtype)], autograph=False)
        def answer(inputs: Any) -> Any:
            return keras.ops.softmax(self._network.head(self._forward(inputs), training=False))

        return answer
