"""The result of exporting one format: the file, its speed, its parity and its accuracy drop, or why it failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transfer_cli.catalog.export_formats import ExportFormatSpec
from transfer_cli.errors import GateError
from transfer_cli.export.parity import Parity
from transfer_cli.text import counted

_HINTS = {
    "f32": "Try the other formats: transfer-cli export RUN --format all",
    "int8": "Export in float32, which loses no accuracy: --format litert, or openvino. "
    "Or allow a larger loss: --max-drop POINTS",
}
_WRITTEN_HINT = "The float32 files are written, and lose no accuracy. Or allow a larger loss: --max-drop POINTS"


@dataclass(frozen=True)
class AccuracyDrop:
    """The accuracy that an int8 file loses.

    Attributes
    ----------
    split : str
        The scored images: "test", or "val" without test images.
    images : int
    points : float
        Accuracy of the model less that of the file, in percentage points.
    low, high : float or None
        95 % confidence interval by a paired bootstrap; None when both are right on the same images.
    """

    split: str
    images: int
    points: float
    low: float | None
    high: float | None

    @property
    def summary(self) -> str:
        """The drop and its interval in one phrase."""
        points = f"{self.points:+.1f} points"
        return points if self.low is None else f"{points} ({self.low:+.1f} to {self.high:+.1f})"

    def failure(self, max_drop: float) -> str | None:
        """Return why the file is rejected when it loses more than `max_drop` points; else None."""
        if self.points <= max_drop:
            return None
        return (
            f"accuracy drop {self.summary} on {counted(self.images, f'{self.split} image')}, "
            f"more than --max-drop {max_drop:g}"
        )


@dataclass(frozen=True)
class ExportResult:
    """The result of exporting one format.

    Attributes
    ----------
    spec : ExportFormatSpec
    path : Path or None
        The exported file; None when it was rejected.
    size : int
        Bytes of all its files.
    ms_per_image : float
        Time per image in milliseconds, in batches.
    parity : Parity
    drop : AccuracyDrop or None
        Of an int8 file.
    failure : str or None
        Why the file was rejected.
    """

    spec: ExportFormatSpec
    path: Path | None
    size: int
    ms_per_image: float
    parity: Parity
    drop: AccuracyDrop | None
    failure: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the row of this format in parity.json."""
        row = {
            "format": self.spec.name,
            "file": self.path.name if self.path else None,
            "bytes": self.size,
            "ms_per_image": round(self.ms_per_image, 3),
            "images": self.parity.images,
            "max_abs_diff": self.parity.max_abs_diff if np.isfinite(self.parity.max_abs_diff) else None,
            "changed_labels": self.parity.changed_labels,
            "failure": self.failure,
        }
        return row | {"accuracy_drop": vars(self.drop)} if self.drop else row


def check_results(results: Sequence[ExportResult]) -> None:
    """Raise GateError if a file was rejected."""
    if failed := [result for result in results if result.failure]:
        has_float32 = any(result.path and result.spec.precision == "f32" for result in results)
        hints = _HINTS | ({"int8": _WRITTEN_HINT} if has_float32 else {})
        raise GateError(
            "Not exported: predictions differ from the model's:\n"
            + "\n".join(f"{result.spec.name}: {result.failure}" for result in failed),
            hint="\n".join(dict.fromkeys(hints[result.spec.precision] for result in failed)),
        )
