"""One stage of a fine-tuning: what learns, from what, and one epoch after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.catalog import optimizers, runtimes
from transfer_cli.errors import OutputError
from transfer_cli.inference.compiled_network import CompiledNetwork, Source
from transfer_cli.io.array_store import Scratch
from transfer_cli.metrics.scores import of_epoch
from transfer_cli.models import freezing
from transfer_cli.models.classifier_network import Network
from transfer_cli.models.compile import inference_function
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import Stage
from transfer_cli.training.augmentation.augmented_images import AugmentedImages
from transfer_cli.training.loop import early_stopping, frozen_activations, multi_gpu
from transfer_cli.training.loop.checkpoints import State
from transfer_cli.training.loop.class_balancing import Balancing
from transfer_cli.training.loop.frozen_activations import Rows, Views
from transfer_cli.training.loop.gradient_accumulation import GradientAccumulator
from transfer_cli.training.loop.images import Pictures
from transfer_cli.training.loop.micro_batches import MicroBatches
from transfer_cli.training.loop.mixed_precision import computing_in, scaled

Batches = Iterator[tuple[NDArray[Any], NDArray[np.float32]]]


class StageTrainer:
    """A stage of a recipe, ready to train.

    The frozen layers below all that learns, the trunk, are run once: for the pictures of val, and for a number of views
    of each train picture (one, where nothing is augmented).

    Parameters
    ----------
    network : Network
    stage : Stage
    recipe : FinetuneRecipe
    data : Pictures
    shown : Shown
    scratch : Scratch
    micro_batches : MicroBatches
    progress : Progress
    """

    def __init__(
        self,
        network: Network,
        stage: Stage,
        recipe: FinetuneRecipe,
        data: Pictures,
        shown: AugmentedImages,
        scratch: Scratch,
        micro_batches: MicroBatches,
        progress: Progress = SILENT,
    ) -> None:
        self._network, self._stage, self._recipe = network, stage, recipe
        self._data, self._shown, self._scratch, self._micro_batches = data, shown, scratch, micro_batches
        self._frozen_split = freezing.split_at(network.features, stage.unfreeze)
        freezing.set_trainable(network.whole, [*self._frozen_split.layers, *network.head.layers])
        rates = [stage.layer_decay**depth for depth in freezing.depths(self._frozen_split.layers)]
        learning = [
            *zip(self._frozen_split.layers, rates, strict=True),
            *((layer, 1.0) for layer in network.head.layers),
        ]
        pairs = [(variable, rate) for layer, rate in learning for variable in layer.trainable_variables]
        self.variables = [variable for variable, _ in pairs]
        optimizer = optimizers.find(stage.optimizer).build(
            stage.learning_rate,
            stage.optimizer_words(),
            clip=stage.gradient_clip,
            rates=[rate for _, rate in pairs] if stage.layer_decay < 1 else None,
        )
        self.optimizer = scaled(optimizer, recipe.hardware.precision)
        self.optimizer.build(self.variables)
        self._averages = [tf.Variable(variable.value) for variable in self.variables] if stage.ema else []
        self._balancing = Balancing.of(recipe.balance, data.truth[data.train], network.head.output_shape[-1])
        self._val, self._views = self._run_trunk(progress)
        self._from_pictures = self._views is None
        self._devices = multi_gpu.cards(recipe.hardware.gpus)
        self._gradients = multi_gpu.shared(self._gradients_of, self._devices)
        self._step = self._compile_step()
        self._gathering: GradientAccumulator | None = None
        self._answer = self._compile_answer()

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        return math.ceil(len(self._data.train) / self._micro_batches.step)

    def close(self) -> None:
        """Let go of what was kept for this stage; it cannot be trained any more."""
        for kept in (self._val, None if self._views is None else self._views.kept):
            if kept is not None:
                self._scratch.give_back(kept)
        # The compiled functions hold this object, and it holds them: a cycle that may live long.
        del self._val, self._views, self._step, self._gathering, self._gradients, self._answer

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
        if self._gathering is not None:
            self._gathering.forget()
        random = np.random.default_rng((self._recipe.seed, epoch))
        order = self._balancing.order(self._data.truth[self._data.train], random)
        self._network.set_dropout(tuple(random.integers(0, 2**32, 2)))
        losses, right, lost = 0.0, 0, 0
        batches = self._batches(order, epoch)
        for step, sizes in enumerate(self._micro_batches.cut(len(order))):
            # Never quite zero: the first step of a warm-up should move something.
            rate = np.float32(self.learning_rate(state, (step + 0.5) / self.steps))
            for size, (loss, hits) in zip(sizes, self._learn(batches, sizes, rate), strict=True):
                if self._recipe.hardware.precision == "mixed_float16" and not math.isfinite(loss):
                    lost += size
                else:
                    losses, right = losses + loss, right + hits
            advance(1)
        # Now and then a step is too large for half the digits and left out; where most are, it is the weights.
        seen = len(order) - lost
        return (losses / seen, right / seen) if 2 * seen > len(order) else (math.nan, math.nan)

    def steps_at(self, rates: Iterable[float]) -> Iterator[float]:
        """Train a step at each of some learning rates, whatever the schedule says; yield the loss of each.

        Pictures come in the order of the epochs, from the first on.
        """
        left = iter(rates)
        for epoch in itertools.count(1):
            random = np.random.default_rng((self._recipe.seed, epoch))
            order = self._balancing.order(self._data.truth[self._data.train], random)
            self._network.set_dropout(tuple(random.integers(0, 2**32, 2)))
            batches = self._batches(order, epoch)
            for sizes in self._micro_batches.cut(len(order)):
                rate = next(left, None)
                if rate is None:
                    return
                yield sum(loss for loss, _ in self._learn(batches, sizes, np.float32(rate))) / sum(sizes)

    def learning_rate(self, state: State, into_epoch: float) -> float:
        """Return the learning rate some way into the epoch that follows a state."""
        lowered = self._stage.learning_rate_at(state.done + into_epoch, early_stopping.reductions(state, self._stage))
        return float(lowered / 2**state.halvings)

    def score_val(self) -> dict[str, float]:
        """Return what epochs are compared by, on val as the network is now; see metrics.of_epoch."""
        size, val = self._recipe.batch_size, self._data.val
        truth, answer = self._data.truth[val], self._micro_batches.run_in_chunks(self._answer)
        parts = []
        for start in range(0, len(val), size):
            few = slice(start, start + size)
            inputs = self._data.images[val[few]] if self._val is None else self._val[few]
            parts.append(answer(inputs))
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

    def _batches(self, order: Rows, epoch: int) -> Batches:
        train = self._data.train
        sizes = [size for step in self._micro_batches.cut(len(order)) for size in step]
        chosen = np.split(order, np.cumsum(sizes)[:-1])
        if self._views is not None:
            for few in chosen:
                # A view is what is shown in the epoch of its number.
                epochs = self._views.numbers(few, epoch) + 1
                yield self._views.take(few, epoch), self._shown.targets(train[few], epochs)
            return
        jobs = [[(int(row), epoch) for row in train[few]] for few in chosen]
        for few, batch in zip(chosen, frozen_activations.shown_in_batches(self._shown, jobs), strict=True):
            yield batch, self._shown.targets(train[few], np.full(len(few), epoch))

    def _run_trunk(self, progress: Progress) -> tuple[NDArray[np.float32] | None, Views | None]:
        """Return what the trunk makes of val and of train; None where the pictures themselves are taken."""
        below, data, size = self._frozen_split.trunk, self._data, self._recipe.batch_size
        if below is None:
            return None, None
        shape = below.output.shape[1:]
        exact = self._micro_batches.run_in_chunks(inference_function(below))
        still = self._recipe.augmentation.is_off
        val = frozen_activations.plain(exact, data.images, data.val, shape, self._scratch, size)
        if still:
            kept = frozen_activations.plain(exact, data.images, data.train, shape, self._scratch, size)
            return val, Views(kept[None], self._recipe.seed)
        count = frozen_activations.views_of(self._recipe.trunk, self._stage, len(data.train), shape)
        if not count:
            return val, None
        source = Source({}, lambda: below, name="the frozen layers")
        # Views are many, and are run on what is quickest; val is compared from epoch to epoch, and stays exact.
        quick = CompiledNetwork(source, self._recipe.inference, None, progress)
        words = f"{count} views of {len(data.train)} pictures through {len(below.layers)} frozen layers"
        # A converted graph is compared with exact answers, and has a precision of its own.
        computing = self._computing() if quick.runtime == runtimes.KERAS else nullcontext()
        try:
            with progress.track(words, count * len(data.train)) as advance, computing:
                kept = frozen_activations.several(
                    self._micro_batches.run_in_chunks(quick),
                    self._shown,
                    data.train,
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
        return inputs if self._frozen_split.upper is None else self._frozen_split.upper(inputs, training=training)

    def _computing(self) -> AbstractContextManager[None]:
        # The logits are exact: the loss is made of them.
        layers = [*self._network.features.layers, *self._network.head.layers[:-1]]
        return computing_in(self._recipe.hardware.precision, layers)

    def _learn(self, batches: Batches, sizes: list[int], rate: np.float32) -> Iterator[tuple[float, int]]:
        """Go a step; yield for each of its portions what it adds to the sum of the losses, and its hits."""
        if len(sizes) == 1:
            loss, hits = self._step(*next(batches), rate)
            yield float(loss) * sizes[0], int(hits)
            return
        if self._gathering is None:
            signature = self._signature()
            self._gathering = GradientAccumulator(
                self._gradients, self._follow, signature, self.variables, self._computing
            )
        for _ in sizes:
            loss, hits = self._gathering.gather(*next(batches), sum(sizes))
            yield float(loss) * sum(sizes), int(hits)
        self._gathering.follow(rate)

    def _signature(self) -> list[tf.TensorSpec]:
        below = self._frozen_split.trunk
        source = self._network.features.inputs[0] if self._from_pictures or below is None else below.output
        classes = self._network.head.output_shape[-1]
        return [
            tf.TensorSpec(source.shape, source.dtype),
            tf.TensorSpec([None, classes], tf.float32),
            tf.TensorSpec([], tf.float32),
        ]

    def _compile_step(self) -> Any:
        @tf.function(input_signature=self._signature(), autograph=False)
        def step(inputs: Any, truth: Any, rate: Any) -> Any:
            rows = None if len(self._devices) < 2 else tf.cast(tf.shape(truth)[0], tf.float32)
            loss, hits, gradients = self._gradients(inputs, truth, rows)
            self._follow(gradients, rate)
            return loss, hits

        with self._computing():
            step.get_concrete_function()
        return step

    def _gradients_of(self, inputs: Any, truth: Any, rows: Any) -> tuple[Any, Any, list[Any]]:
        """Return the loss, the hits and the gradients of a batch, or its share in those of a step of so many rows."""
        head, smoothing = self._network.head, self._stage.label_smoothing
        if self._from_pictures and self._frozen_split.trunk is not None:
            inputs = self._frozen_split.trunk(inputs, training=False)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in self.variables])
            logits = head(self._forward(inputs, training=True), training=True)
            losses = self._balancing.losses(truth, logits, smoothing)
            loss = tf.reduce_mean(losses) if rows is None else tf.reduce_sum(losses) / rows
            total = loss
            if head.losses:
                share = 1.0 if rows is None else tf.cast(tf.shape(truth)[0], tf.float32) / rows
                total = loss + share * tf.add_n(head.losses)
            total = self.optimizer.scale_loss(total)
        gradients = tape.gradient(total, [variable.value for variable in self.variables])
        return loss, self._balancing.hits(truth, logits), gradients

    def _follow(self, gradients: list[Any], rate: Any) -> None:
        """Go one step; the averages follow."""
        momentum = self._stage.ema
        self.optimizer.learning_rate.assign(rate)
        self.optimizer.apply(gradients, self.variables)
        for variable, average in zip(self.variables, self._averages, strict=False):
            average.assign(momentum * average + (1 - momentum) * variable.value)

    def _compile_answer(self) -> Any:
        source = (
            self._network.features.inputs[0] if self._frozen_split.trunk is None else self._frozen_split.trunk.output
        )

        @tf.function(input_signature=[tf.TensorSpec(source.shape, source.dtype)], autograph=False)
        def answer(inputs: Any) -> Any:
            return self._network.activation(self._network.head(self._forward(inputs), training=False))

        return answer
