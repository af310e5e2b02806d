"""The bar that a classifier has to reach before it may be used."""

from __future__ import annotations

from dataclasses import dataclass

from transfer_cli.catalog.tasks import MULTI_LABEL, Task
from transfer_cli.errors import GateError, InputError
from transfer_cli.metrics.scores import Metrics

FLAG = "--min-accuracy"


@dataclass(frozen=True)
class Gate:
    """The least accuracy that is asked for.

    Attributes
    ----------
    least : float
        From 0 to 1. The accuracy itself is held against it, not its interval.
    """

    least: float

    def must_fit(self, task: Task) -> None:
        """Raise InputError where pictures have several labels, of which there is no one accuracy."""
        if task == MULTI_LABEL:
            raise InputError(
                f"{FLAG} is for one class a picture. Received: pictures of any number of labels, which are right "
                "or wrong one by one: there is no one accuracy.",
                hint=f"Leave out {FLAG}, and look at mean_average_precision and the F1 scores in metrics.json.",
            )

    def must_be_fair(self, is_known: bool, left: str) -> None:
        """Raise GateError where it is not known which pictures a model has learnt from."""
        if not is_known:
            raise GateError(
                f"{FLAG} {self.least:g} cannot be judged: it is not known what the model has learnt from, so any of "
                f"these pictures may be among that. {left}",
                hint=f"Evaluate the run that it came from, or train again: a bundle says it now. Or leave out {FLAG}.",
            )

    def judge(
        self,
        metrics: Metrics,
        parts: tuple[str, ...],
        *,
        left: str,
        hint: str,
        none: str = "Lay out a test part, or leave some to be kept: --set split.test=0.2",
    ) -> None:
        """Raise GateError where the first of `parts` that has figures is below the bar.

        Parameters
        ----------
        metrics : mapping
        parts : tuple of str
        left : str
            What there is all the same, a sentence.
        hint : str
            What to type next.
        none : str
            The same where there are no pictures of any of `parts`.
        """
        part = next((part for part in parts if part in metrics), None)
        if part is None:
            raise GateError(
                f"{FLAG} {self.least:g} cannot be judged: there are no pictures of {' or '.join(parts)}. {left}",
                hint=none,
            )
        accuracy = metrics[part]["accuracy"]
        if accuracy["value"] >= self.least:
            return
        images = int(metrics[part]["images"]["value"])
        raise GateError(
            f"The accuracy on {part} is {accuracy['value']:.3f} (95 % interval {accuracy['low']:.3f} to "
            f"{accuracy['high']:.3f}; {images} pictures), below the bar of {self.least:g} ({FLAG}). {left}",
            hint=hint,
        )
