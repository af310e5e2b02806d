"""A contact sheet of predictions: each image with its true label, if it is known, and its most probable classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw

from transfer_cli.data.decoding import decode_to_fit
from transfer_cli.data.image_inputs import ImageItem, PixelItem
from transfer_cli.data.prediction_result import Predictions
from transfer_cli.data.true_labels import TrueLabels
from transfer_cli.errors import InputError
from transfer_cli.rendering.fonts import font_for, load_font, missing_letters_warning, truncate_to_width
from transfer_cli.rendering.palette import INK, PALE_INK, WHITE, Colour
from transfer_cli.rendering.png_provenance import PREDICT, check_png_target, save_signed
from transfer_cli.system import cpu_count
from transfer_cli.text import counted

MAX_IMAGES = 120
"""Maximum number of images on a sheet."""
BARS = 3
"""Classes per image."""
_COLUMNS = 4
_SIDE, _BAR, _GAP, _TEXT, _TITLE = 132, 190, 14, 42, 56
_ACROSS, _DOWN = _SIDE + _BAR + 3 * _GAP, _SIDE + _TEXT + _GAP
_RIGHT: Colour = (63, 144, 218)
_WRONG: Colour = (189, 31, 1)
_PREDICTED: Colour = (90, 94, 104)
_OTHER: Colour = (200, 204, 210)
_TRACK: Colour = (240, 241, 244)
_LEGEND = "bars: probability; blue: a true label, red: predicted but not true, dark grey: predicted, true label unknown"


@dataclass(frozen=True)
class _Cell:
    path: str
    truth: tuple[str, ...]
    labels: tuple[str, ...]
    reason: str
    top: tuple[tuple[str, float], ...]

    def colour(self, name: str) -> Colour:
        if name in self.truth:
            return _RIGHT
        if name not in self.labels:
            return _OTHER
        return _WRONG if self.truth else _PREDICTED

    def lines(self) -> tuple[str, str]:
        """Return the two lines below an image: its true labels, and what was predicted if the bars do not tell."""
        truth = f"true: {', '.join(self.truth)}" if self.truth else ""
        predicted = f"{', '.join(self.labels) or 'no label'}{f' ({self.reason})' * bool(self.reason)}"
        is_told = self.labels == (self.top[0][0],)
        return truth, "" if is_told else f"predicted: {predicted}"


@dataclass
class PredictionSheet:
    """Collects predictions in bounded memory, and draws them.

    Of more than `MAX_IMAGES` images one in two, four, eight ... is drawn, in input order.

    Parameters
    ----------
    target : Path
        PNG file to write.
    true_labels : TrueLabels
    bit_depth : int, optional
        That of the recipe (see `View`).

    Attributes
    ----------
    images : int
        Number of images so far.
    step : int
        Each image whose index is a multiple of this is drawn.
    """

    target: Path
    true_labels: TrueLabels
    bit_depth: int | None = None
    images: int = 0
    step: int = 1
    _cells: list[_Cell] = field(default_factory=list)

    def add(self, batch: Predictions) -> None:
        """Add the images of a batch."""
        rows = zip(batch.rows(BARS), batch.label_lists(), batch.reasons(), strict=True)
        for (path, top), labels, reason in rows:
            if self.images % self.step == 0:
                self._cells.append(_Cell(path, self.true_labels.of(path), tuple(labels), reason, tuple(top)))
                if len(self._cells) > MAX_IMAGES:
                    self._cells, self.step = self._cells[::2], 2 * self.step
            self.images += 1

    def write(self, in_memory: Mapping[str, PixelItem] | None = None) -> list[str]:
        """Draw the sheet, and return warnings.

        Parameters
        ----------
        in_memory : mapping of str to PixelItem, optional
            The images that are not files, by name.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        columns = min(_COLUMNS, len(self._cells))
        rows = -(-len(self._cells) // columns)
        drawing = Image.new("RGB", (max(columns * _ACROSS, 2 * _ACROSS) + _GAP, _TITLE + rows * _DOWN), WHITE)
        draw = ImageDraw.Draw(drawing)
        draw.text((_GAP, 10), self.summary(), fill=INK, font=load_font(16, bold=True))
        draw.text((_GAP, 32), truncate_to_width(_LEGEND, load_font(11), drawing.width - _GAP), PALE_INK, load_font(11))
        for number, (cell, image) in enumerate(zip(self._cells, self._thumbnails(in_memory or {}), strict=True)):
            left, top = _GAP + number % columns * _ACROSS, _TITLE + number // columns * _DOWN
            _draw_cell(drawing, draw, (left, top), cell, image)
        save_signed(drawing, self.target, PREDICT)
        names = (
            text for cell in self._cells for text in (Path(cell.path).name, *cell.truth, *(n for n, _ in cell.top))
        )
        return missing_letters_warning(names)

    def summary(self) -> str:
        """Return in words which images are drawn."""
        if self.step == 1:
            return counted(self.images, "image")
        return f"{len(self._cells)} of {counted(self.images, 'image')} (one in {self.step})"

    def _thumbnails(self, in_memory: Mapping[str, PixelItem]) -> Iterator[Image.Image | None]:
        items = [in_memory.get(cell.path, cell.path) for cell in self._cells]
        with ThreadPoolExecutor(min(8, cpu_count()), thread_name_prefix="sheet") as pool:
            yield from pool.map(partial(_thumbnail, bit_depth=self.bit_depth), items)


def check_sheet_target(target: Path, output: Path | None, folders: Sequence[str] = ()) -> None:
    """Raise InputError or OutputError now if a sheet cannot be written to `target`.

    Parameters
    ----------
    target : Path
    output : Path or None
        The file of the predictions.
    folders : sequence of str
        Paths to predict: a sheet inside a folder would be predicted the next time.
    """
    if output and output.absolute() == target.absolute():
        raise InputError(f"The predictions and their sheet would both be {output}. Expected two names.")
    check_png_target(target, PREDICT)
    for folder in map(Path, folders):
        if folder.is_dir() and target.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"{target} would be inside {folder}, and the next command would predict it as an image.",
                hint="Choose a place outside of the images with --sheet FILE.png.",
            )


def _thumbnail(item: ImageItem, bit_depth: int | None) -> Image.Image | None:
    pixels = decode_to_fit(Path(item), _SIDE, bit_depth) if isinstance(item, str) else item.decode()[1]
    if isinstance(pixels, str):
        return None
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE))
    return image


def _draw_cell(
    drawing: Image.Image, draw: ImageDraw.ImageDraw, corner: tuple[int, int], cell: _Cell, image: Image.Image | None
) -> None:
    left, top = corner
    draw.rectangle([left, top, left + _SIDE - 1, top + _SIDE - 1], fill=_TRACK)
    if image is None:
        middle = (left + _SIDE / 2, top + _SIDE / 2)
        draw.text(middle, "not a file", fill=PALE_INK, font=load_font(12), anchor="mm")
    else:
        drawing.paste(image, (left + (_SIDE - image.width) // 2, top + (_SIDE - image.height) // 2))
    name, width = Path(cell.path).name or cell.path, _ACROSS - 2 * _GAP
    below = (name, "  ".join(line for line in cell.lines() if line))
    for number, text in enumerate(below):
        font = font_for(text, 12, bold=not number)
        shown = truncate_to_width(text, font, width)
        draw.text((left, top + _SIDE + 4 + 17 * number), shown, fill=PALE_INK if number else INK, font=font)
    for number, (class_name, probability) in enumerate(cell.top):
        _draw_bar(draw, (left + _SIDE + _GAP, top + 6 + 42 * number), class_name, probability, cell)


def _draw_bar(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], class_name: str, probability: float, cell: _Cell
) -> None:
    left, top = corner
    percent = f"{100 * probability:.0f} %"
    font, small = font_for(class_name, 13, bold=class_name in cell.labels), load_font(12)
    draw.text((left, top), truncate_to_width(class_name, font, _BAR - 50), fill=INK, font=font)
    draw.text((left + _BAR, top), percent, fill=PALE_INK, font=small, anchor="ra")
    draw.rectangle([left, top + 19, left + _BAR, top + 29], fill=_TRACK)
    if length := round(_BAR * min(1.0, probability)):
        draw.rectangle([left, top + 19, left + length, top + 29], fill=cell.colour(class_name))
