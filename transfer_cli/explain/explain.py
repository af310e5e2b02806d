"""`explain`: write the saliency maps of images and a table of their faithfulness."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.arguments import StrPath, as_path
from transfer_cli.data.decoding import aspect_ratio
from transfer_cli.data.image_inputs import ImageInputs, ImageItem, PixelItem, image_items, item_batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import InputError, UnknownNameError
from transfer_cli.explain.boxes import Box, box_of, check_boxes_target
from transfer_cli.explain.boxes import write_boxes as write_box_file
from transfer_cli.explain.explainable import Explainable
from transfer_cli.explain.faithfulness import Faithfulness, measure_faithfulness
from transfer_cli.explain.multi_view import ViewedImage
from transfer_cli.explain.overlay import save_overlay
from transfer_cli.io import atomic
from transfer_cli.io.csv_tables import write_table
from transfer_cli.progress import Progress
from transfer_cli.progress_bar import progress_of
from transfer_cli.rendering.fonts import missing_letters_warning
from transfer_cli.rendering.png_provenance import EXPLAIN, made_by
from transfer_cli.text import counted

TABLE = "explanations.csv"
_SCORES = ("deletion", "random_deletion", "insertion", "random_insertion")
_MAX_STEM = 150
_BATCH = 16
_SHOWN_IN_NOTEBOOK = 12


@dataclass(frozen=True)
class Explanation:
    """The saliency map of one image for one class: a row of the table.

    `box` is around the map, if it was asked for (see `explain.boxes`).
    """

    path: str
    class_name: str
    probability: float
    method: str
    faithfulness: Faithfulness
    file: str
    box: Box | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the row by its columns."""
        return {
            "path": self.path,
            "class": self.class_name,
            "probability": self.probability,
            "method": self.method,
            **{name: round(getattr(self.faithfulness, name), 4) for name in _SCORES},
            "faithful": "yes" if self.faithfulness.is_faithful else "no",
            "file": self.file,
        }

    def summary(self) -> str:
        """Return the result as one line."""
        verdict = self.faithfulness.verdict(self.class_name)
        if not self.faithfulness.is_detected:
            return f"{verdict}: {self.path}"
        probability = f"{self.class_name} {100 * self.probability:.0f} %"
        return f"{verdict}: {self.path}, {probability}, {self.faithfulness.blurring_effect()}"


@dataclass(frozen=True)
class Explanations:
    """The explanations that were written to a folder, and the files that could not be read."""

    target: Path
    rows: tuple[Explanation, ...]
    skipped: tuple[Skipped, ...]

    @property
    def table(self) -> Path:
        """The table of all rows."""
        return self.target / TABLE

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return "\n".join(
            [f"<{counted(len(self), 'saliency map')} in {self.target}>", *(f"  {row.summary()}" for row in self)]
        )

    def _repr_html_(self) -> str:
        files = (self.target / row.file for row in self.rows[:_SHOWN_IN_NOTEBOOK])
        encoded = (base64.b64encode(file.read_bytes()).decode() for file in files if file.is_file())
        return "".join(f'<img src="data:image/png;base64,{data}"/>' for data in encoded)


def explain(
    opened: Explainable,
    images: ImageInputs,
    target: StrPath,
    *,
    class_names: Sequence[str] = (),
    write_boxes: StrPath | None = None,
    progress: bool | Progress = False,
) -> Explanations:
    """Write one overlay per image and class, and a table of them.

    Parameters
    ----------
    opened : Explainable
    images : path, folder, array, PIL image, or an iterable of these
        See `data.image_inputs`.
    target : str or os.PathLike
        Folder to write, as a whole or not at all; an earlier one of this function is replaced.
    class_names : sequence of str
        Classes to explain, per image; by default the predicted class, or all predicted labels of a multi-label model.
    write_boxes : str or os.PathLike, optional
        JSON file for a box around each map (see `explain.boxes`).
    progress : bool or Progress

    Raises
    ------
    UnknownNameError
        If the model has no such class.
    OutputError
        If `target` cannot be written, or holds other files.
    InputError
        If no image could be read.
    """
    target, progress, items = as_path(target, "a folder"), progress_of(progress), image_items(images)
    columns = columns_of(opened.model.class_names, class_names)
    check_replaceable(target)
    boxes = None if write_boxes is None else as_path(write_boxes, "a JSON file")
    if boxes:
        check_boxes_target(boxes, target)
    rows: list[Explanation] = []
    skipped: list[Skipped] = []
    file_names: set[str] = set()
    views = opened.model.views
    needs_ratio = len({view.resize for view in views}) > 1 or (boxes is not None and views[0].resize != "squash")
    ratios: dict[str, float] = {}
    total = len(images) if isinstance(images, list | tuple) else None
    with atomic.atomic_write(target) as draft, progress.track("drawing saliency maps", total) as advance:
        draft.mkdir()
        for batch in item_batches(_noting_ratios(items, ratios), views, batch_size=_BATCH):
            skipped += batch.skipped
            for path, *pixels in zip(batch.paths, *batch.views, strict=True):
                ratio = ratios.get(path) or (aspect_ratio(Path(path)) if needs_ratio else 1.0)
                image = ViewedImage(tuple(pixels), views, ratio)
                for map_, row in _explain_image(opened, path, image, columns, file_names):
                    title = f"{row.class_name}  {100 * row.probability:.1f} %  ({row.method})  {Path(row.path).name}"
                    caption = [title, *row.faithfulness.summary(row.class_name)]
                    save_overlay(pixels[0], map_, caption, draft / row.file)
                    rows.append(replace(row, box=box_of(map_, views[0], ratio)) if boxes else row)
                advance(1)
            advance(len(batch.skipped))
        if not rows:
            lines = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:20])
            reason = "no image could be read." if skipped else "there are no images."
            raise InputError(f"Nothing to explain: {reason}{lines}")
        write_table(draft / TABLE, [*rows[0].to_dict()], ([*row.to_dict().values()] for row in rows))
    if boxes:
        detections = ((row.path, row.class_name, row.probability, row.box) for row in rows)
        write_box_file(boxes, opened.model.class_names, detections, skipped, opened.method.name)
    for line in missing_letters_warning(name for row in rows for name in (row.class_name, Path(row.path).name)):
        progress.warn(line)
    return Explanations(target, tuple(rows), tuple(skipped))


def _noting_ratios(items: Iterable[ImageItem], ratios: dict[str, float]) -> Iterator[ImageItem]:
    """Yield images, and note the aspect ratio of those in memory, which have no file to read it from later."""
    for item in items:
        if isinstance(item, PixelItem):
            ratios[item.name] = item.aspect_ratio
        yield item


def columns_of(known: Sequence[str], class_names: Iterable[str]) -> list[int]:
    """Return the indices of class names without repetition; raise UnknownNameError for a name that is not known."""
    for name in class_names:
        if name not in known:
            raise UnknownNameError.of("class", name, known, f"The classes are: {', '.join(known[:20])}.")
    return [known.index(name) for name in dict.fromkeys(class_names)]


def check_replaceable(target: Path) -> None:
    """Raise OutputError if a folder holds any file that `explain` did not write."""
    atomic.check_writable_folder(target, is_replaced=True)
    atomic.check_replaceable(target, lambda path: path.name == TABLE or made_by(path) == EXPLAIN, "an explanation")


def _explain_image(
    opened: Explainable, path: str, image: ViewedImage, columns: list[int], file_names: set[str]
) -> Iterator[tuple[NDArray[np.float32], Explanation]]:
    views = [pixels[None] for pixels in image.images]
    probabilities, names = opened.predict(*views)[0], opened.model.class_names
    classes = np.array(columns or _predicted(probabilities, opened.model.thresholds), np.int64)
    maps = opened.maps(views, classes[None], [image.aspect_ratio])[0]
    # A class counts as detected from its threshold, or the probability of a random guess.
    thresholds = opened.model.thresholds or [1 / len(names)] * len(names)
    minimum = [thresholds[column] for column in classes]
    results = measure_faithfulness(opened.predict, image, maps, classes, min_probabilities=minimum)
    for column, map_, result in zip(classes, maps, results, strict=True):
        class_name = names[column]
        # Through str: the shortest number that reads back as the same float32.
        probability = float(str(probabilities[column]))
        file = _unique_name(Path(path).stem, class_name, file_names)
        yield map_, Explanation(path, class_name, probability, opened.method.name, result, file)


def _predicted(probabilities: NDArray[np.float32], thresholds: tuple[float, ...] | None) -> list[int]:
    """Return the predicted classes; for several labels all above their threshold, or else the most probable one."""
    above = [] if thresholds is None else np.flatnonzero(probabilities >= np.array(thresholds)).tolist()
    return above or [int(probabilities.argmax())]


def _unique_name(stem: str, class_name: str, used: set[str]) -> str:
    """Return a file name that is valid on every system and unique also on those that ignore case."""
    stem, class_name = (re.sub(r"[^\w.() -]", "_", text, flags=re.ASCII) for text in (stem, class_name))
    base = f"{stem[:_MAX_STEM]}-{class_name[: 230 - _MAX_STEM]}"
    names = chain([base], (f"{base}-{number}" for number in count(2)))
    name = next(name for name in names if name.casefold() not in used)
    used.add(name.casefold())
    return f"{name}.png"
