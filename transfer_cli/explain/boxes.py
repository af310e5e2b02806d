"""Boxes around saliency maps, as JSON in the batch format of MegaDetector.

This is weak localisation: the model was trained on classes, never on boxes. A box encloses what the prediction is based
on, which may be a part of the object, several objects, or their background.

References
----------
B. Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, section 3: the box of the largest
connected region above 20 % of the maximum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.skipped import Skipped
from transfer_cli.data.views import View
from transfer_cli.errors import InputError
from transfer_cli.explain.multi_view import extent
from transfer_cli.explain.overlay import upsampled
from transfer_cli.io.atomic import check_writable, write_json

THRESHOLD = 0.2
"""Share of a map's maximum above which a position belongs to the box."""
FORMAT_VERSION = "1.4"
_DETECTOR = "transfer-cli explain"
_WARNING = (
    "weak localisation: a box encloses what the prediction is based on (the largest region of the saliency map above "
    "this share of its maximum); the model was never trained on boxes"
)
_DIGITS = 4
_HEAD_BYTES = 1000

Box = tuple[float, float, float, float]
"""Left and top edge, width and height, as shares of the width and the height of the image."""


def box_of(map_: NDArray[np.float32], view: View, aspect_ratio: float = 1.0) -> Box | None:
    """Return the box around the largest connected region of a saliency map above 20 % of its maximum.

    Parameters
    ----------
    map_ : ndarray of shape (h, w), float32
        Of any size, in the view of the model.
    view : View
    aspect_ratio : float
        Width of the original image divided by its height; it matters for a view that crops or pads.

    Returns
    -------
    tuple of 4 float or None
        In the original image; None if the map is 0 everywhere.
    """
    if map_.max() <= 0:
        return None
    heat = upsampled(map_, view.size)
    mask = (heat >= THRESHOLD * heat.max()).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    # The first component is the background.
    largest = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    starts = largest[[cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]]
    ends = starts + largest[[cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    scales = np.array(extent(view, aspect_ratio))
    low, high = (np.clip(0.5 + (edges / view.size - 0.5) * scales, 0, 1) for edges in (starts, ends))
    (left, top), (width, height) = low.tolist(), (high - low).tolist()
    return left, top, width, height


def write_boxes(
    target: Path,
    class_names: Sequence[str],
    detections: Iterable[tuple[str, str, float, Box | None]],
    skipped: Iterable[Skipped],
    method: str,
) -> None:
    """Write boxes as JSON in the batch format of MegaDetector; each class is a detection category.

    Parameters
    ----------
    target : Path
    class_names : sequence of str
    detections : iterable of (str, str, float, Box or None)
        Path of the image, class, probability and box; images without a box have no detections.
    skipped : iterable of Skipped
        Images that could not be read, with the reason as their ``failure``.
    method : str
        Of the saliency maps.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    numbers = {name: str(number) for number, name in enumerate(class_names, start=1)}
    by_path: dict[str, list[dict[str, object]]] = {}
    for path, class_name, probability, box in detections:
        found = by_path.setdefault(path, [])
        if box is not None:
            bbox = [round(edge, _DIGITS) for edge in box]
            detection = {"category": numbers[class_name], "conf": round(probability, _DIGITS), "bbox": bbox}
            # An image may be given twice.
            found += [] if detection in found else [detection]
    images: list[dict[str, object]] = [{"file": path, "detections": found} for path, found in by_path.items()]
    images += [{"file": file.path, "failure": file.reason, "detections": None} for file in skipped]
    metadata = {"method": method, "threshold": THRESHOLD, "note": _WARNING}
    info = {"format_version": FORMAT_VERSION, "detector": _DETECTOR, "detector_metadata": metadata}
    categories = {number: name for name, number in numbers.items()}
    write_json(target, {"info": info, "detection_categories": categories, "images": images})


def check_boxes_target(target: Path, folder: Path) -> None:
    """Raise InputError or OutputError now if boxes cannot be written to `target`.

    Parameters
    ----------
    target : Path
        An earlier file of boxes is replaced, and no other one.
    folder : Path
        The folder of the saliency maps, which is replaced as a whole.
    """
    if target.suffix.lower() != ".json":
        raise InputError(f"{target} is not a JSON file. Expected a name that ends in .json.")
    if target.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{target} would be inside {folder}, which is replaced as a whole.",
            hint="Choose a place outside of that folder with --write-boxes FILE.json.",
        )
    check_writable(target)
    if target.exists() and target.stat().st_size:
        with target.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if f'"detector": "{_DETECTOR}"'.encode() not in head:
            raise InputError(
                f"{target} is not a file of boxes that explain wrote, and would be lost.",
                hint="Choose another name with --write-boxes, or remove the file.",
            )
