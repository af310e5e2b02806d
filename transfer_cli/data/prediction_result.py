"""The predictions on some images, as a sequence of images with their labels and probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.prediction_columns import UNKNOWN as UNKNOWN
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import MissingExtraError
from transfer_cli.html_table import html_table
from transfer_cli.text import counted, printable

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5
_SHOWN_IN_NOTEBOOK = 20
_SEVERAL = "A multi-label model gives an image any number of labels. Expected .{} instead."


@dataclass(frozen=True)
class Prediction:
    """The prediction on one image.

    Attributes
    ----------
    path : str
        The file, or the position of an array in the input, such as ``[3]``.
    labels : list of str
        The most likely class, or ``unknown`` if it was rejected; of a multi-label model any number of labels.
    confidence : float
        Probability of the most likely class.
    probabilities : dict of str to float
        Of each class, in the order of the model.
    is_multi_label : bool
        Whether the model gives an image any number of labels.
    """

    path: str
    labels: list[str]
    confidence: float
    probabilities: dict[str, float]
    is_multi_label: bool = False

    @property
    def label(self) -> str:
        """The one label.

        Raises
        ------
        ValueError
            If the model is a multi-label one: see `labels`.
        """
        if self.is_multi_label:
            raise ValueError(_SEVERAL.format("labels"))
        return self.labels[0]


@dataclass(frozen=True)
class Predictions:
    """The predictions on some images: a sequence of `Prediction`, and arrays over all of them.

    Attributes
    ----------
    paths : tuple of str
        Of the n images, in input order; for arrays the position in the input, such as ``[3]``.
    class_names : tuple of str
        The k classes, in the order of the bundle.
    probabilities : ndarray of shape (n, k), float32
    skipped : tuple of Skipped
        Files between these images that could not be read.
    thresholds : tuple of float or None
        Smallest probability at which an image gets each label, for a multi-label task.
    digests : tuple of str
        SHA-256 of each file, in hexadecimal, if it was read for these predictions.
    reject_reasons : tuple of str or None
        Why each image is rejected (see `inference.reject`), empty if it is not; None if rejection is off.
    skipped_at : tuple of int
        Of each skipped file of a batch: the number of images before it in the input.
    left_out : tuple of str
        Classes of the model that these predictions were restricted without (see `inference.restricted_classes`).
    """

    paths: tuple[str, ...]
    class_names: tuple[str, ...]
    probabilities: NDArray[np.float32]
    skipped: tuple[Skipped, ...] = ()
    thresholds: tuple[float, ...] | None = None
    digests: tuple[str, ...] = ()
    reject_reasons: tuple[str, ...] | None = None
    skipped_at: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()

    @classmethod
    def concatenate(cls, batches: Iterable[Predictions]) -> Predictions:
        """Return one or more batches of one model as one."""
        first, *others = batches
        every = [first, *others]
        reasons = None if first.reject_reasons is None else tuple(reason for each in every for reason in each.reasons())
        return replace(
            first,
            paths=tuple(path for each in every for path in each.paths),
            probabilities=np.concatenate([each.probabilities for each in every]),
            skipped=tuple(item for each in every for item in each.skipped),
            digests=tuple(digest for each in every for digest in each.digests),
            reject_reasons=reasons,
            skipped_at=(),
        )

    @property
    def labels(self) -> list[str]:
        """The label of each image, ``unknown`` if it was rejected.

        Raises
        ------
        ValueError
            If the model is a multi-label one: see `label_lists`.
        """
        if self.thresholds is not None:
            raise ValueError(_SEVERAL.format("label_lists()"))
        best = self.probabilities.argmax(axis=1).tolist() if len(self.paths) else []
        pairs = zip(best, self.reasons(), strict=True)
        return [UNKNOWN if reason else self.class_names[column] for column, reason in pairs]

    @property
    def confidences(self) -> NDArray[np.float32]:
        """Probability of the most likely class of each image, of shape (n,)."""
        return np.asarray(self.probabilities.max(axis=1, initial=0), np.float32)

    def label_lists(self) -> list[list[str]]:
        """Return the labels of each image, in the order of the classes; one label if the model is not multi-label."""
        if self.thresholds is None:
            return [[label] for label in self.labels]
        has = self.probabilities >= np.array(self.thresholds)
        return [[name for name, there in zip(self.class_names, row, strict=True) if there] for row in has]

    def rows(self, top_k: int) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        """Yield each path with its `top_k` most likely classes, best first."""
        # A stable sort of the negated row: equal probabilities keep the order of the classes.
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :top_k]
        for path, best, row in zip(self.paths, order, self.probabilities, strict=True):
            yield path, [(self.class_names[column], float(row[column])) for column in best]

    def top(self, k: int = 3) -> list[list[tuple[str, float]]]:
        """Return the `k` most likely classes of each image with their probabilities, best first.

        Raises
        ------
        ValueError
            If `k` is below 1.
        """
        if k < 1:
            raise ValueError(f"Expected k of 1 or more. Received: {k}.")
        return [best for _, best in self.rows(k)]

    def reasons(self) -> Sequence[str]:
        """Return why each image is rejected, empty if it is not."""
        return self.reject_reasons or [""] * len(self.paths)

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row per image; its columns are those of the CSV file that ``predict`` writes.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError(
                "to_pandas needs pandas, which is not installed.", hint="pip install 'transfer-cli[pandas]'"
            ) from None
        columns: dict[str, object] = {"path": list(self.paths)}
        if self.thresholds is not None:
            columns["labels"] = self.label_lists()
        else:
            columns |= {"label": self.labels, "confidence": self.confidences}
        if self.reject_reasons is not None:
            guesses = [self.class_names[column] for column in self.probabilities.argmax(axis=1)]
            columns |= {"guess": guesses, "reason": list(self.reject_reasons)}
        columns |= {f"p_{name}": column for name, column in zip(self.class_names, self.probabilities.T, strict=True)}
        return pd.DataFrame(columns)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Prediction]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Prediction: ...

    @overload
    def __getitem__(self, index: slice) -> Predictions: ...

    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        if isinstance(index, slice):
            return replace(
                self,
                paths=self.paths[index],
                probabilities=self.probabilities[index],
                skipped=(),
                digests=self.digests[index],
                reject_reasons=None if self.reject_reasons is None else self.reject_reasons[index],
                skipped_at=(),
            )
        path, row = self.paths[index], self.probabilities[index]
        position = index % len(self)
        (labels,) = self[position : position + 1].label_lists()
        values = dict(zip(self.class_names, map(float, row), strict=True))
        return Prediction(path, labels, float(row.max()), values, self.thresholds is not None)

    def __repr__(self) -> str:
        lines = [f"  {printable(path)}: {label} {value:.3f}" for path, label, value in self._shown(_SHOWN)]
        more = [f"  and {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return "\n".join([f"<Predictions of {self._summary()}>", *lines, *more])

    def _repr_html_(self) -> str:
        rows = [(path, label, f"{value:.3f}") for path, label, value in self._shown(_SHOWN_IN_NOTEBOOK)]
        more = len(self) - _SHOWN_IN_NOTEBOOK
        return html_table(
            self._summary(), ("path", "label", "confidence"), rows, f"and {more} more" if more > 0 else ""
        )

    def _summary(self) -> str:
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"{counted(len(self), 'image')}, {counted(len(self.class_names), 'class')}{skipped}"

    def _shown(self, count: int) -> Iterator[tuple[str, str, float]]:
        for each in self[:count]:
            yield each.path, printable(", ".join(each.labels) or "-"), each.confidence
