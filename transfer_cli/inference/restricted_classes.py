"""Predict some classes of a model only: those that cannot be on the images are left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from transfer_cli.errors import OptionError, UnknownNameError
from transfer_cli.inference.models import AbstractModel, Features, Images, Probabilities
from transfer_cli.text import counted, listed

_LISTED = 8


class RestrictedModel(AbstractModel):
    """A model without some of its classes: the probabilities of the others are divided by their sum.

    These are the probabilities of the model given that the image shows none of the classes left out. Labels of a
    multi-label model are independent, so their probabilities stay as they are. The rejection judges the new
    confidence; the distance to the training images stays as it is.

    Parameters
    ----------
    model : AbstractModel
    kept : sequence of str
        Names of the classes to predict.

    Attributes
    ----------
    inner : AbstractModel
        The model with all of its classes.
    """

    def __init__(self, model: AbstractModel, kept: Sequence[str]) -> None:
        columns = [index for index, name in enumerate(model.class_names) if name in {*kept}]
        names = tuple(model.class_names[index] for index in columns)
        thresholds = None if model.thresholds is None else tuple(model.thresholds[index] for index in columns)
        super().__init__(names, model.views, thresholds, model.rejection_file)
        self.left_out = (*model.left_out, *(name for name in model.class_names if name not in names))
        self.inner, self._columns = model, columns

    @property
    def summary(self) -> str:
        """One line of text: which classes are left out."""
        names = listed(self.left_out, _LISTED)
        count = len(self.class_names)
        rest = f"the other {counted(count, 'class')}" if count > 1 else f"{self.class_names[0]} alone"
        effect = "probabilities are renormalised over" if self.thresholds is None else "labels are predicted for"
        return f"classes left out: {names}; {effect} {rest}"

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the probabilities of the kept classes, float32 of shape (n, k)."""
        return self._restricted(self.inner.predict_views(views))

    def predict_with_features(self, views: Sequence[Images]) -> tuple[Probabilities, Features | None]:
        """Return the probabilities of the kept classes, and the features of the model."""
        probabilities, features = self.inner.predict_with_features(views)
        return self._restricted(probabilities), features

    def features(self, images: Images) -> Features:
        """Return the features of the model."""
        return self.inner.features(images)

    def _restricted(self, probabilities: Probabilities) -> Probabilities:
        kept = probabilities[:, self._columns]
        if self.thresholds is not None:
            return kept
        total = kept.sum(axis=1, dtype=np.float64, keepdims=True)
        # If the model is so sure of other classes that nothing is left, it prefers none of these.
        shares = np.full_like(kept, 1 / kept.shape[1])
        np.divide(kept, total, out=shares, where=total > 0, casting="same_kind")
        return shares


def restrict(model: AbstractModel, *, only: Iterable[str] = (), exclude: Iterable[str] = ()) -> AbstractModel:
    """Return a model that predicts some of the classes of `model`; `model` itself if no class is named.

    Parameters
    ----------
    model : AbstractModel
    only : iterable of str
        Names of the classes to predict. A text with commas is several names, unless a class is called so.
    exclude : iterable of str
        Names of the classes to leave out.

    Raises
    ------
    UnknownNameError
        If there is no such class.
    OptionError
        If both are given, or fewer than two classes would be left (one of a multi-label model).
    """
    names = model.class_names
    given, omitted = _names(only, names), _names(exclude, names)
    if not given and not omitted:
        return model
    if given and omitted:
        raise OptionError("Give the classes to predict (only) or those to leave out (exclude), not both.")
    kept = [name for name in names if (name in given if given else name not in omitted)]
    least = 2 if model.thresholds is None else 1
    if len(kept) < least:
        raise OptionError(
            f"Expected at least {least} of the {counted(len(names), 'class')} to be left. "
            f"Received: {listed(kept) or 'none'}. Every image would get the same label.",
            hint=f"The classes are {listed(names, _LISTED)}.",
        )
    return RestrictedModel(model, kept) if len(kept) < len(names) else model


def _names(given: Iterable[str], known: Sequence[str]) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    names = [name for text in texts for name in ([text] if text in known else text.split(","))]
    names = [name if name in known else name.strip() for name in names]
    for name in filter(None, names):
        if name not in known:
            raise UnknownNameError.of("class", name, known, f"The classes are {listed(known, _LISTED)}.")
    return [name for name in names if name]
