"""One stage of a fine-tuning: trains epochs and scores them on the validation set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.metrics.scores import epoch_metrics
from transfer_cli.models import freezing
from transfer_cli.recipe.stages import Stage
from transfer_cli.training.loop import early_stopping
from transfer_cli.training.loop.checkpoints import State
from transfer_cli.training.loop.class_balancing import Balancing
from transfer_cli.training.loop.context import StageContext, TrainingData
from transfer_cli.training.loop.stage_inputs import Batch, StageInputs
from transfer_cli.training.loop.training_step import TrainingStep


class StageTrainer:
    """Trains the head and the unfrozen layers of one stage of a recipe; see `build`.

    Attributes
    ----------
    step : TrainingStep
    steps_per_epoch : int
    """

    def __init__(self, context: StageContext, stage: Stage, inputs: StageInputs, step: TrainingStep) -> None:
        self._context, self._stage, self._data, self._inputs, self.step = context, stage, inputs.data, inputs, step
        self.steps_per_epoch = math.ceil(len(self._data.train) / context.micro_batches.step)

    @classmethod
    def build(cls, context: StageContext, stage: Stage, data: TrainingData) -> StageTrainer:
        """Freeze the layers that the stage does not train, run them once on all images, and compile a training step."""
        network = context.network
        frozen_split = freezing.split_at(network.features, stage.unfreeze)
        freezing.set_trainable(network.whole, [*frozen_split.layers, *network.head.layers])
        balancing = Balancing.of(context.recipe.balance, data.truth[data.train], network.head.output_shape[-1])
        inputs = StageInputs.build(context, stage, data, frozen_split.frozen)
        step = TrainingStep(context, stage, frozen_split, balancing, inputs.views is None)
        step.compile()
        return cls(context, stage, inputs, step)

    def close(self) -> None:
        """Release the memory of the stage; it cannot be trained any more."""
        self._inputs.close()
        self.step.close()
        del self._inputs, self.step

    def epoch(self, epoch: int, state: State, advance: Callable[[int], None]) -> tuple[float, float]:
        """Train one epoch; return its mean loss and accuracy on the augmented training images.

        Parameters
        ----------
        epoch : int
            Counted over all stages from 1; with the seed it determines the order, the augmentation and the dropout.
        state : State
            The progress of this stage, for the learning rate.
        advance : callable
            Called after each step.
        """
        self.step.reset()
        losses, right, skipped, count = 0.0, 0, 0, 0
        for number, (sizes, batches) in enumerate(self._steps(epoch)):
            # Never quite zero: the first step of a warm-up should train, too.
            rate = np.float32(self.learning_rate(state, (number + 0.5) / self.steps_per_epoch))
            for size, (loss, hits) in zip(sizes, self.step.run(batches, sizes, rate), strict=True):
                count += size
                if self._context.recipe.hardware.precision == "mixed_float16" and not math.isfinite(loss):
                    skipped += size
                else:
                    losses, right = losses + loss, right + hits
            advance(1)
        # Loss scaling skips a step now and then whose gradients overflow; if most are skipped, training diverged.
        seen = count - skipped
        return (losses / seen, right / seen) if 2 * seen > count else (math.nan, math.nan)

    def steps_at(self, rates: Iterable[float]) -> Iterator[float]:
        """Train one step at each of some learning rates; yield its mean loss.

        Images come in the order of the epochs, from the first on.
        """
        rates = iter(rates)
        steps = itertools.chain.from_iterable(map(self._steps, itertools.count(1)))
        for rate, (sizes, batches) in zip(rates, steps, strict=False):
            yield sum(loss for loss, _ in self.step.run(batches, sizes, np.float32(rate))) / sum(sizes)

    def learning_rate(self, state: State, into_epoch: float) -> float:
        """Return the learning rate at a fraction of the epoch after a state."""
        reductions = early_stopping.reductions(state, self._stage)
        rate = self._stage.learning_rate_at(state.done + into_epoch, reductions, self.steps_per_epoch)
        return float(rate / 2**state.halvings)

    def score_val(self) -> dict[str, float]:
        """Return the metrics of the network on val, by which epochs are compared; see metrics.scores.epoch_metrics."""
        run = self._context.micro_batches.run_in_chunks(self.step.predict)
        outputs = [run(batch) for batch in self._inputs.val_batches(self._context.recipe.batch_size)]
        return epoch_metrics(self._data.truth[self._data.val], np.concatenate(outputs))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the network the moving average of its weights within the block, if the stage keeps one."""
        trained = [tf.identity(variable.value) for variable in self.step.variables] if self.step.averages else []
        self.finish()
        yield
        for variable, value in zip(self.step.variables, trained, strict=False):
            variable.assign(value)

    def finish(self) -> None:
        """Give the network the moving average of its weights, if the stage keeps one."""
        for variable, average in zip(self.step.variables, self.step.averages, strict=False):
            variable.assign(average)

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return the optimizer's variables by number, and the moving averages."""
        variables = {str(number): np.asarray(value) for number, value in enumerate(self.step.optimizer.variables)}
        return variables | {f"average/{number}": value.numpy() for number, value in enumerate(self.step.averages)}

    def set_optimizer_state(self, state: Any) -> None:
        """Set what `optimizer_state` returned."""
        for number, variable in enumerate(self.step.optimizer.variables):
            variable.assign(state[str(number)])
        for number, average in enumerate(self.step.averages):
            average.assign(state[f"average/{number}"])

    def _steps(self, epoch: int) -> Iterator[tuple[list[int], Iterator[Batch]]]:
        """Yield each step of an epoch: the sizes of its micro-batches, and the iterator that they come from."""
        random = np.random.default_rng((self._context.recipe.seed, epoch))
        order = self.step.balancing.order(self._data.truth[self._data.train], random)
        self._context.network.set_dropout(tuple(random.integers(0, 2**32, 2)))
        chunks = self._context.micro_batches.chunks(len(order))
        batches = self._inputs.batches([size for step in chunks for size in step], order, epoch)
        for sizes in chunks:
            yield sizes, batches
