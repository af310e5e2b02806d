"""Preview of the augmented images of a recipe, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from transfer_cli.data.image_batches import view_batches
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.errors import FolderError
from transfer_cli.quiet_imports import import_tensorflow
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.training.loop import plots


def preview(folder: ImageFolder, recipe: FinetuneRecipe, target: Path) -> int:
    """Draw the augmented images of a recipe, and return the number of rows.

    Parameters
    ----------
    folder : ImageFolder
        The first readable image of each class is drawn, for up to eight classes.
    recipe : FinetuneRecipe
    target : Path
        The PNG file to write. Each column is an epoch, and shows what a training by this recipe sees in it. Where
        images are mixed (MixUp), a training mixes any two, the preview only those that it shows.
    """
    recipe = recipe.resolved(folder.task)
    import_tensorflow()

    from transfer_cli.training.augmentation.augmented_images import AugmentedImages

    rows: list[tuple[int, str]] = []
    images, indices = [], []
    for name in folder.class_names[: plots.PREVIEW_ROWS]:
        members = [index for index, file in enumerate(folder.files) if name in file.labels]
        paths = (folder.files[index].path for index in members)
        decoded = view_batches(paths, [recipe.view], batch_size=1, root=folder.root)
        if first := next((batch for batch in decoded if batch.indices), None):
            rows.append((len(rows), name))
            images.append(first.images[0])
            indices.append(members[first.indices[0]])
    if not rows:
        raise FolderError(f"No image of {folder.source} could be read.")
    numbers, whole = np.arange(len(rows)), np.stack(images)
    augmented = AugmentedImages(recipe.augmentation, recipe.seed, whole, np.array(indices), numbers, numbers, len(rows))
    plots.draw_preview(rows, whole, augmented, target)
    return len(rows)
