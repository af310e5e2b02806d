"""The result of a ranking of layers: the scores of each depth of a network, and of its joined levels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer_cli.data.skipped import Skipped
from transfer_cli.evaluation.comparison import SIGNIFICANT, holm, mcnemar
from transfer_cli.ranking.probe import ProbeScore

if TYPE_CHECKING:
    from transfer_cli.models.depth_features import Depth

_SMALLEST_P = 0.001


@dataclass(frozen=True)
class DepthScore:
    """The scores of the features of one depth.

    Attributes
    ----------
    depth : Depth
    score : ProbeScore
    """

    depth: Depth
    score: ProbeScore

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON can hold them."""
        depth = {name: value for name, value in asdict(self.depth).items() if name != "start"}
        return {**depth, **self.score.to_dict()}


@dataclass(frozen=True)
class LayerRanking:
    """The depths of a network, from shallow to deep.

    Attributes
    ----------
    source : Path
        The image folder.
    backbone, weights : str
    images : int
        Number of images that the scores are computed on.
    classes, seed : int
    depths : tuple of DepthScore
    joined : ProbeScore
        Of the joined levels, as by the pooling ``levels``.
    skipped : tuple of Skipped
        Files outside the test set that could not be read.
    """

    source: Path
    backbone: str
    weights: str
    images: int
    classes: int
    seed: int
    depths: tuple[DepthScore, ...]
    joined: ProbeScore
    skipped: tuple[Skipped, ...] = ()

    @property
    def best(self) -> DepthScore:
        """The depth with the lowest log loss; the shallowest one of a tie."""
        return min(self.depths, key=lambda each: each.score.log_loss)

    @cached_property
    def p_adjusted(self) -> float:
        """The p-value of the comparison of the best depth with the joined levels.

        By McNemar's exact test on the out-of-fold predictions. Since the best depth is selected from all of them, it is
        adjusted for their number (Holm 1979).
        """
        adjusted = holm([mcnemar(each.score.correct, self.joined.correct) for each in self.depths])
        return adjusted[self.depths.index(self.best)]

    @property
    def better(self) -> str | None:
        """``depth`` or ``levels``, whichever is significantly more accurate; None if they cannot be told apart."""
        if self.p_adjusted >= SIGNIFICANT:
            return None
        return "depth" if self.best.score.correct.sum() > self.joined.correct.sum() else "levels"

    def verdict(self) -> str:
        """Return which is better, the best depth or the joined levels, as one sentence."""
        layer = self.best.depth.layer
        right, joined = int(self.best.score.correct.sum()), int(self.joined.correct.sum())
        p = f"adjusted p < {_SMALLEST_P:g}" if self.p_adjusted < _SMALLEST_P else f"adjusted p = {self.p_adjusted:.2g}"
        of = f"of {self.joined.correct.size} images correct, {p}"
        if self.better == "depth":
            return f"{layer} alone is better than the joined levels: {right} against {joined} {of}"
        if self.better == "levels":
            return f"the joined levels are better than the best single layer, {layer}: {joined} against {right} {of}"
        return f"{layer} alone and the joined levels cannot be told apart: {right} and {joined} {of}"

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON can hold them."""
        facts = ("backbone", "weights", "images", "classes", "seed")
        return {
            "folder": str(self.source.resolve()),
            **{name: getattr(self, name) for name in facts},
            "depths": [each.to_dict() for each in self.depths],
            "joined_levels": self.joined.to_dict(),
            "best": self.best.depth.layer,
            "better": self.better,
            "p_adjusted": self.p_adjusted,
            "skipped": [vars(item) for item in self.skipped],
        }
