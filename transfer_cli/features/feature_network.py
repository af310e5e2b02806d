"""The network that computes the features of images, without a classifier: that of a run, or a pretrained backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import runtimes
from transfer_cli.data.views import View
from transfer_cli.errors import ModelError
from transfer_cli.inference import runtimes as installed
from transfer_cli.inference.compiled_network import PARITY_IMAGES, CompiledNetwork
from transfer_cli.inference.network_sources import backbone_source
from transfer_cli.io.cache import Cache
from transfer_cli.models.weights.network_file import NetworkFile
from transfer_cli.models.weights.registry import feature_files, require_available
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.completed_run import FinishedRun


class FeatureNetwork:
    """A network from images to features.

    Attributes
    ----------
    views : tuple of View
        The input size and resize method that it needs.
    width : int
        Number of values per feature vector.
    """

    def __init__(self, view: View, network: CompiledNetwork) -> None:
        self.views, self.width, self._network = (view,), network.width, network

    @classmethod
    def of_recipe(
        cls,
        recipe: ExtractRecipe,
        *,
        images: int = 0,
        offline: bool = False,
        cache: Cache | None = None,
        progress: Progress = SILENT,
    ) -> FeatureNetwork:
        """Return the pretrained backbone of a recipe.

        Parameters
        ----------
        recipe : ExtractRecipe
        images : int
            Number of images to run, which decides whether a conversion is worth its time.
        offline : bool
            Never open an internet connection.
        cache : Cache, optional
            Where converted graphs are stored; the user's cache by default.
        progress : Progress

        Raises
        ------
        WeightsError
            If pretrained weights are missing and cannot be downloaded.
        """
        recipe = recipe.resolved()
        if recipe.backbone.is_file:
            digest = NetworkFile.read(Path(recipe.backbone.name)).sha256
            recipe = recipe.with_settings("backbone", sha256=digest)
        spec, choice = recipe.backbone.spec, recipe.backbone
        if choice.weights == "imagenet":
            files = feature_files(spec, choice.layer, size=recipe.image_size)
            require_available(files, offline=offline, size=recipe.image_size)
        runtime = installed.resolve(
            recipe.inference.runtime, images=images, keeps_model=False, parameters=spec.parameters
        )
        recipe = recipe.with_settings("inference", runtime=runtime)
        source = backbone_source(recipe, offline=offline, progress=progress)
        return cls(recipe.view, CompiledNetwork.build(source, recipe.inference, cache or Cache.of_user(), progress))

    @classmethod
    def of_run(
        cls,
        run: FinishedRun,
        *,
        runtime: str = runtimes.AUTO,
        offline: bool = False,
        cache: Cache | None = None,
        progress: Progress = SILENT,
    ) -> FeatureNetwork:
        """Return the network of a run of ``extract --classifier none``, on the runtime of the run by default.

        Raises
        ------
        RecipeError
            If the recipe of the run cannot be read.
        ModelError
            If its network is a file that has changed.
        WeightsError
            If pretrained weights are missing and cannot be downloaded.
        """
        recipe = ExtractRecipe.load(run.directory.recipe)
        choice = recipe.backbone
        if choice.is_file and NetworkFile.read(Path(choice.name)).sha256 != choice.sha256:
            raise ModelError(
                f"{choice.name} is another file than the one that computed the features of {run.directory.path}.",
                hint="Restore the file, or run the command of the run again with --overwrite.",
            )
        if runtime != runtimes.AUTO:
            recipe = recipe.with_settings("inference", runtime=runtime)
        return cls.of_recipe(recipe, offline=offline, cache=cache, progress=progress)

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of images, float32 of shape (n, width).

        Parameters
        ----------
        images : ndarray of shape (n, size, size, 3), uint8
            RGB, decoded by `views`.
        """
        if not self._network.is_checked:
            self._network.check(images[:PARITY_IMAGES])
        return np.asarray(self._network(images), np.float32)
