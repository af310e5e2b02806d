"""Files that are given as a network and are none in the format of Keras 3: what they are, and what to do."""

from __future__ import annotations

from pathlib import Path

from transfer_cli.catalog.backbones import names
from transfer_cli.errors import ModelError, did_you_mean
from transfer_cli.regular_file import open_regular
from transfer_cli.text import shell_command

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_SAVE = "network.save('network.keras')"
_OTHER = {
    ".tflite": "a LiteRT file",
    ".onnx": "an ONNX file",
    ".pb": "a TensorFlow graph",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".safetensors": "a file of weights only",
    ".npz": "a file of weights only",
    ".json": "a configuration without weights",
}


def check_is_keras_file(path: Path) -> None:
    """Raise ModelError, which says what `path` is and what to do, unless it may be a file of Keras 3."""
    if path.is_dir():
        raise _of_folder(path)
    if not path.exists():
        raise ModelError(
            f"There is no network file {path}.{did_you_mean(path.name, names())}",
            hint="Give the path of a .keras file, or a name from: transfer-cli backbones list",
        )
    try:
        with open_regular(path) as file:
            signature = file.read(len(_HDF5))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from None
    if signature == _HDF5:
        raise _of_hdf5(path)
    if path.suffix.lower() != ".keras" or not signature.startswith(_ZIP):
        what = _OTHER.get(path.suffix.lower()) or ("damaged or no Keras file" if signature else "empty")
        raise ModelError(
            f"{path} is {what}. Expected a whole network, saved by Keras 3 as a .keras file.",
            hint=f"Save the network where it was made: {_SAVE}",
        )


def _of_folder(path: Path) -> ModelError:
    if (path / "saved_model.pb").is_file():
        return ModelError(
            f"{path} is a SavedModel, a graph without its layers. Expected a .keras file.",
            hint=f"Save the Keras network that it was exported from: {_SAVE}",
        )
    if (path / "recipe.toml").is_file() or (path / "bundle.json").is_file():
        return ModelError(
            f"{path} is a trained model of transfer-cli. Expected a .keras file after --backbone.",
            hint=f"To start from its network: --backbone NAME --weights {shell_command(path)}",
        )
    return ModelError(f"{path} is a folder. Expected a .keras file after --backbone.")


def _of_hdf5(path: Path) -> ModelError:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            is_network = "model_config" in file.attrs
    except (OSError, RuntimeError) as error:
        return ModelError(f"{path} is damaged: {error}.")
    if is_network:
        return ModelError(
            f"{path} is a network in HDF5, the format of Keras 2. Expected a .keras file of Keras 3.",
            hint="Convert it once, in Python: "
            f"keras.models.load_model({str(path)!r}, compile=False).save({str(path.with_suffix('.keras'))!r})",
        )
    return ModelError(
        f"{path} holds weights only, without the layers that they belong to. Expected a whole network.",
        hint=f"Build the network in Python, load them into it, and save both: {_SAVE}\n"
        f"Or, if it is a network of the catalog: --backbone NAME --weights {shell_command(path)}",
    )
