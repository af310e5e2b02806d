"""Methods to combine several models into one."""

from __future__ import annotations

from dataclasses import dataclass

from transfer_cli.catalog.lookup import lookup

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
    EnsembleMethodSpec(VOTE, "Majority vote; a tie goes to the most confident member.", multi_label=False),
    EnsembleMethodSpec(WEIGHTED, "A weighted mean with the weights that fit the validation set best.", fitted=True),
    EnsembleMethodSpec(
        GREEDY, "The mean of members added one by one by their gain on the validation set.", fitted=True
    ),
    EnsembleMethodSpec(
        STACK,
        "A logistic regression on the members' probabilities.",
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
    return lookup(_BY_NAME, "ensemble method", name, "See: transfer-cli ensemble --help")
