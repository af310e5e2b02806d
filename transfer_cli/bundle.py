"""What predicts, on disk: a manifest that says everything, and files whose digests it knows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from transfer_cli.catalog.tasks import MULTI_LABEL
from transfer_cli.errors import ModelError
from transfer_cli.writing import write_text, written_whole

MANIFEST = "bundle.json"
FORMAT_VERSION = 4
_FILES = {"features": {"backbone.keras", "classifier.skops"}, "network": {"network.keras"}}


class FileDigest(BaseModel):
    """Length in bytes and SHA-256 of one file of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class ModelBundle(BaseModel):
    """All that predicting needs, readable without TensorFlow.

    Attributes
    ----------
    kind : {"features", "network"}
        ``features``: a cut backbone and a scikit-learn classifier; ``network``: one Keras model. Either has its graph
        beside it (``graph.tflite``, from pictures to features) where it was converted; a linear classifier, and the
        last layer of a network, its matrix (``linear.npz``); and both what tells whether a picture is one that the
        model can judge (``rejection.npz``), and by which pictures it came about (``learnt.npz``).
    task : {"single-label", "multi-label"}
    class_names : tuple of str
        In the order of the probabilities.
    thresholds : tuple of float or None
        From which probability on a picture has a label, of a multi-label task.
    log_prior : tuple of float or None
        What is taken out of the logarithm of each probability of a classifier on features, where classes were balanced.
    temperature : float or None
        What the logits are divided by, so that probabilities are as sure as they are right; None: they are left as
        they are.
    image_size : int
        Side of the input in pixels.
    resize : str
        How a picture becomes that square.
    decoder : str
        Which decoder the training pictures came through.
    backbone : dict
        Name, weights, layer, pooling and feature width.
    versions : dict
        Of the packages it was written with.
    recipe : dict
        The resolved recipe.
    files : dict of str to FileDigest
    digest : str
        SHA-256 of the rest of this manifest: it detects damage, not malice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    kind: Literal["features", "network"]
    task: Literal["single-label", "multi-label"]
    class_names: tuple[str, ...]
    thresholds: tuple[float, ...] | None = None
    log_prior: tuple[float, ...] | None = None
    temperature: float | None = None
    image_size: int
    resize: str
    decoder: str
    backbone: Mapping[str, Any]
    versions: Mapping[str, str | None]
    recipe: Mapping[str, Any]
    files: Mapping[str, FileDigest] = {}
    digest: str = ""

    @classmethod
    def read(cls, path: Path) -> tuple[ModelBundle, Path]:
        """Return the bundle at `path` (a bundle, or a run that holds one) and its directory, its files verified.

        Raises
        ------
        ModelError
            When there is no bundle, or it is damaged, or a newer version wrote it.
        """
        directory = _locate(path)
        try:
            data = json.loads((directory / MANIFEST).read_bytes().decode("utf-8", "surrogateescape"))
            version = data["format_version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{directory / MANIFEST} cannot be read: {error}.") from None
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise ModelError(
                f"{directory} has format version {version}; this program knows {FORMAT_VERSION} at most.",
                hint="Install a newer transfer-cli.",
            )
        if _digest(data) != data.get("digest"):
            raise ModelError(f"{directory / MANIFEST} was altered: its digest does not fit it.")
        try:
            bundle = cls.model_validate(data)
        except ValidationError as error:
            raise ModelError(f"{directory / MANIFEST} is not a bundle's manifest: {error}.") from None
        if bundle.task == MULTI_LABEL and len(bundle.thresholds or ()) != len(bundle.class_names):
            raise ModelError(f"{directory / MANIFEST} does not give one threshold a label.")
        if bundle.log_prior is not None and len(bundle.log_prior) != len(bundle.class_names):
            raise ModelError(f"{directory / MANIFEST} does not give the log prior of each class.")
        if missing := _FILES[bundle.kind] - bundle.files.keys():
            raise ModelError(f"{directory / MANIFEST} gives no digest of {', '.join(sorted(missing))}.")
        for name, expected in bundle.files.items():
            _verify(directory, name, expected)
        return bundle, directory

    def write(self, target: Path, save_files: Any) -> ModelBundle:
        """Write the bundle to the directory `target`, whole or not at all.

        Parameters
        ----------
        target : Path
        save_files : callable
            ``save_files(directory)`` writes the model's files into it.

        Returns
        -------
        ModelBundle
            With the files and the digest filled in.
        """
        with written_whole(target) as draft:
            draft.mkdir()
            save_files(draft)
            files = {path.name: digest_of_file(path) for path in sorted(draft.iterdir())}
            complete = self.model_copy(update={"files": files})
            data = complete.model_dump(mode="json")
            data["digest"] = _digest(data)
            write_text(draft / MANIFEST, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        return complete.model_copy(update={"digest": data["digest"]})


def _locate(path: Path) -> Path:
    if (path / "model" / MANIFEST).is_file():
        return path / "model"
    if (path / MANIFEST).is_file():
        return path
    if not path.exists():
        raise ModelError(f"There is no run and no bundle at {path}.", hint="See what there is: ls runs")
    if (path / "recipe.toml").is_file():
        raise ModelError(
            f"{path} is a run without a model: it was not finished, or was below --min-accuracy, or has no classifier.",
            hint=f"It goes on with the command in {path / 'command.txt'}.",
        )
    raise ModelError(f"{path} is neither a run nor a bundle. Expected {MANIFEST} in it or in its folder model.")


def _digest(data: Mapping[str, Any]) -> str:
    rest = {word: value for word, value in data.items() if word != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def digest_of_file(path: Path) -> FileDigest:
    """Return the length and the SHA-256 of a file."""
    with path.open("rb") as file:
        return FileDigest(bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _verify(directory: Path, name: str, expected: FileDigest) -> None:
    if name != Path(name).name or name in ("", ".", ".."):
        raise ModelError(f"{directory / MANIFEST} names a file outside its folder: {name!r}.")
    path = directory / name
    if path.is_symlink() or not path.is_file():
        raise ModelError(f"{path} is missing. Copy the whole folder {directory.name}, not single files.")
    if digest_of_file(path) != expected:
        raise ModelError(f"{path} was altered: its digest is not the one in {MANIFEST}.")
