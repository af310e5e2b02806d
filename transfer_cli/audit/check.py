"""What is wrong with a folder of pictures, found out before anything is learnt from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit import duplicates
from transfer_cli.audit.duplicates import Duplicates, Pair
from transfer_cli.audit.image_quality import Doubtful, doubtful
from transfer_cli.audit.image_stats import Looks, look
from transfer_cli.audit.label_issues import Suspect
from transfer_cli.catalog import backbones
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.csv_manifest import SEPARATOR
from transfer_cli.data.decoding import size_of
from transfer_cli.data.groups import assign_group_ids, by_members
from transfer_cli.data.image_folder import ImageFolder, describe_left_out
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import OutputError, WeightsError
from transfer_cli.io.atomic import must_be_ours, must_be_writable, write_json
from transfer_cli.io.csv_tables import write_table
from transfer_cli.metrics.scores import UNEVEN
from transfer_cli.models.weights.registry import imagenet_files, must_be_had
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest

FEW = 20
"""Pictures of a class: with fewer a score is rough, since a fifth of them is kept for the test."""
FILES = ("check.json", "check.html", "suspects.csv", "duplicates.csv")
_SUSPECT_COLUMNS = ("path", "class", "likely", "score", "confident")
_PAIR_COLUMNS = ("path_a", "class_a", "part_a", "path_b", "class_b", "part_b", "kind", "score", "mirrored")


@dataclass(frozen=True)
class Findings:
    """What was found in a folder.

    Attributes
    ----------
    folder : ImageFolder
    skipped : tuple of Skipped
        Pictures that could not be read.
    doubtful : tuple of Doubtful
    twice : Duplicates
    suspects : tuple of Suspect or None
        The most suspicious first; None where there was no probe.
    why_no_suspects : str
        Why there was none.
    """

    folder: ImageFolder
    skipped: tuple[Skipped, ...]
    doubtful: tuple[Doubtful, ...]
    twice: Duplicates
    suspects: tuple[Suspect, ...] | None
    why_no_suspects: str

    def counts(self) -> dict[str, int]:
        """Return how many pictures each class has that can be read."""
        unread = {item.path for item in self.skipped}
        counted = Counter(label for file in self.folder.files if file.path not in unread for label in file.labels)
        return {name: counted[name] for name in self.folder.class_names}

    def imbalance(self) -> float | None:
        """Return how many times the smallest class the largest is; None where one has no picture that can be read."""
        counts = self.counts().values()
        return max(counts) / min(counts) if counts and all(counts) else None

    def across(self) -> tuple[list[Pair], list[Pair]]:
        """Return the pairs in different classes, and those in different parts."""
        of = {file.path: file for file in self.folder.files}
        classes = [pair for pair in self.twice.pairs if of[pair.path_a].labels != of[pair.path_b].labels]
        parts = [pair for pair in self.twice.pairs if of[pair.path_a].part != of[pair.path_b].part]
        return classes, parts

    def worth_a_look(self) -> tuple[Suspect, ...]:
        """Return the suspects that the probe is sure of."""
        return tuple(item for item in self.suspects or () if item.confident)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the lists of pairs and suspects as JSON can hold it."""
        classes, parts = self.across()
        kinds = Counter(pair.kind for pair in self.twice.pairs)
        return {
            "folder": str(self.folder.source.resolve()),
            "images": len(self.folder.files),
            "left_out": dict(self.folder.left_out),
            "unreadable": [asdict(item) for item in self.skipped],
            "classes": self.counts(),
            "imbalance": self.imbalance(),
            "few": [name for name, count in self.counts().items() if count < FEW],
            "doubtful": [asdict(item) for item in self.doubtful],
            "duplicates": {
                "exact": kinds["exact"],
                "near": kinds["near"],
                "groups": len(self.twice.groups),
                "across_classes": len(classes),
                "across_parts": len(parts),
            },
            "suspects": None if self.suspects is None else len(self.suspects),
            "confident_suspects": None if self.suspects is None else len(self.worth_a_look()),
            "why_no_suspects": self.why_no_suspects,
        }

    def write(self, directory: Path) -> None:
        """Write check.json, suspects.csv and duplicates.csv."""
        write_json(directory / "check.json", self.to_dict())
        rows = [
            (
                item.path,
                SEPARATOR.join(item.labels),
                SEPARATOR.join(item.likely),
                item.score,
                "yes" if item.confident else "no",
            )
            for item in self.suspects or ()
        ]
        write_table(directory / "suspects.csv", _SUSPECT_COLUMNS, rows)
        of = {file.path: file for file in self.folder.files}
        pairs = []
        for pair in self.twice.pairs:
            files = (of[pair.path_a], of[pair.path_b])
            cells = [cell for file in files for cell in (file.path, SEPARATOR.join(file.labels), file.part or "")]
            pairs.append([*cells, pair.kind, pair.score, pair.mirrored])
        write_table(directory / "duplicates.csv", _PAIR_COLUMNS, pairs)


def must_be_free(target: Path, folder: ImageFolder) -> None:
    """Raise OutputError where no check can be written, something else is there, or it would be taken for a class."""
    if folder.source == folder.root and target.resolve().is_relative_to(folder.root.resolve()):
        raise OutputError(
            f"The check {target} would lie inside the folder of pictures {folder.root}.",
            hint="Choose a place outside with -o DIR.",
        )
    if target.exists() and not (target / "check.json").is_file() and not _is_empty(target):
        raise OutputError(
            f"{target} is there already and holds no check.", hint="Give a name that is not there yet: -o DIR"
        )
    must_be_ours(target, lambda path: path.name in FILES, "no part of a check")
    # It is written beside its place.
    must_be_writable(target.with_name(f"{target.name}.new") if target.exists() else target)


def check(request: TrainingRequest, recipe: ExtractRecipe, *, probe: bool = True) -> Findings:
    """Return what is wrong with a folder.

    Parameters
    ----------
    request : Request
        Its run is where the findings will be written.
    recipe : ExtractRecipe
        Resolved: which backbone looks at the pictures.
    probe : bool
        Look with a network, too: for labels that may be wrong, and for cropped copies.
    """
    folder = request.folder
    if probe:
        _must_have_weights(request, recipe)
    looks = look([file.path for file in folder.files], folder.root, request.progress)
    matrix = None
    if probe and looks.paths:
        looks, matrix = _features(request, recipe, looks)
    twice = duplicates.find(looks, matrix, progress=request.progress)
    found, why = None, "no network was asked for" if not probe else "no picture could be read"
    if matrix is not None:
        # A copy in another fold would vouch for its label.
        copies = assign_group_ids(looks.digests, by_members(looks.paths, looks.digests, twice.groups))
        found, why = _suspects(request, recipe, looks, matrix, copies)
    return Findings(
        folder,
        looks.skipped,
        doubtful(looks, [size_of(folder.root / path) for path in looks.paths]),
        twice,
        found,
        why,
    )


def summary(findings: Findings) -> list[str]:
    """Return what was found and what to do about it, the most important first."""
    said = []
    classes, parts = findings.across()
    if findings.skipped:
        said.append(f"{len(findings.skipped)} pictures cannot be read: replace or remove them")
    if left_out := describe_left_out(findings.folder.left_out):
        said.append(left_out)
    if len(findings.folder.class_names) == 1:
        said.append("there is one class only: a classifier needs two or more")
    if classes:
        said.append(f"{len(classes)} pairs are one picture in two classes: one label of each is wrong")
    if parts:
        said.append(f"{len(parts)} pairs are one picture in two parts, which flatters the score: remove one of each")
    if (inside := len(findings.twice.groups)) and not parts:
        without = "" if classes else ", in one class and part"
        said.append(
            f"{inside} pictures are there more than once{without}: --group-by near-duplicates keeps them together"
        )
    if sure := findings.worth_a_look():
        first = sure[0]
        said.append(
            f"{len(sure)} labels are worth a look: the probe is as sure of another class there as of that class's own "
            f"pictures (confident in suspects.csv). The most suspicious is {first.path} "
            f"({' and '.join(first.labels) or 'no label'}, or {' and '.join(first.likely) or 'none'}?)"
        )
    if findings.suspects is None:
        said.append(f"labels were not looked at: {findings.why_no_suspects}")
    for fault, count in Counter(item.fault for item in findings.doubtful).most_common():
        said.append(f"{count} pictures are {_ADJECTIVE.get(fault, fault)}")
    counts = findings.counts()
    if few := [f"{name} {count}" for name, count in counts.items() if count < FEW]:
        said.append(f"few pictures to learn from: {', '.join(few[:20])}{', ...' if len(few) > 20 else ''}")
    ratio = findings.imbalance()
    if ratio is not None and ratio >= UNEVEN:
        said.append(f"the largest class has {ratio:.3g} times the pictures of the smallest: --recipe imbalanced")
    return said or ["nothing was found that is wrong"]


_ADJECTIVE = {
    "one colour": "of one colour",
    "odd shape": "of an odd shape: made square, as a network sees them, they are distorted more than the others",
}


def _is_empty(target: Path) -> bool:
    return target.is_dir() and not any(target.iterdir())


def _must_have_weights(request: TrainingRequest, recipe: ExtractRecipe) -> None:
    if recipe.backbone.weights != "imagenet":
        return
    files = imagenet_files(backbones.find(recipe.backbone.name), top=False, size=recipe.image_size)
    try:
        must_be_had(files, offline=request.offline)
    except WeightsError as error:
        hint = f"Without a network: --no-probe. {error.hint or ''}".strip()
        raise WeightsError(str(error), hint=hint) from error


def _features(request: TrainingRequest, recipe: ExtractRecipe, looks: Looks) -> tuple[Looks, NDArray[np.float32]]:
    """Return the features of the pictures, and the looks of those that have one: a file may have gone meanwhile."""
    from transfer_cli.audit.grouping import folder_features

    places, matrix = folder_features(request, recipe)
    row_of = {place: row for row, place in enumerate(places)}
    seen = [row for row, place in enumerate(looks.indices) if place in row_of]
    looks = looks if len(seen) == len(looks.paths) else looks.only(seen)
    return looks, matrix[[row_of[place] for place in looks.indices]]


def _suspects(
    request: TrainingRequest,
    recipe: ExtractRecipe,
    looks: Looks,
    matrix: NDArray[np.float32],
    copies: NDArray[np.int64],
) -> tuple[tuple[Suspect, ...] | None, str]:
    from transfer_cli.audit.label_issues import out_of_fold, suspects

    files = [request.folder.files[index] for index in looks.indices]
    names = tuple(name for name in request.folder.class_names if any(name in file.labels for file in files))
    if len(names) < 2:
        return None, "pictures of one class only can be read"
    truth = _truth([file.labels for file in files], names, request.folder.task)
    given = out_of_fold(matrix, truth, len(names), groups=copies, seed=recipe.seed, progress=request.progress)
    return suspects(looks.paths, truth, names, given), ""


def _truth(labels: Sequence[tuple[str, ...]], names: tuple[str, ...], task: str) -> NDArray[np.int64]:
    column = {name: number for number, name in enumerate(names)}
    if task == SINGLE_LABEL:
        return np.array([column[of[0]] for of in labels], np.int64)
    truth = np.zeros((len(labels), len(names)), np.int64)
    for row, of in enumerate(labels):
        truth[row, [column[label] for label in of]] = 1
    return truth
