"""What one graph can hold of a model: a graph takes pictures in one way, and most formats hold no trees in it."""

from __future__ import annotations

import shlex

from transfer_cli.bundle.bundle import OpenedBundle, folder_of
from transfer_cli.errors import ModelError
from transfer_cli.explain.multi_view import views_of
from transfer_cli.inference.load import has_gradient


def is_linear(opened: OpenedBundle) -> bool:
    """Return whether the classifier of a bundle, and of each model within an ensemble, can be a layer of a network."""
    return all(has_gradient(bundle) for bundle in opened.leaves())


def must_fit_one_graph(opened: OpenedBundle, source: str) -> None:
    """Raise ModelError where an ensemble cannot be one graph, with what to export instead.

    Parameters
    ----------
    opened : OpenedBundle
    source : str
        As it was typed.
    """
    if not opened.members:
        return
    one = shlex.quote(str(opened.directory / folder_of(1)))
    instead = f"Export each member on its own: transfer-cli export {one} --images FOLDER -o DIR"
    named = list(zip(opened.bundle.members, opened.members, strict=True))
    if len(views_of(opened)) > 1:
        seen = "; ".join(f"{member.name} sees {_in_words(each)}" for member, each in named)
        raise ModelError(
            "The members of this ensemble see pictures in several ways, and a graph takes them in one: " + seen + ".",
            hint=f"{instead}\nor join members of one --set images.size and images.resize.",
        )
    if unlike := [member.name for member, each in named if not is_linear(each)]:
        raise ModelError(
            f"The classifier of {', '.join(unlike)} is not linear, so that no graph can hold this ensemble.",
            hint=f"{instead}\nor join members with --classifier logistic.",
        )


def _in_words(opened: OpenedBundle) -> str:
    return " and ".join(f"{view.size} x {view.size} ({view.resize})" for view in views_of(opened))
