"""A model with a saliency method: computes the saliency maps of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transfer_cli.arguments import StrPath, as_text, type_of
from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.catalog import backbones, explainers, runtimes
from transfer_cli.catalog.explainers import ExplainerSpec, Maps
from transfer_cli.errors import InputError
from transfer_cli.explain.multi_view import ViewedImage, normalize_maps
from transfer_cli.explain.occlusion import occlusion_map
from transfer_cli.inference.load import has_gradient, load
from transfer_cli.inference.models import IMAGENET, AbstractModel
from transfer_cli.io.cache import Cache
from transfer_cli.progress import SILENT, Progress
from transfer_cli.quiet_imports import import_tensorflow
from transfer_cli.text import shell_command

if TYPE_CHECKING:
    from transfer_cli.explain.ensemble_maps import MemberGradients
    from transfer_cli.explain.grad_cam import Gradients

Images = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
"""Images of shape (n, size, size, 3); or the same images in each of several views."""
_PREDICTIONS_PER_IMAGE = 300
"""About the number of predictions per explained image, from which `load` selects the runtime."""


@dataclass(frozen=True)
class Explainable:
    """A model and a saliency method.

    Attributes
    ----------
    model : AbstractModel
    method : ExplainerSpec
    gradients : Gradients or None
        Of a single network, if the method needs gradients.
    members : tuple of MemberGradients
        Of an ensemble, if the method needs gradients.
    """

    model: AbstractModel
    method: ExplainerSpec
    gradients: Gradients | None = None
    members: tuple[MemberGradients, ...] = ()

    @classmethod
    def open(
        cls,
        source: StrPath,
        *,
        method: str | None = None,
        layer: str | None = None,
        runtime: str = runtimes.AUTO,
        offline: bool = False,
        cache: Cache | None = None,
        progress: Progress = SILENT,
    ) -> Explainable:
        """Load a model to explain.

        Parameters
        ----------
        source : str or os.PathLike
            A run, a bundle or ``imagenet:NAME``.
        method : str, optional
            A name of catalog.explainers; Grad-CAM by default, or occlusion if the model is not differentiable.
        layer : str, optional
            Layer that Grad-CAM uses; the last feature map by default.
        runtime : str
            For predictions; gradients are computed by Keras.
        offline : bool
        cache : Cache, optional
        progress : Progress

        Raises
        ------
        ModelError
            If the model is missing or damaged, or not differentiable and the method needs gradients.
        UnknownNameError
            If there is no such method, layer or backbone.
        WeightsError
            If the weights of ``imagenet:NAME`` are missing and cannot be downloaded.
        """
        source = as_text(source, "a run, a bundle or imagenet:NAME")
        opened = None if source.startswith(IMAGENET) else ModelBundle.open(Path(source))
        spec = explainers.find(method) if method else _default_method(opened, layer, progress)
        _check_layer(opened, spec, layer)
        gradients: Gradients | None = None
        members: tuple[MemberGradients, ...] = ()
        # Before the model is loaded, so that a model that cannot be explained fails early.
        if spec.needs_gradient and opened is not None and opened.members:
            members = _open_members(opened, progress)
        elif spec.needs_gradient:
            gradients = _open_gradients(opened, source, layer, offline, progress)
        model = load(
            source, runtime=runtime, images=_PREDICTIONS_PER_IMAGE, offline=offline, cache=cache, progress=progress
        )
        return cls(model, spec, gradients, members)

    def maps(self, images: Images, columns: NDArray[np.int64], aspect_ratios: Sequence[float] | None = None) -> Maps:
        """Return the saliency maps of images for some classes.

        Parameters
        ----------
        images : ndarray of shape (n, size, size, 3), uint8, or a sequence of them
            One array per view of the model; an ensemble may have several views.
        columns : ndarray of shape (n, m), int
            The classes to explain, per image.
        aspect_ratios : sequence of n float, optional
            Width divided by height of each original image; required if only some of the views crop.

        Returns
        -------
        ndarray of shape (n, m, h, w), float32
            The maximum of each map is 1, or 0 if nothing supports the class. In the first view.
        """
        viewed = self._viewed(images, aspect_ratios)
        if self.gradients is not None:
            inputs = np.stack([image.images[0] for image in viewed])
            maps = self.gradients.maps(inputs, columns, self.method)
        elif self.members:
            from transfer_cli.explain.ensemble_maps import mean_maps

            maps = mean_maps(self.members, viewed, columns, self.method)
        else:
            pairs = zip(viewed, columns, strict=True)
            maps = np.stack([occlusion_map(self.predict, image, classes) for image, classes in pairs])
        return normalize_maps(maps)

    def predict(self, *views: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the model's class probabilities; one argument per view."""
        return self.model.predict_views(views)

    def _viewed(self, images: Images, aspect_ratios: Sequence[float] | None) -> list[ViewedImage]:
        arrays = (images,) if isinstance(images, np.ndarray) else tuple(images)
        views = self.model.views
        for array in arrays:
            if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
                raise TypeError(f"Expected images as uint8 arrays of shape (n, h, w, 3). Received: {type_of(array)}.")
        if [array.shape[1] for array in arrays] != [view.size for view in views]:
            expected = ", ".join(f"{view.size} ({view.resize})" for view in views)
            raise ValueError(f"Expected images of size {expected}. Received: {[array.shape for array in arrays]}.")
        if aspect_ratios is None:
            if len({view.resize for view in views}) > 1:
                raise ValueError("Views that crop differently need the aspect ratios of the images.")
            aspect_ratios = [1.0] * len(arrays[0])
        pairs = zip(zip(*arrays, strict=True), aspect_ratios, strict=True)
        return [ViewedImage(tuple(pixels), views, ratio) for pixels, ratio in pairs]


def explain_images(
    source: StrPath | Explainable,
    images: Images,
    columns: NDArray[np.int64],
    *,
    method: str | None = None,
    aspect_ratios: Sequence[float] | None = None,
) -> Maps:
    """Return the saliency map of one class per image; nothing is written.

    Parameters
    ----------
    source : str, os.PathLike or Explainable
        A run, a bundle or ``imagenet:NAME``; or an opened one.
    images : ndarray of shape (n, size, size, 3), uint8, or a sequence of them
        As decoded by `transfer_cli.data.image_batches.batches`; for an ensemble with several views, its `views`.
    columns : ndarray of shape (n,), int
        The class of each image, as an index of the class names.
    method : str, optional
        ``grad-cam`` or ``occlusion``; not used if `source` is opened.
    aspect_ratios : sequence of n float, optional
        See `Explainable.maps`.

    Returns
    -------
    ndarray of shape (n, h, w), float32
        From 0 to 1.
    """
    if not isinstance(images, np.ndarray | list | tuple):
        raise TypeError(f"Expected images as uint8 arrays of shape (n, h, w, 3). Received: {type_of(images)}.")
    opened = source if isinstance(source, Explainable) else Explainable.open(source, method=method)
    return opened.maps(images, np.asarray(columns, np.int64)[:, None], aspect_ratios)[:, 0]


def _default_method(opened: OpenedBundle | None, layer: str | None, progress: Progress) -> ExplainerSpec:
    """Return Grad-CAM, or occlusion if the model, or a member of the ensemble, is not differentiable."""
    if layer or opened is None or all(has_gradient(bundle) for bundle in opened.leaves()):
        return explainers.find(explainers.GRAD_CAM)
    whose = "the classifier of a member" if opened.members else "the classifier"
    progress.note(f"{whose} has no gradient, which Grad-CAM needs: explained by occlusion")
    return explainers.find(explainers.OCCLUSION)


def _check_layer(opened: OpenedBundle | None, method: ExplainerSpec, layer: str | None) -> None:
    if layer and not method.needs_gradient:
        raise InputError(f"{method.name} does not use a layer. Received: --layer {layer}.", hint="Remove --layer.")
    if layer and opened is not None and opened.members:
        raise InputError(
            f"--layer names a layer of one network, but this is an ensemble of {len(opened.members)} models.",
            hint="Explain a member: transfer-cli explain "
            f"{shell_command(str(opened.members[0].directory))} IMAGES --layer {layer}",
        )


def _open_members(opened: OpenedBundle, progress: Progress) -> tuple[MemberGradients, ...]:
    import_tensorflow()
    from transfer_cli.explain.ensemble_maps import member_gradients, weighting_summary

    members = tuple(member_gradients(opened))
    progress.note(f"mean of the saliency maps of {len(members)} models, {weighting_summary(opened.bundle)}")
    return members


def _open_gradients(
    opened: OpenedBundle | None, source: str, layer: str | None, offline: bool, progress: Progress
) -> Gradients:
    import_tensorflow()
    from transfer_cli.explain.class_logits import bundle_logits, imagenet_logits
    from transfer_cli.explain.grad_cam import Gradients
    from transfer_cli.explain.source_network import imagenet_network

    if opened is None:
        spec = backbones.find(source.removeprefix(IMAGENET))
        network, logit = imagenet_logits(imagenet_network(spec, offline=offline, progress=progress))
    else:
        network, logit = bundle_logits(opened)
    gradients = Gradients.build(network, logit, layer)
    height, width = gradients.shape[:2]
    progress.note(f"Grad-CAM on layer {gradients.layer} ({height} x {width} positions)")
    return gradients
