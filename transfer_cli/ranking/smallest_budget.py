"""The smallest time budget in which one network can be ranked, computed before any work is done."""

from __future__ import annotations

import math
from collections.abc import Sequence

from transfer_cli.errors import InputError
from transfer_cli.ranking.candidates import Candidate
from transfer_cli.text import format_duration

_START_SECONDS = 10.0
"""Rough time to start TensorFlow and to build and convert a small network."""
_MULTIPLY_ADDS_PER_SECOND = 1e10
_STEP = 5
"""Suggested budgets are multiples of this number of seconds."""


def smallest_budget(candidates: Sequence[Candidate], images: int) -> float:
    """Return the seconds that the cheapest network takes for some images."""
    cheapest = min(candidate.spec.multiply_adds for candidate in candidates)
    seconds = _START_SECONDS + images * cheapest / _MULTIPLY_ADDS_PER_SECOND
    return float(_STEP * math.ceil(seconds / _STEP))


def require_budget(budget: float | None, candidates: Sequence[Candidate], images: int) -> None:
    """Raise InputError if not even the cheapest network can be tried in a time budget (seconds)."""
    if budget is None or budget >= (smallest := smallest_budget(candidates, images)):
        return
    raise InputError(
        f"A time budget of {format_duration(budget)} is too small: starting TensorFlow and trying the cheapest network "
        f"on {images} images takes about {format_duration(smallest)} here.",
        hint=f"Increase it: --time-budget {format_duration(smallest)}",
    )
