"""Where a backbone's weights are, and whether they can be had, without importing Keras."""

from __future__ import annotations

import functools
import os
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.backbones import (
    CLASS_INDEX,
    EMBEDDED,
    IMAGENET,
    RANDOM,
    BackboneSpec,
    WeightsFile,
    find,
    names,
)
from transfer_cli.errors import WeightsError, nearest

PREFLIGHT_SECONDS = 8.0
_SILENCE = f"no answer within {PREFLIGHT_SECONDS:.0f} seconds"
STALL_SECONDS = 10.0
"""A download from which nothing arrives for so long is given up."""


@dataclass(frozen=True)
class Use:
    """What a file of weights is for: the network of a row, with or without its top, at a size."""

    spec: BackboneSpec
    top: bool
    size: int

    @property
    def words(self) -> str:
        """What is typed after ``weights fetch`` to have the file."""
        size = f" --size {self.size}" if self.spec.rows and self.size != self.spec.size else ""
        return f"{self.spec.name}{' --top' if self.top else ''}{size}"

    @property
    def numbers(self) -> int:
        """How many numbers the file holds: the parameters of the network."""
        return self.spec.parameters if self.top else self.spec.parameters_below_top


def cache_folder() -> Path:
    """Return the folder in which Keras looks for weights before any download."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def imagenet_files(spec: BackboneSpec, *, top: bool, size: int) -> list[WeightsFile]:
    """Return the files that ``weights="imagenet"`` needs; with the top, the class names too.

    Raises
    ------
    WeightsError
        When it is a network that has none.
    """
    files = [spec.weights_file(top=top, size=size)]
    return [*files, CLASS_INDEX] if top else files


def files_of(spec: BackboneSpec, *, top: bool, size: int | None = None) -> list[WeightsFile]:
    """Return the files that training on a backbone needs, and with `top` those that its own 1000 classes need, too."""
    size = size or spec.size
    files = imagenet_files(spec, top=False, size=size)
    return [*files, *imagenet_files(spec, top=True, size=size)] if top else files


@functools.cache
def uses() -> Mapping[str, tuple[WeightsFile, Use]]:
    """Return every file of pretrained weights and what it is for, by its name in Keras's cache."""
    return {
        file.name: (file, Use(spec, top, size))
        for spec in map(find, names())
        if spec.has_imagenet
        for size in spec.rows or (spec.size,)
        for top in (False, True)
        for file in (spec.weights_file(top=top, size=size),)
    }


def embedded_file(spec: BackboneSpec) -> Path:
    """Return the file of weights that comes with this package.

    Raises
    ------
    WeightsError
        When none comes for this network, or the file is missing.
    """
    if not spec.embedded:
        own = ", ".join(name for name in names() if find(name).embedded)
        raise WeightsError(
            f"No weights for {spec.name} come with this program. Expected imagenet, none or the path of a file.",
            hint=f"The network that has some: --backbone {own}",
        )
    path = _own(spec)
    if not path.is_file():
        raise WeightsError(f"The program's own file {path} is missing.", hint="Install transfer-cli again.")
    return path


def is_here(file: WeightsFile) -> bool:
    """Return whether a file is in Keras's cache."""
    return (cache_folder() / file.name).is_file()


def needs_no_network(spec: BackboneSpec) -> bool:
    """Return whether the weights that a backbone begins with are on this machine."""
    if spec.embedded:
        return _own(spec).is_file()
    return spec.has_imagenet and is_here(spec.weights_file(top=False, size=spec.size))


def must_be_had(files: list[WeightsFile], *, offline: bool) -> list[WeightsFile]:
    """Return the files that are still to be downloaded, having asked for each whether it can be.

    A network that drops packets would hold a command for ever; here each file's server has `PREFLIGHT_SECONDS` for a
    first answer.

    Raises
    ------
    WeightsError
        When a file is not here and `offline` is true, or no server answers for it.
    """
    missing = [file for file in files if not is_here(file)]
    must_answer(missing, offline=offline)
    return missing


def must_answer(files: list[WeightsFile], *, offline: bool) -> None:
    """Raise WeightsError unless a server answers for every file."""
    for file in files:
        reason = "--offline was given" if offline else _unreachable(file.url)
        if reason:
            raise cannot_be_had(file, reason)


def cannot_be_had(file: WeightsFile, reason: str) -> WeightsError:
    """Return the error that says which file is wanted, where, and how to bring it."""
    return WeightsError(
        f"The weights {file.name} are not on this machine and could not be downloaded: {reason}. "
        f"Expected the file at {cache_folder() / file.name}.",
        hint=f"{_how_to_bring(file)} Then give the same command again.{_here()}",
    )


def is_not_here(files: Sequence[WeightsFile]) -> WeightsError:
    """Return the error about files of weights that were looked for, and how to bring them."""
    listed = ", ".join(file.name for file in files)
    return WeightsError(f"Not in {cache_folder()}: {listed}.", hint=_how_to_bring(*files))


def is_damaged(file: WeightsFile, reason: str) -> WeightsError:
    """Return the error about a file in Keras's cache that is not what it should be, and how to get a good one."""
    words = fetch_words(file)
    return WeightsError(
        f"The weights in {cache_folder() / file.name} are damaged: {reason}.",
        hint=f"See what is: transfer-cli weights verify\n"
        f"Download it anew: transfer-cli weights fetch {words}\n"
        f"or, without a network, on a machine that has one: transfer-cli weights pack {words} -o weights.tar\n"
        "and here: transfer-cli weights install weights.tar --overwrite\n"
        "A file that you made yourself is taken with --weights FILE.",
    )


def several_damaged(files: Sequence[WeightsFile]) -> WeightsError:
    """Return the error that names all damaged files of Keras's cache at once."""
    commands = "\n".join(dict.fromkeys(f"transfer-cli weights fetch {fetch_words(file)}" for file in files))
    return WeightsError(
        f"Damaged in {cache_folder()}: {', '.join(file.name for file in files)}.",
        hint=f"Download them anew:\n{commands}\n"
        "or, without a network, take a kit of them (weights pack) from another machine: "
        "transfer-cli weights install weights.tar --overwrite",
    )


def fetch_words(file: WeightsFile) -> str:
    """Return what is typed after ``weights fetch`` to have a file."""
    return uses()[file.name][1].words if file.name in uses() else "NAME --top"


def must_be_known(weights: str) -> None:
    """Raise WeightsError unless `weights` is imagenet, embedded, none or a file that is there."""
    words = (IMAGENET, EMBEDDED, RANDOM)
    if weights in words or Path(weights).is_file():
        return
    near = nearest(weights, words)
    guess = f" Did you mean {near}?" if near else ""
    raise WeightsError(f"There is no file of weights {weights}.{guess} Expected imagenet, none or the path of a file.")


def _how_to_bring(*files: WeightsFile) -> str:
    words = " ".join(fetch_words(file) for file in files)
    copy = f"\n(or copy {files[0].url} to {cache_folder()}, or to the folder models of another KERAS_HOME)."
    return (
        f"With a network: transfer-cli weights fetch {words}\n"
        f"Without one, on a machine that has one: transfer-cli weights pack {words} -o weights.tar\n"
        f"and here: transfer-cli weights install weights.tar{copy if len(files) == 1 else ''}"
    )


def _own(spec: BackboneSpec) -> Path:
    return Path(__file__).parent / "embedded_data" / spec.embedded


def _here() -> str:
    here = [spec.name for spec in map(find, names()) if needs_no_network(spec)]
    return f" Weights that are here: {', '.join(here)} (--backbone NAME)." if here else ""


def _unreachable(url: str) -> str | None:
    """Return why `url` does not answer, or None if it does."""
    answer: list[str | None] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=PREFLIGHT_SECONDS):
                answer.append(None)
        except Exception as error:  # a proxy may answer with anything
            reason = getattr(error, "reason", None) or error
            answer.append(_SILENCE if isinstance(reason, TimeoutError) else f"{reason}")

    # A name server that drops packets holds getaddrinfo, which no socket timeout ends; a thread can be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PREFLIGHT_SECONDS + 1)
    return answer[0] if answer else _SILENCE
