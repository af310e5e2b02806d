"""Find weights files: in the Keras cache, in the package, or on a server. Does not import Keras."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog import backbones
from transfer_cli.catalog.backbones import CLASS_INDEX, BackboneSpec, WeightsFile
from transfer_cli.errors import WeightsError, nearest
from transfer_cli.models.weights import connection, missing_weights

_CLASS_INDEX_BYTES = 35_363


@dataclass(frozen=True)
class Use:
    """The network that a weights file belongs to: catalog row, with or without the head, input size."""

    spec: BackboneSpec
    top: bool
    size: int

    @property
    def arguments(self) -> str:
        """The arguments of ``weights fetch`` that download the file."""
        size = f" --size {self.size}" if self.spec.weight_sizes and self.size != self.spec.size else ""
        return f"{self.spec.name}{' --top' if self.top else ''}{size}"

    @property
    def file(self) -> WeightsFile:
        """The file."""
        return self.spec.weights_file(top=self.top, size=self.size)

    @property
    def numbers(self) -> int:
        """Number of parameters in the file."""
        return self.spec.parameters if self.top else self.spec.parameters_below_top

    @property
    def bytes(self) -> int:
        """Size of the parameters, which take nearly the whole file."""
        return 4 * self.numbers


def cache_folder() -> Path:
    """Return the Keras cache, the folder where Keras looks for weights before it downloads them."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def imagenet_files(spec: BackboneSpec, *, top: bool, size: int) -> list[WeightsFile]:
    """Return the files that ``weights="imagenet"`` needs; with the head, also the class names.

    Raises
    ------
    WeightsError
        If the network has no ImageNet weights.
    """
    files = [spec.weights_file(top=top, size=size)]
    return [*files, CLASS_INDEX] if top else files


def feature_files(spec: BackboneSpec, layer: str | None, *, size: int) -> list[WeightsFile]:
    """Return the files that ``weights="imagenet"`` needs for the features of a layer.

    Raises
    ------
    WeightsError
        If the network has no ImageNet weights.
    """
    return [spec.weights_file(top=spec.needs_top(layer, backbones.IMAGENET, size), size=size)]


def files_of(spec: BackboneSpec, *, top: bool, size: int | None = None) -> list[WeightsFile]:
    """Return the files that training needs; with `top`, also those of the full ImageNet classifier."""
    size = size or spec.size
    files = imagenet_files(spec, top=False, size=size)
    return [*files, *imagenet_files(spec, top=True, size=size)] if top else files


@functools.cache
def weight_uses() -> Mapping[str, tuple[WeightsFile, Use]]:
    """Return all known weights files and their networks, by file name in the Keras cache."""
    return {
        file.name: (file, Use(spec, top, size))
        for spec in map(backbones.find, backbones.names())
        if spec.has_imagenet
        for size in spec.weight_sizes or (spec.size,)
        for top in (False, True)
        for file in (spec.weights_file(top=top, size=size),)
    }


def embedded_file(spec: BackboneSpec) -> Path:
    """Return the weights file that is shipped with the package.

    Raises
    ------
    WeightsError
        If there is none for this network, or the file is missing.
    """
    if not spec.embedded:
        own = ", ".join(name for name in backbones.names() if backbones.find(name).embedded)
        raise WeightsError(
            f"transfer-cli ships no weights for {spec.name}. Expected imagenet, none or the path of a weights file.",
            hint=f"Weights are shipped for: --backbone {own}",
        )
    path = _embedded_path(spec)
    if not path.is_file():
        raise WeightsError(f"{path}, which is part of transfer-cli, is missing.", hint="Install transfer-cli again.")
    return path


def is_installed(file: WeightsFile) -> bool:
    """Return whether a file is in the Keras cache."""
    return (cache_folder() / file.name).is_file()


def has_local_weights(spec: BackboneSpec) -> bool:
    """Return whether the default weights of a backbone are on this machine."""
    if spec.embedded:
        return _embedded_path(spec).is_file()
    return spec.has_imagenet and is_installed(spec.weights_file(top=False, size=spec.size))


def require_available(files: list[WeightsFile], *, offline: bool, size: int | None = None) -> list[WeightsFile]:
    """Return the files that have to be downloaded, after checking that their servers answer.

    `size` is the side of the images in pixels, if it is not that of the network: other networks must fit it as well.

    Raises
    ------
    WeightsError
        If a file is missing and `offline` is true, or its server does not answer.
    """
    missing = [file for file in files if not is_installed(file)]
    require_connection(missing, files, offline=offline, size=size)
    return missing


def require_connection(
    wanted: Sequence[WeightsFile], files: Sequence[WeightsFile], *, offline: bool, size: int | None = None
) -> None:
    """Raise WeightsError unless the servers of the wanted ones of some files answer."""
    for file in wanted:
        if reason := missing_weights.OFFLINE if offline else connection.unreachable(file.url):
            raise unavailable_error(files, reason, size=size)


def unavailable_error(
    files: Sequence[WeightsFile], reason: str | None, *, size: int | None = None, option: str = "--backbone"
) -> WeightsError:
    """Return the error for files that cannot be downloaded: what is missing, and how to go on.

    Parameters
    ----------
    files : sequence of WeightsFile
        Those that are needed; some of them may be here.
    reason : str or None
        Why they cannot be downloaded; None if that was not tried.
    size : int, optional
        Side of the images in pixels, if it is not that of the network.
    option : str
        Option of the command that names a backbone.
    """
    missing = [file for file in files if not is_installed(file)] or list(files)
    known = [weight_uses()[file.name][1] for file in files if file.name in weight_uses()]
    absent = [use for use in known if use.file in missing] or known
    # With the head, fetch downloads both files of a network.
    last = {use.spec.name: use for use in absent}
    fetched = dict.fromkeys(file for use in last.values() for file in files_of(use.spec, top=use.top, size=use.size))
    one = absent[0] if len(last) == 1 else None
    size = size or (one.size if one else None)
    classifies = CLASS_INDEX in files
    return missing_weights.MissingWeights(
        networks=tuple(last),
        files=tuple(missing),
        kind=_kind(missing),
        bytes=sum(map(_bytes, missing)),
        fetch_bytes=sum(_bytes(file) for file in fetched if file in missing or not is_installed(file)),
        arguments=" ".join(use.arguments for use in last.values()) or "NAME --top",
        sizes=_installed_sizes(one) if one and not classifies else (),
        instead=_installed_networks(
            None if one and size == one.spec.size else size, classifies=classifies, without={*last}
        ),
        classifies=classifies,
        option=option,
        folder=cache_folder(),
    ).error(reason)


def missing_error(
    files: Sequence[WeightsFile], reason: str | None = None, *, option: str = "--backbone"
) -> WeightsError:
    """Return the error for missing weights files, and how to get them."""
    return unavailable_error(files, reason, option=option)


def damaged_error(file: WeightsFile, reason: str) -> WeightsError:
    """Return the error for a damaged file in the Keras cache, and how to replace it."""
    arguments = fetch_arguments(file)
    return WeightsError(
        f"The weights in {cache_folder() / file.name} are damaged: {reason}.",
        hint=f"Download them again: transfer-cli weights fetch {arguments}\n"
        f"Offline: on a machine with an internet connection, transfer-cli weights pack {arguments} -o weights.tar\n"
        "and on this one, transfer-cli weights install weights.tar --overwrite\n"
        "Check all files: transfer-cli weights verify. To use a file of your own: --weights FILE.",
    )


def damaged_files_error(files: Sequence[WeightsFile]) -> WeightsError:
    """Return the error that lists all damaged files of the Keras cache."""
    commands = "\n".join(dict.fromkeys(f"transfer-cli weights fetch {fetch_arguments(file)}" for file in files))
    return WeightsError(
        f"Damaged in {cache_folder()}: {', '.join(file.name for file in files)}.",
        hint=f"Download them again:\n{commands}\n"
        "Offline: copy a kit (weights pack) from another machine, then "
        "transfer-cli weights install weights.tar --overwrite",
    )


def fetch_arguments(file: WeightsFile) -> str:
    """Return the arguments of ``weights fetch`` that download a file."""
    return weight_uses()[file.name][1].arguments if file.name in weight_uses() else "NAME --top"


def require_weights_file(weights: str) -> None:
    """Raise WeightsError unless `weights` is imagenet, embedded, none, or an existing file or folder (a run)."""
    names = (backbones.IMAGENET, backbones.EMBEDDED, backbones.RANDOM)
    if weights in (*names, backbones.IN_FILE) or Path(weights).exists():
        return
    if Path(weights).is_dir():
        raise WeightsError(f"{weights} is a folder. Expected imagenet, none or the path of a weights file.")
    near = nearest(weights, names)
    guess = f" Did you mean {near}?" if near else ""
    raise WeightsError(
        f"There is no weights file or run {weights}.{guess} Expected imagenet, none or the path of a file or run."
    )


def _kind(missing: Sequence[WeightsFile]) -> str:
    """Return what the missing files hold."""
    weights = [weight_uses()[file.name][1] for file in missing if file.name in weight_uses()]
    sizes = sorted({use.size for use in weights if use.spec.weight_sizes and use.size != use.spec.size})
    parts = [
        "ImageNet weights" if weights else "",
        f"for size {sizes[0]}" if sizes else "",
        "with the classification layers" if any(use.top for use in weights) else "",
        "and" if weights and CLASS_INDEX in missing else "",
        "names of the 1000 ImageNet classes" if CLASS_INDEX in missing else "",
    ]
    return " ".join(filter(None, parts))


def _bytes(file: WeightsFile) -> int:
    """Return the size of a file: that of its parameters in float32; 0 if it is not in the catalog."""
    if file == CLASS_INDEX:
        return _CLASS_INDEX_BYTES
    return weight_uses()[file.name][1].bytes if file.name in weight_uses() else 0


def _installed_sizes(use: Use) -> tuple[int, ...]:
    """Return the sizes for which the weights of the same network are here."""
    files = {size: use.spec.weights_file(top=use.top, size=size) for size in use.spec.weight_sizes}
    return tuple(size for size, file in files.items() if size != use.size and is_installed(file))


def _installed_networks(size: int | None, *, classifies: bool, without: Collection[str]) -> tuple[str, ...]:
    """Return the networks whose ImageNet weights are here, at their own size, or at `size` if that is given."""
    found = []
    for spec in map(backbones.find, backbones.names()):
        if not spec.has_imagenet or spec.name in without or spec.min_size > (size or spec.size):
            continue
        files = imagenet_files(spec, top=classifies, size=spec.size if classifies else size or spec.size)
        if all(map(is_installed, files)):
            found.append(spec.name)
    return tuple(found)


def _embedded_path(spec: BackboneSpec) -> Path:
    return Path(__file__).parent / "embedded_data" / spec.embedded
