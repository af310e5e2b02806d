"""The result of `data check`: what was found in an image folder, as JSON, CSV and lines for the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transfer_cli.audit.duplicates import DuplicatePair, Duplicates
from transfer_cli.audit.image_quality import QualityIssue
from transfer_cli.audit.label_issues import LabelIssue
from transfer_cli.data.csv_manifest import SEPARATOR
from transfer_cli.data.image_folder import ImageFolder, describe_left_out
from transfer_cli.data.skipped import Skipped
from transfer_cli.io.atomic import write_json
from transfer_cli.io.csv_tables import write_table
from transfer_cli.metrics.scores import UNEVEN
from transfer_cli.text import counted

SMALL_CLASS = 20
"""Images per class: with fewer the score of a class is a rough estimate, since a fifth of them is in the test set."""
LABEL_ISSUE_COLUMNS = ("path", "label", "suggested_label", "score", "confident")
PAIR_COLUMNS = ("path_a", "split_a", "label_a", "path_b", "split_b", "label_b", "kind", "score", "mirrored")
_QUALITY_SUMMARY = {
    "one colour": "images of one colour: {}",
    "unusual shape": "images of an unusual shape: {} (resizing to a square distorts them more than the others)",
}


@dataclass(frozen=True)
class Findings:
    """What was found in an image folder.

    Attributes
    ----------
    folder : ImageFolder
    skipped : tuple of Skipped
        Images that cannot be read.
    quality_issues : tuple of QualityIssue
    duplicates : Duplicates
    label_issues : tuple of LabelIssue or None
        The most suspicious first; None if labels were not checked.
    label_check_skipped : str
        Why labels were not checked; empty if they were.
    bit_depth : int or None
        That of the recipe (see `View`), for thumbnails.
    """

    folder: ImageFolder
    skipped: tuple[Skipped, ...]
    quality_issues: tuple[QualityIssue, ...]
    duplicates: Duplicates
    label_issues: tuple[LabelIssue, ...] | None
    label_check_skipped: str
    bit_depth: int | None = None

    def counts(self) -> dict[str, int]:
        """Return the number of readable images per class."""
        unreadable = {item.path for item in self.skipped}
        counter = Counter(label for file in self.folder.files if file.path not in unreadable for label in file.labels)
        return {name: counter[name] for name in self.folder.class_names}

    def imbalance(self) -> float | None:
        """Return the size of the largest class divided by that of the smallest; None if a class is empty."""
        counts = self.counts().values()
        return max(counts) / min(counts) if counts and all(counts) else None

    def small_classes(self) -> dict[str, int]:
        """Return the classes with fewer than `SMALL_CLASS` images, with their number of images."""
        return {name: count for name, count in self.counts().items() if count < SMALL_CLASS}

    def pairs_across(self) -> tuple[list[DuplicatePair], list[DuplicatePair]]:
        """Return the duplicate pairs with different labels, and those in different splits."""
        file_of = {file.path: file for file in self.folder.files}
        classes = [pair for pair in self.duplicates.pairs if file_of[pair.path_a].labels != file_of[pair.path_b].labels]
        splits = [pair for pair in self.duplicates.pairs if file_of[pair.path_a].part != file_of[pair.path_b].part]
        return classes, splits

    def confident_label_issues(self) -> tuple[LabelIssue, ...]:
        """Return the label issues that the classifier is confident about."""
        return tuple(item for item in self.label_issues or () if item.confident)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of check.json: everything but the lists of duplicate pairs and label issues."""
        classes, splits = self.pairs_across()
        kinds = Counter(pair.kind for pair in self.duplicates.pairs)
        checked, selection = self.label_issues is not None, self.folder.selection
        return {
            "class_map": selection.class_map and dict(selection.class_map.targets),
            "omit": selection.omit and str(selection.omit.path),
            "folder": str(self.folder.source.resolve()),
            "images": len(self.folder.files),
            "left_out": dict(self.folder.left_out),
            "unreadable": [asdict(item) for item in self.skipped],
            "classes": self.counts(),
            "imbalance": self.imbalance(),
            "small_classes": list(self.small_classes()),
            "quality_issues": [asdict(item) for item in self.quality_issues],
            "duplicates": {
                "exact": kinds["exact"],
                "near": kinds["near"],
                "groups": len(self.duplicates.groups),
                "across_classes": len(classes),
                "across_splits": len(splits),
            },
            "label_issues": len(self.label_issues or ()) if checked else None,
            "confident_label_issues": len(self.confident_label_issues()) if checked else None,
            "label_check_skipped": self.label_check_skipped,
        }

    def write(self, directory: Path) -> None:
        """Write check.json, suspects.csv and duplicates.csv."""
        write_json(directory / "check.json", self.to_dict())
        issues = [
            (
                item.path,
                *map(SEPARATOR.join, (item.labels, item.suggested)),
                item.score,
                "yes" if item.confident else "no",
            )
            for item in self.label_issues or ()
        ]
        write_table(directory / "suspects.csv", LABEL_ISSUE_COLUMNS, issues)
        file_of = {file.path: file for file in self.folder.files}
        pairs = []
        for pair in self.duplicates.pairs:
            files = (file_of[pair.path_a], file_of[pair.path_b])
            cells = [cell for file in files for cell in (file.path, file.part or "", SEPARATOR.join(file.labels))]
            pairs.append([*cells, pair.kind, pair.score, pair.mirrored])
        write_table(directory / "duplicates.csv", PAIR_COLUMNS, pairs)

    def summary(self) -> list[str]:
        """Return lines for the user: what was found and what to do about it, the most important first."""
        other = "other " if self.folder.warnings() else ""
        return [*self._problems()] or [f"no {other}problems found"]

    def _problems(self) -> Iterator[str]:
        if self.skipped:
            yield f"{counted(len(self.skipped), 'image')} cannot be read: replace or remove the files"
        if left_out := describe_left_out(self.folder.left_out):
            yield left_out
        if len(self.folder.class_names) == 1:
            yield "only one class: a classifier needs at least two"
        classes, splits = self.pairs_across()
        if classes:
            pairs = counted(len(classes), "duplicate pair")
            yield f"{pairs} with different labels: one label of each pair is wrong"
        if splits:
            pairs, effect = counted(len(splits), "duplicate pair"), "leakage: the test score is too optimistic"
            yield f"{pairs} in different splits ({effect}): remove one image of each pair"
        elif groups := len(self.duplicates.groups):
            where = "" if classes else ", always with the same label and in the same split"
            together = f"{where}; --group-by near-duplicates keeps them together in every split"
            yield (
                f"duplicates: {counted(groups, 'image')} in several files{together if self.folder.is_labelled else ''}"
            )
        if self.label_issues is None:
            yield f"labels were not checked: {self.label_check_skipped}"
        elif issues := self.confident_label_issues():
            labels, suggested = (" and ".join(names) or "none" for names in (issues[0].labels, issues[0].suggested))
            yield (
                f"{counted(len(issues), 'label')} may be wrong: a cross-validated classifier prefers another class as "
                "confidently as for that class's own images (see the column confident in suspects.csv). Most "
                f"suspicious: {issues[0].path} (label {labels}, suggested {suggested})"
            )
        for issue, count in Counter(item.issue for item in self.quality_issues).most_common():
            yield _QUALITY_SUMMARY.get(issue, f"{issue} images: {{}}").format(count)
        if small := [f"{name} {count}" for name, count in self.small_classes().items()]:
            more = ", ..." if len(small) > 20 else ""
            yield f"classes with fewer than {SMALL_CLASS} images: {', '.join(small[:20])}{more}"
        ratio = self.imbalance()
        if ratio is not None and ratio >= UNEVEN:
            yield (
                f"class imbalance: the largest class has {ratio:.3g} times as many images as the smallest; train with "
                "--recipe imbalanced"
            )
