"""A weights file of the user's own (``--weights FILE``): whether it holds Keras weights, and of which network."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.catalog import backbones
from transfer_cli.catalog.backbones import BackboneSpec
from transfer_cli.errors import WeightsError
from transfer_cli.io.drafts import temporary_folder
from transfer_cli.models.weights import registry
from transfer_cli.text import shell_command

_INNER = "model.weights.h5"
_EXPECTED = "Expected weights that Keras saved (.weights.h5 or .h5)"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_START = 512
_STATE = ("optimizer", "optimizer_weights", "seed_generator", "seed_generator_state")
"""Groups of a file that hold no weights of layers."""
_COUNTERS = 8
"""Numbers of a file that are no parameters in the catalog, such as how many images a Normalization layer has seen."""
_MAX_CLASSES = 5000


@dataclass(frozen=True)
class OwnWeights:
    """The weights in an HDF5 file, or in a ``.keras`` file.

    Attributes
    ----------
    path : Path
    numbers : int
        How many it holds.
    network : str or None
        The network of the catalog that has as many; None if there is none.
    is_legacy : bool
        Whether it has the layout of Keras 2, which Keras 3 reads only from files that are called ``.h5``.
    """

    path: Path
    numbers: int
    network: str | None
    is_legacy: bool

    @classmethod
    def read(cls, path: Path, spec: BackboneSpec) -> OwnWeights:
        """Count the numbers in a file; it does not import Keras.

        Raises
        ------
        WeightsError
            If it is no file of Keras weights.
        """
        if other := _other_kind(path):
            raise WeightsError(f"{path} is {other}. {_EXPECTED} of {spec.name}.", hint=_ways(spec))
        try:
            with _hdf5(path) as file:
                numbers, is_legacy = _count(file)
        except Exception as error:  # h5py and zipfile raise many types for a damaged file
            raise WeightsError(
                f"{path} is damaged or cut short: {error}. {_EXPECTED} of {spec.name}.",
                hint=f"Copy or save it again. {_ways(spec)}",
            ) from error
        return cls(path, numbers, spec.name if _fits(spec, numbers) else _network_with(numbers), is_legacy)

    def check(self, spec: BackboneSpec) -> None:
        """Raise WeightsError if the file is for another network of the catalog."""
        if self.network not in (None, spec.name):
            raise self.misfit(spec)

    def misfit(self, spec: BackboneSpec) -> WeightsError:
        """Return the error if Keras cannot load the file into a network."""
        ways = _ways(spec)
        expected = f"{spec.name} has {spec.parameters_below_top:,} without its classification layers"
        if self.network is None:
            reason = f"they are {self.numbers:,} numbers; {expected}"
        elif self.network == spec.name:
            has_top = self.is_legacy and self.numbers > spec.parameters_below_top + _COUNTERS
            reason = "they include classification layers" if has_top else "their layers have other shapes"
        else:
            reason = f"they seem to be those of {self.network} ({self.numbers:,} numbers; {expected})"
            command = f"--backbone {self.network} --weights {shell_command(self.path)}"
            ways = f"To use that network: {command}\n{ways}"
        return WeightsError(f"The weights in {self.path} do not fit {spec.name}: {reason}.", hint=ways)

    @contextmanager
    def loadable(self) -> Iterator[Path]:
        """Yield the path of an HDF5 file with a name from which Keras recognises its layout."""
        ending = ".h5" if self.is_legacy else ".weights.h5"
        is_archive = zipfile.is_zipfile(self.path)
        if (
            not is_archive
            and self.path.name.endswith(ending)
            and self.is_legacy != self.path.name.endswith(".weights.h5")
        ):
            yield self.path
            return
        with temporary_folder() as folder:
            copy = folder / f"own{ending}"
            with _content(self.path) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
            yield copy


def check_weights(weights: str, spec: BackboneSpec) -> None:
    """Raise WeightsError unless `weights` is imagenet, embedded, none or a file for the network; imports no Keras."""
    if weights == backbones.IN_FILE or Path(weights).is_dir():
        return  # of a network of one's own, or an earlier run: these are checked where they are opened
    registry.require_weights_file(weights)
    if weights not in (backbones.IMAGENET, backbones.EMBEDDED, backbones.RANDOM):
        OwnWeights.read(Path(weights), spec).check(spec)


def _ways(spec: BackboneSpec) -> str:
    usual = "ImageNet weights" if spec.has_imagenet else "the weights in this program"
    return (
        f"To start from {usual}, leave out --weights."
        if spec.is_pretrained
        else "To start from random weights: --weights none"
    )


@contextmanager
def _content(path: Path) -> Iterator[Any]:
    """Open an HDF5 file, or the one in a ``.keras`` file, for reading."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(_INNER) as file:
        yield file


@contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    import h5py

    from transfer_cli.io.untrusted.hdf5_file import check_hdf5_self_contained

    with _content(path) as content:
        check_hdf5_self_contained(content)
        with h5py.File(content, "r") as file:
            yield file


def _count(file: Any) -> tuple[int, bool]:
    """Return how many numbers the layers in a file have, and whether it has the layout of Keras 2."""
    import h5py

    root = file.get("model_weights", file)
    count = 0

    def add(name: str, item: object) -> None:
        nonlocal count
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and not {*name.split("/")} & {*_STATE}:
            count += int(item.size)

    root.visititems(add)
    return count, "layer_names" in root.attrs


def _fits(spec: BackboneSpec, numbers: int) -> bool:
    """Return whether a network has this number of parameters, without, with, or with another classification layer."""
    above = numbers - spec.parameters_below_top
    classes, rest = divmod(above, spec.width + 1)
    own_head = rest == 0 and 2 <= classes <= _MAX_CLASSES
    return own_head or _is_whole(spec, numbers)


def _is_whole(spec: BackboneSpec, numbers: int) -> bool:
    """Return whether a network has this number of parameters, without or with its own classification layers."""
    return any(0 <= numbers - count <= _COUNTERS for count in (spec.parameters_below_top, spec.parameters))


def _network_with(numbers: int) -> str | None:
    """Return the network of the catalog that has this number of parameters; first of all without another head."""
    specs = [spec for spec in map(backbones.find, backbones.names()) if not spec.is_handcrafted]
    whole = [spec for spec in specs if _is_whole(spec, numbers)]
    whole.sort(key=lambda spec: not spec.has_imagenet)
    # Of the networks with another head, the one with the fewest numbers in it is the most probable.
    other = sorted((spec for spec in specs if _fits(spec, numbers)), key=lambda spec: -spec.parameters_below_top)
    return next((spec.name for spec in [*whole, *other]), None)


def _other_kind(path: Path) -> str | None:
    """Return what a file is if it does not hold Keras weights, else None."""
    with path.open("rb") as file:
        start = file.read(_START)
    if not start:
        return "empty"
    if start.startswith(_HDF5):
        return None
    if zipfile.is_zipfile(path):
        return _kind_of_archive(path)
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and length < 10**8:
        return "a safetensors file"
    if start[0] == 0x80 and len(start) > 1 and start[1] <= 5:
        return "a pickle, such as PyTorch writes (.pt, .pth), which is not opened: it can run code"
    if start[4:8] == b"TFL3":
        return "a LiteRT (TensorFlow Lite) model"
    if start.startswith(b"kit.json\0"):
        return "a kit of weights, which is installed by: transfer-cli weights install FILE"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself (get it: git lfs pull)"
    if path.suffix == ".onnx":
        return "an ONNX model"
    return _kind_of_text(start)


def _kind_of_archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        return f"a damaged archive ({error})"
    if _INNER in names:
        return None
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch file (.pt, .pth), which is not opened: it can run code"
    return "a file of NumPy arrays (.npz)" if any(name.endswith(".npy") for name in names) else "a zip archive"


def _kind_of_text(start: bytes) -> str:
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        text = start[: error.start].decode() if error.start > _START - 4 else "\0"
    if not text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        return "not a file of a format that is known here"
    if text.lstrip().lower().startswith(("<!doctype html", "<html")):
        return "a web page, such as a sign-in page that answered a download"
    return "a JSON file" if text.lstrip().startswith(("{", "[")) else "a text file"
