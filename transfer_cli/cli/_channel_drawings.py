"""What ``transfer-cli inspect`` draws of channels and classes: --maximise, --strongest and --templates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._summaries import note_left_out, warn_skipped
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED
from transfer_cli.text import counted

if TYPE_CHECKING:
    from transfer_cli.explain.channels import Channels
    from transfer_cli.explain.source_network import SourceNetwork

Labelled = list[tuple[str, tuple[str, ...]]]


def maximise_channels(
    console: Console, source: SourceNetwork, channels: Channels, target: Path, options: Mapping[str, Any]
) -> int:
    """Draw the images that excite channels most."""
    from transfer_cli.explain.channel_drawings import draw_maximised
    from transfer_cli.explain.maximise import maximise

    found = maximise(source.network, channels, size=source.view.size, seed=options["seed"], progress=console)
    draw_maximised(found, target)
    console.note(
        f"{counted(len(found.numbers), 'channel')} of {channels.layer}, each with the image that excites it most"
    )
    console.warn(*found.doubts(channels.layer))
    rows = zip(found.numbers, found.activations.tolist(), found.noise.tolist(), strict=True)
    data = [{"channel": number, "activation": value, "noise": noise} for number, value, noise in rows]
    console.output(target, layer=channels.layer, channels=data)
    return DONE


def strongest_images(
    console: Console, source: SourceNetwork, channels: Channels, target: Path, images: tuple[list[str], Path | None]
) -> int:
    """Draw the images of a folder, or of the training, that excite channels most."""
    from transfer_cli.explain.channel_drawings import draw_strongest
    from transfer_cli.explain.strongest import strongest

    paths, root = images
    found = strongest(source, channels, paths, root=root, progress=console)
    draw_strongest(found, target)
    chosen = counted(len(found.numbers), "channel")
    console.note(
        f"{chosen} of {channels.layer}, each with those of {counted(found.images, 'image')} that excite it most"
    )
    rows = [
        {"channel": number, "images": [{"path": each.path, "activation": each.activation} for each in row]}
        for number, row in zip(found.numbers, found.rows, strict=True)
    ]
    return _end(console, target, found.skipped, layer=channels.layer, channels=rows)


def draw_class_templates(console: Console, model: str, folder: str | None, target: Path) -> int:
    """Draw the mean image of each class, and the weights of a model that is linear on pixels."""
    from transfer_cli.bundle.bundle import ModelBundle
    from transfer_cli.catalog import backbones
    from transfer_cli.data.views import View
    from transfer_cli.explain.channel_drawings import draw_templates
    from transfer_cli.explain.templates import class_means, pixel_weights
    from transfer_cli.inference.models import IMAGENET

    opened = None if model.startswith(IMAGENET) else ModelBundle.open(Path(model))
    view = opened.views[0] if opened else View(backbones.find(model.removeprefix(IMAGENET)).size, "crop")
    files, root = _labelled_images(model, folder)
    means = class_means(files, view, root=root, progress=console)
    weights = pixel_weights(opened) if opened else None
    draw_templates(means, target, weights, opened.bundle.class_names if opened and weights is not None else ())
    added = ", and the weights of the model for each" if weights is not None else ""
    console.note(f"the mean image of {counted(len(means.class_names), 'class')}{added}")
    counts = dict(zip(means.class_names, means.counts, strict=True))
    return _end(console, target, means.skipped, images_of_class=counts, weights=weights is not None)


def training_or_named_images(console: Console, model: str, folder: str | None) -> tuple[list[str], Path | None]:
    """Return the images of a folder or file, or else the training images of the run, and what they are relative to."""
    from transfer_cli.io.discovery import expand_paths, require_paths

    if folder is None:
        files, root = _training_images(model)
        return [path for path, _ in files], root
    left_out: Counter[str] = Counter()
    paths = [*require_paths(expand_paths([folder], left_out), left_out)]
    note_left_out(console, left_out)
    return paths, None


def _labelled_images(model: str, folder: str | None) -> tuple[Labelled, Path]:
    from transfer_cli.data.image_folder import ImageFolder

    if folder is None:
        return _training_images(model)
    images = ImageFolder.scan(folder, for_training=False)
    return [(file.path, file.labels) for file in images.files], images.root


def _training_images(model: str) -> tuple[Labelled, Path]:
    from transfer_cli.inference.models import IMAGENET
    from transfer_cli.runs.completed_run import FinishedRun
    from transfer_cli.runs.run_of_model import run_of_model

    run = None if model.startswith(IMAGENET) else run_of_model(model)
    if run is None:
        raise click.UsageError(
            f"The training images of {model} are not known: it is not in a run. Name a folder of images after it."
        )
    finished = FinishedRun.read(run.path)
    return [(row.path, row.labels) for row in finished.split.rows if row.part == "train"], finished.root


def _end(console: Console, target: Path, skipped: tuple[Skipped, ...], **data: Any) -> int:
    warn_skipped(console, skipped)
    console.output(target, **data, skipped=[*map(vars, skipped)])
    return DONE_WITH_SKIPPED if skipped else DONE
