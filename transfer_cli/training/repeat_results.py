"""The results of a repeated training: N runs, the spread of their scores, and what was varied between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transfer_cli.data.split import Split
from transfer_cli.data.split_assignment import PARTS
from transfer_cli.metrics.spread import Spreads, spreads_of
from transfer_cli.runs.repeats_directory import RepeatsDirectory
from transfer_cli.runs.request import TrainingResult

_NO_INTERVAL = "The standard deviation and the range are those of single trainings, and no confidence interval"
_NAMES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Repeats:
    """The results of a repeated training.

    Attributes
    ----------
    directory : RepeatsDirectory
        The folder of the runs.
    seeds : tuple of int
    results : tuple of TrainingResult
        Of each seed.
    varied : tuple of str
        Parts of the split whose images are not the same in all runs: ``train``, ``val`` and ``test``, or some of them.
    """

    directory: RepeatsDirectory
    seeds: tuple[int, ...]
    results: tuple[TrainingResult, ...]
    varied: tuple[str, ...]

    @classmethod
    def of(cls, directory: RepeatsDirectory, seeds: Sequence[int], results: Sequence[TrainingResult]) -> Repeats:
        """Return the results of all runs, which are complete."""
        splits = [Split.read(result.run.split) for result in results]
        return cls(directory, tuple(seeds), tuple(results), _varied_parts(splits))

    @property
    def spreads(self) -> Spreads:
        """The spread of the main metric and of the log loss on val and test: ``spreads["test"]["accuracy"].mean``."""
        return spreads_of([result.metrics for result in self.results])

    @property
    def were_complete(self) -> bool:
        """Whether all runs were complete already, so that nothing was trained."""
        return all(result.was_complete for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Return the runs, what was varied, and the spreads, as JSON can hold them."""
        return {
            "runs": [
                {"run": result.run.path.name, "seed": seed, "skipped": len(result.skipped)}
                for seed, result in zip(self.seeds, self.results, strict=True)
            ],
            "varied": ["seed", *self.varied],
            "metrics": {
                part: {name: spread.to_dict() for name, spread in each.items()} for part, each in self.spreads.items()
            },
        }

    def summary(self) -> list[str]:
        """Return what was varied, and what the spread does not tell, one line each."""
        if not self.varied:
            return [
                "varied: the seed only; the images of each part are the same in all runs",
                f"{_NO_INTERVAL}: all runs share their images.",
            ]
        if "test" not in self.varied:
            names = " and ".join(_NAMES[part] for part in self.varied)
            return [
                f"varied: the seed, and which images outside the test set are {names} images",
                f"{_NO_INTERVAL}: all runs are tested on the same images. For another test set, see the interval of "
                "each run.",
            ]
        names = ", ".join(_NAMES[part] for part in self.varied[:-1])
        return [
            f"varied: the seed, and which images are {names} and {_NAMES[self.varied[-1]]} images",
            f"{_NO_INTERVAL}: the runs share images.",
        ]


def _varied_parts(splits: Sequence[Split]) -> tuple[str, ...]:
    def images(split: Split, part: str) -> frozenset[str]:
        return frozenset(row.path for row in split.rows if row.part == part)

    return tuple(part for part in PARTS if len({images(split, part) for split in splits}) > 1)
