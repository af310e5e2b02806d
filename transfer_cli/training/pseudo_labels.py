"""Unlabelled pictures learnt from, too: a trained network labels those it is sure of, and another learns from all.

Pseudo-labels (Lee 2013, "Pseudo-Label: The simple and efficient semi-supervised learning method") above a confidence,
in one round: as self-training with a teacher (Xie et al. 2020) does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data import decoding
from transfer_cli.data.image_folder import ImageFile, ImageFolder
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import FolderError, InputError, RecipeError, RunError
from transfer_cli.inference.load import load
from transfer_cli.io.csv_tables import read_table, write_table
from transfer_cli.io.discovery import walk_paths
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.sections import Unlabelled
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.training.loop.trainer import refits

HEADER = ("path", "sha256", "class", "confidence", "learnt", "reason")
KNOWN = "the same bytes have been seen before"
Train = Callable[[TrainingRequest, FinetuneRecipe], TrainingResult]


@dataclass(frozen=True)
class PseudoLabel:
    """What a trained network says of an unlabelled picture; `reason` is why it says nothing."""

    path: str
    sha256: str
    label: str
    confidence: float
    reason: str = ""


def train(request: TrainingRequest, recipe: FinetuneRecipe, supervised: Train) -> TrainingResult:
    """Train without the unlabelled pictures, then again with those that the first network is sure of.

    The first training is a run of its own beside the other, so that the gain can be seen, and either can be used. Both
    have the same test pictures. Where the first one learns from val in the end, val has had its say: the second one
    learns from it from the beginning and is compared on test alone, since a network whose labels come from one that
    knows val would do well on it. No unlabelled picture whose bytes are among the labelled ones is learnt from.

    Parameters
    ----------
    request : Request
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
    RunError
        When RUN is not free, or other pictures were labelled before.
    InputError
        When the network is sure of none of them.
    """
    place, run, first = _place(request, recipe), request.run, RunDirectory(beside(request.run))
    run.must_be_free(recipe, request.folder.source, overwrite=request.overwrite)
    # What lies in RUN was learnt from labels of a first run that is not there any more.
    anew = request.overwrite or not first.is_complete(with_model=True, with_features=False)
    before = _first(request, recipe, first, supervised)
    labels = _labels_of(request, recipe, place, first)
    chosen = [each for each in labels if _is_learnt(each, recipe)]
    new = [each for each in labels if not each.reason]
    if not chosen:
        most = max((each.confidence for each in new), default=0.0)
        raise InputError(
            f"Of {len(new)} new pictures none is classified with a confidence of "
            f"{recipe.unlabelled.confidence:.7g}; the highest is {most:.7g}. {first.path} is complete without them.",
            hint="Take less sure ones with --set unlabelled.confidence=0.8, or use the run that is there.",
        )
    counts = Counter(each.label for each in chosen)
    said = ", ".join(f"{name} {count}" for name, count in counts.most_common(20))
    request.progress.note(f"learnt from as well: {len(chosen)} of {len(new)} unlabelled pictures, as {said}")
    split = _with_labels(recipe, Split.read(first.split), chosen)
    both = replace(request, folder=_with(request.folder, chosen), split=split, overwrite=anew and run.recipe.is_file())
    after = supervised(both, recipe)
    _say_gain(request, before, after, first, len(chosen))
    unread = [Skipped(each.path, each.reason) for each in labels if each.reason and each.reason != KNOWN]
    return replace(after, skipped=(*after.skipped, *unread))


def beside(run: RunDirectory) -> Path:
    """Return where the run without unlabelled pictures is."""
    # A path such as . has no name of its own.
    path = run.path if run.path.name not in ("", "..") else run.path.resolve()
    return path.with_name(f"{path.name}-supervised")


def must_fit(request: TrainingRequest, recipe: FinetuneRecipe) -> None:
    """Raise RecipeError where a time is to be reckoned: the second training depends on what the first one says."""
    if recipe.unlabelled.folder is not None and request.time_budget is not None:
        raise RecipeError(
            "A time budget does not know of unlabelled pictures, which are learnt from in a second training.",
            hint="Leave out one of --time-budget and --unlabelled.",
        )


def _place(request: TrainingRequest, recipe: FinetuneRecipe) -> Path:
    must_fit(request, recipe)
    place, folder = Path(recipe.unlabelled.folder or ""), request.folder
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


def _first(request: TrainingRequest, recipe: FinetuneRecipe, first: RunDirectory, supervised: Train) -> TrainingResult:
    """Train without the unlabelled pictures."""
    split = request.split
    if split is None and request.run.split.is_file():
        split = Split.read(request.run.split)
    request.progress.note(f"without the unlabelled pictures first: {first.path}")
    without = recipe.model_copy(update={"unlabelled": Unlabelled()})
    # The bar is for what comes out in the end.
    return supervised(replace(request, run=first, split=split, min_accuracy=None), without)


def _with_labels(recipe: FinetuneRecipe, split: Split, labels: Sequence[PseudoLabel]) -> Split:
    """Return the split of the second training."""
    rows = [*split.rows, *(SplitRow(each.path, each.sha256, (each.label,), "train") for each in labels)]
    if refits(recipe, split):
        rows = [replace(row, part="train") if row.part == "val" else row for row in rows]
    return replace(split, rows=tuple(rows))


def _labels_of(request: TrainingRequest, recipe: FinetuneRecipe, place: Path, first: RunDirectory) -> list[PseudoLabel]:
    """Return what the first network says of the unlabelled pictures, as it was written down where that was done."""
    paths = _paths(place)
    if first.unlabelled.is_file():
        known = _read(first)
        if [each.path for each in known] == paths:
            return known
        if request.run.recipe.is_file() and not request.overwrite:
            raise RunError(
                f"{first.path} has labelled other pictures than are in {place} now.",
                hint="Add --overwrite to begin both runs anew, or choose another place with -o RUN.",
            )
    labels = sorted(_labels(request, recipe, paths, first), key=lambda each: each.path)
    rows = [(*_row(each), "yes" if _is_learnt(each, recipe) else "no", each.reason) for each in labels]
    write_table(first.unlabelled, HEADER, rows)
    return _read(first)


def _labels(
    request: TrainingRequest, recipe: FinetuneRecipe, paths: Sequence[str], first: RunDirectory
) -> list[PseudoLabel]:
    """Return what the first network says of each picture that is not among the labelled ones."""
    trained = load(str(first.path), offline=request.offline, cache=request.cache, progress=request.progress)
    names, known = trained.class_names, {row.sha256 for row in Split.read(first.split).rows}
    found: list[PseudoLabel] = []
    read = decoding.batches(
        paths,
        size=recipe.image_size,
        resize=recipe.images.resize,
        batch_size=recipe.batch_size,
        strict=request.strict,
    )
    with request.progress.track("labelling the unlabelled", len(paths)) as advance:
        for batch in read:
            given = trained.predict_proba(batch.images) if batch.paths else ()
            for path, digest, row in zip(batch.paths, batch.digests, given, strict=True):
                best = int(row.argmax())
                if digest in known:
                    found.append(PseudoLabel(path, digest, "", 0.0, KNOWN))
                else:
                    found.append(PseudoLabel(path, digest, names[best], float(row[best])))
                # Of equal files one is enough.
                known.add(digest)
            found += [PseudoLabel(item.path, "", "", 0.0, item.reason) for item in batch.skipped]
            advance(len(batch.paths) + len(batch.skipped))
    if same := sum(each.reason == KNOWN for each in found):
        request.progress.note(f"{same} unlabelled pictures are left out: {KNOWN}")
    return found


def _paths(place: Path) -> list[str]:
    return sorted(str(Path(path).absolute()) for path in walk_paths([str(place)]))


def _read(first: RunDirectory) -> list[PseudoLabel]:
    return [
        PseudoLabel(row["path"], row["sha256"], row["class"], float(row["confidence"]), row["reason"])
        for row in read_table(first.unlabelled, HEADER)
    ]


def _is_learnt(label: PseudoLabel, recipe: FinetuneRecipe) -> bool:
    return not label.reason and label.confidence >= recipe.unlabelled.confidence


def _row(label: PseudoLabel) -> tuple[str, ...]:
    # Nine digits bring a float32 back exactly, so that a bar is passed or not whenever it is asked.
    return label.path, label.sha256, label.label, f"{label.confidence:.9g}"


def _with(folder: ImageFolder, labels: Sequence[PseudoLabel]) -> ImageFolder:
    """Return the folder with further pictures to learn from."""
    files = [*folder.files, *(ImageFile(each.path, (each.label,), "train") for each in labels)]
    return replace(folder, files=tuple(sorted(files, key=lambda file: file.path)))


def _say_gain(
    request: TrainingRequest, before: TrainingResult, after: TrainingResult, first: RunDirectory, count: int
) -> None:
    """Say what the unlabelled pictures brought, on every part that both were scored on."""
    gains = {}
    for part, figures in after.metrics.items():
        if part in before.metrics:
            was, now = before.metrics[part]["accuracy"]["value"], figures["accuracy"]["value"]
            gains[part] = now - was
            gain = f"{now:.3f} with {count} of them: {now - was:+.3f}"
            request.progress.note(f"{part:5} accuracy {was:.3f} without unlabelled pictures, {gain}")
    if gains.get("val", 0) < 0:
        request.progress.warn(f"on val they made it worse: take the run without them, {first.path}")
