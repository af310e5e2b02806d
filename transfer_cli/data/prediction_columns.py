"""The columns of a table of predictions."""

from __future__ import annotations

from dataclasses import dataclass

from transfer_cli.data.table_columns import SEPARATOR

TRUE_LABEL = "true_label"
"""Column of the true class or labels."""
UNKNOWN = "unknown"
"""The label of a rejected image."""
LEFT_OUT = "classes_left_out"
"""Column of the classes that the predictions were restricted without."""
DIGEST = "sha256"
_MAX_LEFT_OUT = 20


@dataclass(frozen=True)
class PredictionColumns:
    """The columns of a table of predictions.

    Attributes
    ----------
    class_names : tuple of str
    top_k : int or None
        Only the k most likely classes, instead of the probability of every class.
    truth : bool
        Add the column ``true_label``.
    multi_label : bool
        An image has any number of labels: a column ``labels`` instead of ``label`` and ``confidence``.
    with_rejection : bool
        A label may be ``unknown``: add the columns ``guess`` (the most likely class) and ``reason``.
    left_out : tuple of str
        Classes that the predictions were restricted without: a last column names them.
    with_digest : bool
        Add the SHA-256 of each file.
    """

    class_names: tuple[str, ...]
    top_k: int | None = None
    truth: bool = False
    multi_label: bool = False
    with_rejection: bool = False
    left_out: tuple[str, ...] = ()
    with_digest: bool = False

    @property
    def left_out_text(self) -> str:
        """The classes that were left out, in one cell."""
        names = SEPARATOR.join(self.left_out[:_MAX_LEFT_OUT])
        more = len(self.left_out) - _MAX_LEFT_OUT
        return f"{names}{SEPARATOR}and {more} more" if more > 0 else names

    @property
    def joins_labels(self) -> bool:
        """Whether all labels of an image are in one column."""
        return self.multi_label and self.top_k is None

    def header(self) -> list[str]:
        """Return the column names.

        Examples
        --------
        >>> PredictionColumns(("cat", "dog")).header()
        ['path', 'label', 'confidence', 'p_cat', 'p_dog']
        >>> PredictionColumns(("cat", "dog"), 2).header()
        ['path', 'label', 'confidence', 'label_2', 'confidence_2']
        >>> PredictionColumns(("cat", "dog"), multi_label=True).header()
        ['path', 'labels', 'p_cat', 'p_dog']
        >>> PredictionColumns(("cat", "dog"), with_rejection=True).header()
        ['path', 'label', 'confidence', 'guess', 'reason', 'p_cat', 'p_dog']
        """
        columns = ["path", *([TRUE_LABEL] if self.truth else [])]
        if self.joins_labels:
            columns.append("labels")
        else:
            columns += ["label", "confidence", *(["guess", "reason"] if self.with_rejection else [])]
        if self.top_k is None:
            # The prefix distinguishes a class called "label" from our own column.
            columns += [f"p_{name}" for name in self.class_names]
        else:
            columns += [f"{name}_{rank}" for rank in range(2, self.top_k + 1) for name in ("label", "confidence")]
        return [*columns, *([LEFT_OUT] if self.left_out else []), *([DIGEST] if self.with_digest else [])]
