"""A network of the user's own in a ``.keras`` file: what it holds, and why it cannot be used. Does not import Keras."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from transfer_cli.catalog.backbones import BackboneSpec
from transfer_cli.errors import ModelError
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.untrusted.json_text import iter_objects, parse_json
from transfer_cli.io.untrusted.names import CONFIG, METADATA, MOST_BYTES, WEIGHTS
from transfer_cli.io.untrusted.zip_file import list_members
from transfer_cli.models.weights.foreign_formats import check_is_keras_file

_HALF = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
_RGB = 3
_GREY_HINT = (
    "Let the network make its grey images itself, in Python:\n"
    "  images = keras.Input(({size}, {size}, 3))\n"
    "  keras.Model(images, network(keras.ops.image.rgb_to_grayscale(images))).save('rgb.keras')"
)


@dataclass(frozen=True)
class NetworkFile:
    """A checked network of the user's own.

    Attributes
    ----------
    path : Path
    sha256 : str
    size : int
        Side of its input in pixels; 0 if it takes images of any size.
    parameters : int
        Number of its weights.
    config : str
        Its configuration as JSON, without settings of its training and with float32 instead of half precision.
    """

    path: Path
    sha256: str
    size: int
    parameters: int
    config: str

    @classmethod
    def read(cls, path: Path) -> NetworkFile:
        """Check a file and return what it holds.

        Raises
        ------
        ModelError
            If there is no such file, if it is no whole network in the format of Keras 3, or if it is a network that
            cannot be used: several inputs or outputs, no RGB images, custom code.
        """
        check_is_keras_file(path)
        state = path.stat()
        return _read(path, state.st_mtime_ns, state.st_size)

    def spec(self, name: str, preprocess: str) -> BackboneSpec:
        """Return it as a backbone whose images are scaled by the scheme `preprocess`."""
        return BackboneSpec(name, "", preprocess, self.size, 1, 0, self.parameters, 0, is_file=True)

    def copy_for_keras(self, target: Path) -> None:
        """Write the file that Keras may load: the checked configuration and the weights."""
        with ZipFile(self.path) as source, ZipFile(target, "w") as archive:
            archive.writestr(METADATA, source.read(METADATA))
            archive.writestr(CONFIG, self.config)
            archive.writestr(WEIGHTS, source.read(WEIGHTS))


@lru_cache(maxsize=4)
def _read(path: Path, modified: int, length: int) -> NetworkFile:
    # They import h5py, which only the commands that read a network need.
    from transfer_cli.io.untrusted.hdf5_file import check_hdf5_arrays, count_values
    from transfer_cli.io.untrusted.keras_config import check_own_classes

    members = {member.filename for member in list_members(path, is_expected=lambda name: True, compressed=True)}
    with ZipFile(path) as archive:
        if {METADATA, CONFIG} <= members:
            _check_version(path, archive.read(METADATA))
        if missing := {METADATA, CONFIG, WEIGHTS} - members:
            raise ModelError(
                f"{path} is not a whole network: it lacks {', '.join(sorted(missing))}.",
                hint="Save the whole network by Keras 3: network.save('network.keras')",
            )
        try:
            config = parse_json(archive.read(CONFIG), most_bytes=MOST_BYTES)
            config = _without_training(config)
            check_own_classes(config)
            weights = io.BytesIO(archive.read(WEIGHTS))
            check_hdf5_arrays(weights)
            parameters = count_values(weights, leave_out="optimizer")
        except ModelError as error:
            raise ModelError(f"{path} cannot be used: {error}", hint=error.hint) from None
        except Exception as error:  # h5py raises many types for a damaged file
            raise ModelError(f"{path} was refused and not loaded: {error}.") from error
    try:
        size = _input_size(path, config)
        _check_one_output(path, config)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise ModelError(f"{path} was refused and not loaded: its configuration is not that of a network.") from None
    return NetworkFile(path, digest_of_file(path).sha256, size, parameters, json.dumps(config))


def _check_version(path: Path, metadata: bytes) -> None:
    with suppress(ValueError, KeyError, TypeError):
        version = str(parse_json(metadata, most_bytes=MOST_BYTES)["keras_version"])
        if version.startswith("2."):
            raise ModelError(
                f"{path} was saved by Keras {version}. Expected a file of Keras 3.",
                hint="Load it where it was saved, and save its weights: network.save_weights('w.weights.h5'); build "
                "the same network in Keras 3, then: network.load_weights('w.weights.h5'); network.save('own.keras')",
            )


def _without_training(value: Any) -> Any:
    """Return a configuration without the settings of a training, and with float32 instead of half precision."""
    if isinstance(value, list):
        return [_without_training(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy" and value.get("config", {}).get("name") in _HALF:
        return {**value, "config": {**value["config"], "name": "float32"}}
    kept = {key: _without_training(each) for key, each in value.items() if key != "compile_config"}
    if kept.get("dtype") in _HALF:
        kept["dtype"] = "float32"
    return kept


def _input_size(path: Path, config: dict[str, Any]) -> int:
    """Return the side of the square RGB images that a network takes, 0 if any; raise ModelError if it takes others."""
    shapes = [*_input_shapes(config)]
    if len(shapes) != 1:
        raise ModelError(
            f"{path} has {len(shapes)} inputs. Expected a network with one input, a batch of images."
            if shapes
            else f"{path} does not say which images it takes.",
            hint="Cut out the part that takes the images: keras.Model(IMAGES, OUTPUT).save('part.keras')"
            if shapes
            else "Begin it by an input, such as keras.Input((96, 96, 3)), and save it again.",
        )
    shape = tuple(shapes[0][1:])
    if len(shape) != 3:
        raise ModelError(f"{path} takes inputs of shape {shape}. Expected images: (height, width, 3).")
    height, width, channels = shape
    if channels != _RGB and height == _RGB:
        raise _channels_first(path, f"its input has the shape {shape}")
    if channels == 1:
        hint = _GREY_HINT.format(size=height)
        raise ModelError(f"{path} takes grayscale images (1 channel). Expected RGB: (height, width, 3).", hint=hint)
    if channels != _RGB:
        raise ModelError(f"{path} takes images with {channels} channels. Expected RGB: (height, width, 3).")
    for each in iter_objects(config):
        if each.get("data_format") == "channels_first":
            raise _channels_first(path, f"its layer {each.get('name')} has data_format='channels_first'")
    if height != width:
        raise ModelError(
            f"{path} takes images of {width} x {height} pixels. Expected a square input, or one of any size.",
            hint="If all its layers are convolutions and poolings, build it with keras.Input((None, None, 3)).",
        )
    return height or 0


def _channels_first(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path} expects channels first: {reason}. Expected channels last: (height, width, 3).",
        hint="Build the network again with data_format='channels_last', copy its weights and save it.",
    )


def _input_shapes(config: dict[str, Any]) -> Iterator[list[int | None]]:
    """Yield the shape of each input of a network; a Sequential may have that of its first layer."""
    inside = config.get("config", {})
    layers = inside.get("layers", [])
    inputs = [each["config"] for each in layers if each.get("class_name") == "InputLayer"]
    if inputs:
        yield from (each.get("batch_shape") or [] for each in inputs)
    elif layers and "layers" in layers[0].get("config", {}):
        yield from _input_shapes(layers[0])
    elif shape := config.get("build_config", {}).get("input_shape") or inside.get("build_input_shape"):
        yield shape


def _check_one_output(path: Path, config: dict[str, Any]) -> None:
    outputs = config.get("config", {}).get("output_layers", [])
    count = len(outputs) if outputs and not isinstance(outputs[0] if isinstance(outputs, list) else 0, str) else 1
    if count > 1:
        raise ModelError(
            f"{path} has {count} outputs. Expected a network with one output.",
            hint="Save the part that ends in one of them: keras.Model(network.input, ONE_OUTPUT).save('part.keras')",
        )
