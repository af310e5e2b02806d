"""Check whether a model can be exported as one graph, which reads images in one size and holds linear classifiers."""

from __future__ import annotations

from transfer_cli.bundle.bundle import OpenedBundle, folder_of
from transfer_cli.errors import ModelError
from transfer_cli.inference.load import has_gradient
from transfer_cli.text import shell_command


def classifiers_are_linear(opened: OpenedBundle) -> bool:
    """Return whether the classifier of a bundle, and of each member of an ensemble, can be a layer of a network."""
    return all(has_gradient(bundle) for bundle in opened.leaves())


def check_mergeable(opened: OpenedBundle, source: str) -> None:
    """Raise ModelError when the members of an ensemble cannot be merged into one graph.

    Parameters
    ----------
    opened : OpenedBundle
    source : str
        The run or bundle as the user typed it.
    """
    if not opened.members:
        return
    first = shell_command(str(opened.directory / folder_of(1)))
    instead = f"Export each member separately: transfer-cli export {first} --images DIR -o DIR"
    named = list(zip(opened.bundle.members, opened.members, strict=True))
    if len(opened.views) > 1:
        sizes = "; ".join(f"{member.name} reads {_views_summary(each)}" for member, each in named)
        raise ModelError(
            f"The members of this ensemble read images in different sizes or resize modes, a graph in one: {sizes}.",
            hint=f"{instead}\nor ensemble models with the same --set images.size and images.resize.",
        )
    if nonlinear := [member.name for member, each in named if not classifiers_are_linear(each)]:
        raise ModelError(
            f"The classifier of {', '.join(nonlinear)} is not linear, so no format can hold this ensemble.",
            hint=f"{instead}\nor ensemble models with --classifier logistic.",
        )


def _views_summary(opened: OpenedBundle) -> str:
    return " and ".join(f"{view.size} x {view.size} ({view.resize})" for view in opened.views)
