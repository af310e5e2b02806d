"""Unlabelled pictures learnt from, too: a trained network labels those it is sure of, and another learns from all.

Pseudo-labels (Lee 2013, "Pseudo-Label: The simple and efficient semi-supervised learning method") above a confidence,
in one round: as self-training with a teacher (Xie et al. 2020) does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.choices import Unlabelled
from transfer_cli.engine import images, model
from transfer_cli.engine.training import Request, TrainingResult, size_of
from transfer_cli.errors import FolderError, InputError, RecipeError
from transfer_cli.folder import ImageFile, ImageFolder
from transfer_cli.recipe import FinetuneRecipe
from transfer_cli.run import RunDirectory
from transfer_cli.split import Split, SplitRow
from transfer_cli.tables import read_table, write_table
from transfer_cli.walking import walk_paths

HEADER = ("path", "sha256", "class", "confidence", "learnt")
Train = Callable[[Request, FinetuneRecipe], TrainingResult]


@dataclass(frozen=True)
class PseudoLabel:
    """What a trained network says of an unlabelled picture."""

    path: str
    sha256: str
    label: str
    confidence: float
    is_learnt: bool


def train(asked: Request, recipe: FinetuneRecipe, supervised: Train) -> TrainingResult:
    """Train without the unlabelled pictures, then again with those that the first network is sure of.

    The first training is a run of its own beside the other, so that the gain can be seen, and either can be used. Both
    have the same test and val pictures; no unlabelled picture whose bytes are among the labelled ones is learnt from.

    Parameters
    ----------
    asked : Request
    recipe : FinetuneRecipe
        With a folder of unlabelled pictures.
    supervised : callable
        Trains a request by a recipe, as it is.

    Raises
    ------
    FolderError
        When there is no such folder, or it is one of a class.
    RecipeError
        When a picture has several labels.
    InputError
        When the network is sure of none of them.
    """
    place = _place(asked, recipe)
    if asked.run.is_complete(with_model=True, with_features=False) and not asked.overwrite:
        known = [ImageFile(row.path, row.labels, "train") for row in Split.read(asked.run.split).rows]
        return supervised(replace(asked, folder=_with(asked.folder, known)), recipe)
    first = RunDirectory(beside(asked.run))
    asked.progress.note(f"without the unlabelled pictures first: {first.path}")
    without = recipe.model_copy(update={"unlabelled": Unlabelled()})
    before = supervised(replace(asked, run=first), without)
    labels = _labels(asked, recipe, place, first)
    chosen = [each for each in labels if each.is_learnt]
    if not chosen:
        most = max((each.confidence for each in labels), default=0.0)
        raise InputError(
            f"Of {len(labels)} unlabelled pictures none is classified with a confidence of "
            f"{recipe.unlabelled.confidence:.7g}; the highest is {most:.7g}. {first.path} is complete without them.",
            hint="Take less sure ones with --set unlabelled.confidence=0.8, or use the run that is there.",
        )
    counts = Counter(each.label for each in chosen)
    said = ", ".join(f"{name} {count}" for name, count in counts.most_common(20))
    asked.progress.note(f"learnt from as well: {len(chosen)} of {len(labels)} unlabelled pictures, as {said}")
    files = [ImageFile(each.path, (each.label,), "train") for each in chosen]
    rows = [SplitRow(each.path, each.sha256, (each.label,), "train") for each in chosen]
    split = replace(_split_of(first), rows=(*_split_of(first).rows, *rows))
    after = supervised(replace(asked, folder=_with(asked.folder, files), split=split), recipe)
    write_table(asked.run.unlabelled, HEADER, [_row(each) for each in labels])
    _say_gain(asked, before, after, first, len(chosen))
    return after


def beside(run: RunDirectory) -> Path:
    """Return where the run without unlabelled pictures is."""
    return run.path.with_name(f"{run.path.name}-supervised")


def read_labels(path: Path) -> list[dict[str, str]]:
    """Return the rows of unlabelled.csv."""
    return read_table(path, HEADER)


def must_fit(asked: Request, recipe: FinetuneRecipe) -> None:
    """Raise RecipeError where a time is to be reckoned: the second training depends on what the first one says."""
    if recipe.unlabelled.folder is not None and asked.time_budget is not None:
        raise RecipeError(
            "A time budget does not know of unlabelled pictures, which are learnt from in a second training.",
            hint="Leave out one of --time-budget and --unlabelled.",
        )


def _place(asked: Request, recipe: FinetuneRecipe) -> Path:
    must_fit(asked, recipe)
    place, folder = Path(recipe.unlabelled.folder or ""), asked.folder
    if folder.task != SINGLE_LABEL:
        raise RecipeError("unlabelled.folder is for one class a picture. Received: pictures of several labels.")
    if not place.is_dir():
        raise FolderError(f"There is no folder {place} of unlabelled pictures.")
    if any(_is_in(folder.root / file.path, place) for file in folder.files):
        raise FolderError(
            f"{place} holds pictures of {folder.source} that have a class. Expected a folder of those without alone."
        )
    return place


def _is_in(path: Path, folder: Path) -> bool:
    return path.absolute().is_relative_to(folder.absolute())


def _labels(asked: Request, recipe: FinetuneRecipe, place: Path, first: RunDirectory) -> list[PseudoLabel]:
    """Return what the first network says of each picture that is not among the labelled ones."""
    trained = model.load(str(first.path), cache=asked.cache, progress=asked.progress)
    known = {row.sha256 for row in _split_of(first).rows}
    paths = sorted(str(Path(path).absolute()) for path in walk_paths([str(place)]))
    found: list[PseudoLabel] = []
    same = unread = 0
    with asked.progress.track("labelling the unlabelled", len(paths)) as advance:
        for batch in images.batches(
            paths, size=size_of(recipe), resize=recipe.images.resize, batch_size=recipe.batch_size
        ):
            given = trained.predict_proba(batch.images) if batch.paths else ()
            for path, digest, row in zip(batch.paths, batch.digests, given, strict=True):
                if digest in known:
                    same += 1
                    continue
                # Of equal files one is enough.
                known.add(digest)
                best = int(row.argmax())
                sure = float(row[best])
                found.append(
                    PseudoLabel(path, digest, trained.class_names[best], sure, sure >= recipe.unlabelled.confidence)
                )
            unread += len(batch.skipped)
            advance(len(batch.paths) + len(batch.skipped))
    if same:
        asked.progress.note(f"{same} unlabelled pictures are left out: the same bytes have been seen before")
    if unread:
        asked.progress.warn(f"{unread} unlabelled pictures could not be read, and are left out")
    return found


def _with(folder: ImageFolder, more: list[ImageFile]) -> ImageFolder:
    """Return the folder with further pictures, those it has already left as they are."""
    has = {file.path for file in folder.files}
    files = [*folder.files, *(file for file in more if file.path not in has and Path(file.path).is_absolute())]
    return replace(folder, files=tuple(sorted(files, key=lambda file: file.path)))


def _split_of(run: RunDirectory) -> Split:
    return Split.read(run.split)


def _row(label: PseudoLabel) -> tuple[str, ...]:
    return label.path, label.sha256, label.label, f"{label.confidence:.6f}", "yes" if label.is_learnt else "no"


def _say_gain(asked: Request, before: TrainingResult, after: TrainingResult, first: RunDirectory, count: int) -> None:
    """Say what the unlabelled pictures brought, on every part that both were scored on."""
    gains = {}
    for part, figures in after.metrics.items():
        if part in before.metrics:
            was, now = before.metrics[part]["accuracy"]["value"], figures["accuracy"]["value"]
            gains[part] = {"without": was, "with": now}
            gain = f"{now:.3f} with {count} of them: {now - was:+.3f}"
            asked.progress.note(f"{part:5} accuracy {was:.3f} without unlabelled pictures, {gain}")
    asked.run.log("unlabelled", learnt=count, accuracy=gains)
    if "val" in gains and gains["val"]["with"] < gains["val"]["without"]:
        asked.progress.warn(f"on val they made it worse: take the run without them, {first.path}")
