"""Methods to combine several models into one."""

from __future__ import annotations

from dataclasses import dataclass

from transfer_cli.errors import UnknownNameError

VOTE = "vote"
AVERAGE = "average"
WEIGHTED = "weighted"
STACK = "stack"
GREEDY = "greedy"
SOUP = "soup"
MIN_BAGS, MAX_BAGS = 2, 50
"""Members of a bagged model; more than 25 gain little (Breiman 1996, "Bagging predictors", section 6.2)."""


@dataclass(frozen=True)
class EnsembleMethodSpec:
    """A method to combine models.

    Attributes
    ----------
    name : str
    summary : str
    fitted : bool
        Whether it is fitted on validation images, which no member was trained on.
    multi_label : bool
        Whether it supports multi-label tasks.
    single_network : bool
        Whether the result is one network, which costs as much as one member.
    """

    name: str
    summary: str
    fitted: bool = False
    multi_label: bool = True
    single_network: bool = False


_ROWS = (
    EnsembleMethodSpec(AVERAGE, "The mean of the members' probabilities."),
    EnsembleMethodSpec(
        VOTE, "The class that most members predict; a tie goes to the most confident one.", multi_label=False
    ),
    EnsembleMethodSpec(
        WEIGHTED, "A weighted mean; the weights maximise the likelihood of the validation set.", fitted=True
    ),
    EnsembleMethodSpec(
        GREEDY,
        "The mean of members that are added one by one (possibly repeatedly) by their gain on the validation set.",
        fitted=True,
    ),
    EnsembleMethodSpec(
        STACK,
        "A logistic regression on the members' probabilities, fitted on the validation set.",
        fitted=True,
        multi_label=False,
    ),
    EnsembleMethodSpec(
        SOUP, "Weight averaging: one network with the mean of the members' weights.", single_network=True
    ),
)
_BY_NAME = {row.name: row for row in _ROWS}


def names() -> tuple[str, ...]:
    """Return the names of all methods, the default first."""
    return tuple(_BY_NAME)


def find(name: str) -> EnsembleMethodSpec:
    """Return the method called `name`; raise UnknownNameError if there is none."""
    if name not in _BY_NAME:
        raise UnknownNameError.of("ensemble method", name, names(), "See: transfer-cli ensemble --help")
    return _BY_NAME[name]
