"""The options of a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from transfer_cli.catalog import runtimes
from transfer_cli.data.split import Split
from transfer_cli.io.cache import digest_of_facts

By = Literal["probe", "logme"]
PROBE: By = "probe"
LOGME: By = "logme"
IMAGES = 2000
"""Default number of images: enough to detect a difference of 2 points in accuracy if 10 % of predictions differ."""


@dataclass(frozen=True)
class RankOptions:
    """Which networks to compare, and how.

    Attributes
    ----------
    among : sequence of str
        Names of backbones or patterns such as ``mobilenet*``. [all pretrained ones]
    weights : sequence of str
        Some of imagenet, embedded and none. [the usual weights of each backbone]
    images : int
        Maximum number of images to compare by.
    by : {"probe", "logme"}
        ``probe``: cross-validated classifier; ``logme``: LogME score, which is faster.
    max_ms : float, optional
        Maximum ms/image; slower candidates are measured, but not scored.
    max_mb : float, optional
        Maximum size of the weights in MB; larger candidates are not run.
    download : bool
        Download missing weights.
    runtime : str
        A runtime of the catalog, or ``auto``.
    group_by : str, optional
        Regular expression that groups images, as split.group_by of a recipe.
    bit_depth : int, optional
        As images.bit_depth of a recipe.
    seed : int
        Random seed of the choice of images, the folds, and random weights.
    """

    among: Sequence[str] = ()
    weights: Sequence[str] = ()
    images: int = IMAGES
    by: By = PROBE
    max_ms: float | None = None
    max_mb: float | None = None
    download: bool = False
    runtime: str = runtimes.AUTO
    group_by: str | None = None
    bit_depth: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("among", "weights"):
            if isinstance(value := getattr(self, name), str):
                raise TypeError(
                    f"Expected {name} as a sequence of names, such as [{value!r}]. Received: str {value!r}."
                )

    def settings(self, split: Split | None) -> dict[str, Any]:
        """Return the settings by which rankings differ; with more time, or more weights, one continues.

        Parameters
        ----------
        split : Split, optional
            The split that was given.
        """
        rows = None if split is None else digest_of_facts({row.path: row.part for row in split.rows})[:8]
        facts = {name: value for name, value in asdict(self).items() if name != "download"}
        lists = {name: list(facts[name]) for name in ("among", "weights")}
        return {"method": "rank", **facts, **lists, "split": rows}

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings of a recipe that extracts features as this ranking does."""
        return {
            "seed": self.seed,
            "inference.runtime": self.runtime,
            "images.bit_depth": self.bit_depth,
            "split.group_by": self.group_by,
        }
