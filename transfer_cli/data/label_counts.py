"""How many images of each folder got each label: a table of species per camera, for example."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from transfer_cli.data.prediction_result import Predictions
from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import check_writable
from transfer_cli.io.csv_tables import csv_bytes, write_table

COLUMNS = ("folder", "label", "images")


@dataclass(frozen=True)
class LabelCounts:
    """Counts images per folder and label.

    Attributes
    ----------
    target : Path
        The table to be written, with the columns `COLUMNS`.
    """

    target: Path
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def check_target(self, output: Path | None) -> None:
        """Raise OutputError now if the table cannot be written, or would replace something else, such as `output`."""
        if output and output.absolute() == self.target.absolute():
            raise OutputError(f"The predictions and their counts would both be {output}. Expected two names.")
        check_writable(self.target)
        header = csv_bytes([COLUMNS])
        if self.target.is_file() and self.target.stat().st_size:
            with self.target.open("rb") as file:
                if file.read(len(header)) != header:
                    raise OutputError(
                        f"{self.target} is not a table of counts and would be lost.",
                        hint="Choose another name with --counts, or remove the file.",
                    )

    def add(self, batch: Predictions) -> None:
        """Count the images of a batch; an image with several labels is counted for each of them."""
        for path, labels in zip(batch.paths, batch.label_lists(), strict=True):
            self._counts.update((str(Path(path).parent), label) for label in labels)

    def write(self) -> None:
        """Write one row per folder and label, sorted by folder, the most frequent label first."""
        ordered = sorted(self._counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
        write_table(self.target, COLUMNS, [(*key, count) for key, count in ordered])
