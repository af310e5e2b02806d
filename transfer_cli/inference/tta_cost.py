"""What a picture takes of a network that is asked about it several times; predict need not load more than this."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TtaCost:
    """What a picture takes.

    Attributes
    ----------
    passes : int
        How often the network is run.
    milliseconds : float
        In all passes, decoding left out.
    milliseconds_without : float
        Of the model by itself.
    """

    passes: int
    milliseconds: float
    milliseconds_without: float

    def summary(self) -> str:
        """Return it for a person."""
        return (
            f"{self.passes} passes a picture, {self.milliseconds:.1f} ms of the network instead of "
            f"{self.milliseconds_without:.1f}"
        )
