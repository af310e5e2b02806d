"""Find weights files: in the Keras cache, in the package, or on a server. Does not import Keras."""

from __future__ import annotations

import functools
import os
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog import backbones
from transfer_cli.catalog.backbones import CLASS_INDEX, BackboneSpec, WeightsFile
from transfer_cli.errors import WeightsError, nearest

PREFLIGHT_SECONDS = 8.0
_SILENCE = f"no answer within {PREFLIGHT_SECONDS:.0f} seconds"
STALL_SECONDS = 10.0
"""A download is aborted after this time without data."""


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
    def numbers(self) -> int:
        """Number of parameters in the file."""
        return self.spec.parameters if self.top else self.spec.parameters_below_top


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


def require_available(files: list[WeightsFile], *, offline: bool) -> list[WeightsFile]:
    """Return the files that have to be downloaded, after checking that their servers answer.

    Each server has `PREFLIGHT_SECONDS` for a first answer, since a connection that drops packets would block for ever.

    Raises
    ------
    WeightsError
        If a file is missing and `offline` is true, or its server does not answer.
    """
    missing = [file for file in files if not is_installed(file)]
    require_connection(missing, offline=offline)
    return missing


def require_connection(files: list[WeightsFile], *, offline: bool) -> None:
    """Raise WeightsError unless the server of every file answers."""
    for file in files:
        reason = "--offline was given" if offline else _unreachable(file.url)
        if reason:
            raise unavailable_error(file, reason)


def unavailable_error(file: WeightsFile, reason: str) -> WeightsError:
    """Return the error for a file that cannot be downloaded: its name, its place, and how to get it."""
    installed = [spec.name for spec in map(backbones.find, backbones.names()) if has_local_weights(spec)]
    others = f" Installed weights: {', '.join(installed)} (--backbone NAME)." if installed else ""
    return WeightsError(
        f"The weights {file.name} are not on this machine and cannot be downloaded: {reason}. "
        f"Expected: {cache_folder() / file.name}.",
        hint=f"{_how_to_get(file)} Then run the same command again.{others}",
    )


def missing_error(files: Sequence[WeightsFile]) -> WeightsError:
    """Return the error for missing weights files, and how to get them."""
    listed = ", ".join(file.name for file in files)
    return WeightsError(f"Missing in {cache_folder()}: {listed}.", hint=_how_to_get(*files))


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
    near = nearest(weights, names)
    guess = f" Did you mean {near}?" if near else ""
    raise WeightsError(
        f"There is no weights file or run {weights}.{guess} Expected imagenet, none or the path of a file or run."
    )


def _how_to_get(*files: WeightsFile) -> str:
    arguments = " ".join(fetch_arguments(file) for file in files)
    copy = f"\n(or copy {files[0].url} to {cache_folder()})."
    return (
        f"Download: transfer-cli weights fetch {arguments}\n"
        f"Offline: on a machine with an internet connection, transfer-cli weights pack {arguments} -o weights.tar\n"
        f"and on this one, transfer-cli weights install weights.tar{copy if len(files) == 1 else ''}"
    )


def _embedded_path(spec: BackboneSpec) -> Path:
    return Path(__file__).parent / "embedded_data" / spec.embedded


def _unreachable(url: str) -> str | None:
    """Return why `url` cannot be reached, or None."""
    answer: list[str | None] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=PREFLIGHT_SECONDS):
                answer.append(None)
        except Exception as error:  # a proxy may answer with anything
            reason = getattr(error, "reason", None) or error
            answer.append(_SILENCE if isinstance(reason, TimeoutError) else f"{reason}")

    # No socket timeout ends getaddrinfo if a name server drops packets; a daemon thread can be abandoned.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PREFLIGHT_SECONDS + 1)
    return answer[0] if answer else _SILENCE
