"""Why a model said what it said of pictures: a map of each, how far it is to be believed, and all that as files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.catalog import explainers, runtimes
from transfer_cli.catalog.explainers import Maps
from transfer_cli.data.decoding import aspect_ratio
from transfer_cli.data.image_batches import batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import InputError, UnknownNameError
from transfer_cli.explain import faithfulness
from transfer_cli.explain import overlay as overlays
from transfer_cli.explain.multi_view import Seen, highest_is_one
from transfer_cli.explain.overlay import overlay
from transfer_cli.inference.load import has_gradient, load
from transfer_cli.inference.models import AbstractModel
from transfer_cli.io import atomic
from transfer_cli.io.atomic import atomic_write
from transfer_cli.io.cache import Cache
from transfer_cli.io.csv_tables import write_table
from transfer_cli.progress import SILENT, Progress
from transfer_cli.rendering.png_provenance import EXPLAIN, made_by

if TYPE_CHECKING:
    from transfer_cli.explain.ensemble_maps import MemberMaps
    from transfer_cli.explain.grad_cam import Gradients

__all__ = ["Explainable", "Explained", "Explanations", "explain", "explain_images", "overlay"]

Views = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
"""Pictures, of shape (n, size, size, 3); or the same pictures in each of several views."""
TABLE = "explanations.csv"
_LONGEST_NAME = 150
_PICTURES_AT_A_TIME = 16
_FOR_ONE_PICTURE = 300
"""About so often the model is asked about one picture; it decides what runs it."""


class Explainable:
    """A model and what it takes to say why it said something.

    Attributes
    ----------
    model : AbstractModel
    method : ExplainerSpec
    gradients : Gradients or None
        Of a method that needs a gradient, and a model that is no ensemble.
    members : list of MemberMaps
        Of a method that needs a gradient, and an ensemble.

    Parameters
    ----------
    source : str
        A run or a bundle.
    method : str, optional
        A row of catalog.explainers; the first that the model can take where it is not given.
    layer : str, optional
        The last map of the network where it is not given.
    runtime : str
        Of the probabilities; gradients are Keras's.
    cache : Cache, optional
    progress : Progress

    Raises
    ------
    ModelError
        When there is no such model, or it has no gradient and the method needs one.
    UnknownNameError
        When there is no such method or layer.
    """

    def __init__(
        self,
        source: str,
        *,
        method: str | None = None,
        layer: str | None = None,
        runtime: str = runtimes.AUTO,
        cache: Cache | None = None,
        progress: Progress = SILENT,
    ) -> None:
        opened = ModelBundle.open(Path(source))
        self.method = explainers.find(method) if method else _method_of(opened, layer, progress)
        self.gradients: Gradients | None = None
        self.members: list[MemberMaps] = []
        if layer and opened.members and self.method.needs_gradient:
            raise InputError(
                f"--layer names a layer of one network; this is an ensemble of {len(opened.members)} models.",
                hint=f"Explain a member: transfer-cli explain {opened.members[0].directory} PICTURES --layer {layer}",
            )
        if self.method.needs_gradient:
            # Before the model is loaded: what cannot be explained is said at once.
            from transfer_cli.quiet_imports import import_tensorflow

            import_tensorflow()
            self._differentiate(opened, layer, progress)
        elif layer:
            raise InputError(f"{self.method.name} looks at the picture, not at a layer. Received: --layer {layer}.")
        self.model: AbstractModel = load(
            source, runtime=runtime, images=_FOR_ONE_PICTURE, cache=cache, progress=progress
        )

    def _differentiate(self, opened: OpenedBundle, layer: str | None, progress: Progress) -> None:
        """Open what gives the maps of a model, or those of each member of an ensemble."""
        from transfer_cli.explain.ensemble_maps import counted_as, members_of
        from transfer_cli.explain.grad_cam import Gradients

        if opened.members:
            self.members = members_of(opened)
            progress.note(f"the mean of the maps of {len(self.members)} models, {counted_as(opened.bundle)}")
            return
        self.gradients = Gradients.of_bundle(opened.bundle, opened.directory, layer)
        wanted = "the last" if layer is None else "the chosen"
        height, width = self.gradients.shape[:2]
        progress.note(f"{wanted} map, {self.gradients.layer}, has {height} x {width} places")

    def seen(self, images: Views, ratios: Sequence[float] | None = None) -> list[Seen]:
        """Return pictures as the model sees them; the arguments are those of `maps`."""
        given = (images,) if isinstance(images, np.ndarray) else tuple(images)
        views = self.model.views
        if [each.shape[1] for each in given] != [view.size for view in views]:
            expected = ", ".join(f"{view.size} ({view.resize})" for view in views)
            raise ValueError(f"Expected pictures of {expected}. Received: {[each.shape for each in given]}.")
        if ratios is None:
            if len({view.resize for view in views}) > 1:
                raise ValueError("Where a place lies in views that crop and others is told by the ratios of pictures.")
            ratios = [1.0] * len(given[0])
        return [Seen(each, views, ratio) for *each, ratio in zip(*given, ratios, strict=True)]  # type: ignore[arg-type]

    def maps(self, images: Views, columns: NDArray[np.int64], ratios: Sequence[float] | None = None) -> Maps:
        """Return where each picture speaks for some classes.

        Parameters
        ----------
        images : ndarray of shape (n, size, size, 3), uint8, or a sequence of them
            Of an ensemble whose members see pictures in several ways, those in each view of its model.
        columns : ndarray of shape (n, m), int
            The classes of each picture.
        ratios : sequence of n float, optional
            Width by height of each whole picture: only where one member crops and another does not.

        Returns
        -------
        ndarray of shape (n, m, h, w), float32
            The highest place of each map is 1; a map in which nothing speaks for the class is 0 everywhere. Of an
            ensemble it lies over the first view.
        """
        views = self.seen(images, ratios)
        if self.gradients is not None:
            found = self.gradients.maps(np.stack([seen.images[0] for seen in views]), columns, self.method)
        elif self.members:
            from transfer_cli.explain.ensemble_maps import mean_maps

            found = mean_maps(self.members, views, columns, self.method)
        else:
            from transfer_cli.explain.occlusion import occlusion_map

            pairs = zip(views, columns, strict=True)
            found = np.stack([occlusion_map(self.predict, seen, of_picture) for seen, of_picture in pairs])
        return highest_is_one(found)

    def predict(self, *views: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the model's probabilities of pictures, one argument a view."""
        return self.model.predict_views(views)


def explain_images(
    source: str | Explainable,
    images: Views,
    columns: NDArray[np.int64],
    *,
    method: str | None = None,
    ratios: Sequence[float] | None = None,
) -> Maps:
    """Return where each picture speaks for a class; nothing is written.

    Parameters
    ----------
    source : str or Explainable
        A run or a bundle, or one that was opened before.
    images : ndarray of shape (n, size, size, 3), uint8, or a sequence of them
        As `engine.images.batches` gives them; of an ensemble whose members see pictures in several ways, its `views`.
    columns : ndarray of shape (n,), int
        The class of each.
    method : str, optional
        Of a run or a bundle: a row of catalog.explainers.
    ratios : sequence of n float, optional
        See `Explainable.maps`.

    Returns
    -------
    ndarray of shape (n, h, w), float32
        From 0 to 1; `overlay` takes them as they are.
    """
    opened = source if isinstance(source, Explainable) else Explainable(source, method=method)
    return opened.maps(images, np.asarray(columns, np.int64)[:, None], ratios)[:, 0]


@dataclass(frozen=True)
class Explained:
    """One picture, one class: a row of the table."""

    path: str
    class_name: str
    probability: float
    method: str
    belief: faithfulness.Belief
    file: str

    def to_dict(self) -> dict[str, object]:
        """Return the row by its columns."""
        return {
            "path": self.path,
            "class": self.class_name,
            "probability": self.probability,
            "method": self.method,
            "deletion": round(self.belief.deletion, 4),
            "random_deletion": round(self.belief.random_deletion, 4),
            "insertion": round(self.belief.insertion, 4),
            "random_insertion": round(self.belief.random_insertion, 4),
            "believable": "yes" if self.belief.is_believable else "no",
            "file": self.file,
        }

    def summary(self) -> str:
        """Say it to a person."""
        verdict = self.belief.verdict(self.class_name)
        if not self.belief.is_seen:
            return f"{verdict}: {self.path}"
        after, random_after = (f"{100 * value:.0f} %" for value in (self.belief.after, self.belief.random_after))
        return (
            f"{verdict}: {self.path}, {self.class_name} {100 * self.probability:.0f} %, "
            f"{after} where its brightest places are blurred, {random_after} where others are"
        )


@dataclass(frozen=True)
class Explanations:
    """What was written to a directory, and what could not be read."""

    target: Path
    rows: tuple[Explained, ...]
    skipped: tuple[Skipped, ...]

    @property
    def table(self) -> Path:
        """The table of all rows."""
        return self.target / TABLE

    def to_dict(self) -> list[dict[str, object]]:
        """Return the rows as JSON can hold them."""
        return [row.to_dict() for row in self.rows]


def explain(
    opened: Explainable,
    paths: Iterable[str],
    target: Path,
    *,
    class_names: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Explanations:
    """Write an overlay for each picture and class, and a table of them; return what was written.

    Parameters
    ----------
    opened : Explainable
    paths : iterable of str
        Files.
    target : Path
        The directory, written whole or not at all. One that this function wrote before is replaced.
    class_names : sequence of str
        What is explained of each picture; where there is none, the most probable class, or of a multi-label task each
        label above its threshold.
    progress : Progress

    Raises
    ------
    UnknownNameError
        When the model has no such class.
    OutputError
        When `target` cannot be written, or holds something else.
    InputError
        When not one picture could be read.
    """
    wanted = columns_of(opened.model.class_names, class_names)
    check_replaceable(target)
    rows: list[Explained] = []
    skipped: list[Skipped] = []
    names: set[str] = set()
    (size, resize), *others = views = opened.model.views
    crops = len({view.resize for view in views}) > 1
    with atomic_write(target) as draft, progress.track("explaining", None) as advance:
        draft.mkdir()
        for batch in batches(paths, size=size, resize=resize, other_views=others, batch_size=_PICTURES_AT_A_TIME):
            skipped += batch.skipped
            for path, *images in zip(batch.paths, *batch.views, strict=True):
                seen = Seen(tuple(images), views, aspect_ratio(Path(path)) if crops else 1.0)
                rows += _explained(opened, path, seen, wanted, draft, names)
                advance(1)
        if not rows:
            raise InputError(
                "Nothing was explained: "
                + (f"none of the {len(skipped)} files could be read." if skipped else "there is no picture.")
                + "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:20])
            )
        write_table(draft / TABLE, [*rows[0].to_dict()], ([*row.to_dict().values()] for row in rows))
    return Explanations(target, tuple(rows), tuple(skipped))


def columns_of(known: Sequence[str], class_names: Iterable[str]) -> list[int]:
    """Return the columns of some classes, each once; raise UnknownNameError at one that the model does not know."""
    for name in class_names:
        if name not in known:
            raise UnknownNameError.of("class", name, known, f"The model knows {', '.join(known[:20])}.")
    return [known.index(name) for name in dict.fromkeys(class_names)]


def check_replaceable(target: Path) -> None:
    """Raise OutputError if a directory holds anything that `explain` did not write."""
    atomic.check_replaceable(target, lambda path: path.name == TABLE or made_by(path) == EXPLAIN, "an explanation")


def _method_of(opened: OpenedBundle, layer: str | None, progress: Progress) -> explainers.ExplainerSpec:
    """Return the first explainer that a bundle, and each member of an ensemble, can take."""
    if all(has_gradient(bundle) for bundle in opened.leaves()) or layer:
        return explainers.find(explainers.GRAD_CAM)
    whose = "the classifier of a member" if opened.members else "the classifier"
    progress.note(f"{whose} has no gradient, which grad-cam needs: explained by occlusion")
    return explainers.find(explainers.OCCLUSION)


def _explained(
    opened: Explainable, path: str, seen: Seen, wanted: list[int], target: Path, names: set[str]
) -> Iterator[Explained]:
    views = [image[None] for image in seen.images]
    probabilities = opened.predict(*views)[0]
    columns = np.array(wanted or _said(probabilities, opened.model.thresholds), np.int64)
    maps = opened.maps(views, columns[None], [seen.ratio])[0]
    chance = [_chance(opened.model)[column] for column in columns]
    found = faithfulness.beliefs(opened.predict, seen, maps, columns, chance=chance)
    for column, map_, belief in zip(columns, maps, found, strict=True):
        class_name = opened.model.class_names[column]
        row = Explained(
            path,
            class_name,
            # As few digits as bring the float32 back.
            float(str(probabilities[column])),
            opened.method.name,
            belief,
            _free_name(Path(path).stem, class_name, names),
        )
        shown = f"{class_name}  {100 * row.probability:.1f} %  ({opened.method.name})  {Path(path).name}"
        overlays.save_overlay(seen.images[0], map_, [shown, *belief.summary(class_name)], target / row.file)
        yield row


def _chance(model: AbstractModel) -> Sequence[float]:
    """Return the probability from which each class is seen: that of a guess, or the threshold of a label."""
    return model.thresholds or [1 / len(model.class_names)] * len(model.class_names)


def _said(probabilities: NDArray[np.float32], thresholds: tuple[float, ...] | None) -> list[int]:
    """Return the columns of what a model says is on a picture; of several labels at least the most probable."""
    above = [] if thresholds is None else np.flatnonzero(probabilities >= np.array(thresholds)).tolist()
    return above or [int(probabilities.argmax())]


def _free_name(stem: str, class_name: str, taken: set[str]) -> str:
    """Return a file name that any system takes and no other explanation has, whatever it makes of capitals."""
    stem, class_name = (re.sub(r"[^\w.() -]", "_", text, flags=re.ASCII) for text in (stem, class_name))
    name = f"{stem[:_LONGEST_NAME]}-{class_name[: 230 - _LONGEST_NAME]}"
    number, free = 1, name
    while free.casefold() in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free.casefold())
    return f"{free}.png"
