"""What the network will see, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from transfer_cli.data.decoding import batches
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.errors import FolderError
from transfer_cli.quiet_imports import start_tensorflow
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.training.loop import plots


def preview(folder: ImageFolder, recipe: FinetuneRecipe, target: Path) -> int:
    """Draw pictures of a folder as a recipe augments them; return how many there are.

    Parameters
    ----------
    folder : ImageFolder
        The first picture of each class that can be read is drawn, of eight classes at most.
    recipe : FinetuneRecipe
    target : Path
        A PNG file. What it shows of a picture in an epoch is what a training by that recipe is given; where pictures
        are mixed, a training mixes them with any other, the preview with those that it shows.
    """
    recipe = recipe.resolved(folder.task)
    start_tensorflow()

    from transfer_cli.training.augmentation.augmented_images import AugmentedImages

    seen: list[plots.Seen] = []
    images, indices = [], []
    for name in folder.class_names[: plots.PREVIEW_ROWS]:
        members = [index for index, file in enumerate(folder.files) if name in file.labels]
        found = batches(
            (folder.files[index].path for index in members),
            size=recipe.image_size,
            resize=recipe.images.resize,
            batch_size=1,
            root=folder.root,
        )
        first = next((batch for batch in found if batch.indices), None)
        if first is not None:
            seen.append(plots.Seen(len(seen), name))
            images.append(first.images[0])
            indices.append(members[first.indices[0]])
    if not seen:
        raise FolderError(f"No picture of {folder.source} could be read.")
    rows = np.arange(len(seen))
    whole = np.stack(images)
    shown = AugmentedImages(recipe.augmentation, recipe.seed, whole, np.array(indices), rows, rows, len(seen))
    plots.preview(seen, whole, shown, target)
    return len(seen)
