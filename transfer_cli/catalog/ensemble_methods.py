"""How the answers of several models become one."""

from __future__ import annotations

from dataclasses import dataclass

from transfer_cli.errors import UnknownNameError

VOTE = "vote"
AVERAGE = "average"
WEIGHTED = "weighted"
STACK = "stack"
GREEDY = "greedy"
SOUP = "soup"
FEWEST_BAGS, MOST_BAGS = 2, 50
"""Members of a bagged run; beyond twenty-five Breiman (1996, "Bagging Predictors", section 6.2) found little gained."""


@dataclass(frozen=True)
class CombinerSpec:
    """A row of the catalog.

    Attributes
    ----------
    name : str
    summary : str
    fitted : bool
        Whether it takes pictures that no member has learnt from, to choose by.
    several_labels : bool
        Whether it can join answers about any number of labels a picture.
    one_network : bool
        Whether its members become one network, which costs what one of them costs.
    """

    name: str
    summary: str
    fitted: bool = False
    several_labels: bool = True
    one_network: bool = False


_ROWS = (
    CombinerSpec(AVERAGE, "The mean of the members' probabilities."),
    CombinerSpec(VOTE, "What most members name; among equals what they are surest of.", several_labels=False),
    CombinerSpec(WEIGHTED, "A weighted mean, the weights by the likelihood of val.", fitted=True),
    CombinerSpec(
        GREEDY,
        "The mean of some members, some of them several times, added one by one as val likes best.",
        fitted=True,
    ),
    CombinerSpec(
        STACK, "A logistic regression on the members' probabilities of val.", fitted=True, several_labels=False
    ),
    CombinerSpec(SOUP, "One network with the mean of the members' weights.", one_network=True),
)
_BY_NAME = {row.name: row for row in _ROWS}


def names() -> tuple[str, ...]:
    """Return the names of all rows, the usual one first."""
    return tuple(_BY_NAME)


def find(name: str) -> CombinerSpec:
    """Return a row; raise UnknownNameError, with the nearest, where there is none of that name."""
    if name not in _BY_NAME:
        raise UnknownNameError.of("way to combine models", name, names(), "See: transfer-cli ensemble --help")
    return _BY_NAME[name]
