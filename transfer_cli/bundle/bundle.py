"""A model on disk: a manifest with all settings and the SHA-256 of every file, readable without TensorFlow."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from transfer_cli.arguments import StrPath, as_path
from transfer_cli.bundle.files import BACKBONE_FILE, CLASSIFIER_FILE, MANIFEST, NETWORK_FILE
from transfer_cli.bundle.manifest import bundle_directory, digest_of_manifest, manifest_text, read_manifest, verify_file
from transfer_cli.catalog import ensemble_methods
from transfer_cli.catalog.tasks import MULTI_LABEL
from transfer_cli.data.views import View
from transfer_cli.errors import ModelError
from transfer_cli.io.atomic import atomic_write, write_text
from transfer_cli.io.digests import FileDigest, digest_of_file
from transfer_cli.io.untrusted.json_text import check_items, validation_summary
from transfer_cli.io.untrusted.zip_file import is_plain_name

MAX_FILES = 100
MAX_MEMBERS = 100
MAX_DEPTH = 3
"""An ensemble may be a member of another one; this is the maximum number of levels."""
ENSEMBLE: Final = "ensemble"
_REQUIRED_FILES = {
    "features": {BACKBONE_FILE, CLASSIFIER_FILE},
    "network": {NETWORK_FILE},
    ENSEMBLE: frozenset[str](),
}


class EnsembleMember(BaseModel):
    """A member of an ensemble; its bundle is in a folder of its own.

    Attributes
    ----------
    name : str
        Name of its run.
    digest : str
        Digest of its manifest.
    weight : float
        Weight in a weighted mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    weight: float = Field(ge=0, le=1, allow_inf_nan=False)


def _require_unique(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"there are two classes called {duplicate!r}")
    return names


Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class ModelBundle(BaseModel):
    """The manifest of a model.

    Attributes
    ----------
    kind : {"features", "network", "ensemble"}
        ``features``: a frozen backbone and a scikit-learn classifier; ``network``: one Keras model; ``ensemble``: other
        bundles, each in a folder (see `folder_of`). The first two hold the converted graph (``graph.tflite``) if there
        is one. A linear classifier, the last layer of a network and the classifier of a stacking ensemble are stored
        as a matrix, too (``linear.npz``), the fitted rejection as ``rejection.npz``, and digests of the training images
        as ``training_images.npz``.
    task : {"single-label", "multi-label"}
    class_names : tuple of str
        In the order of the probabilities.
    thresholds : tuple of float or None
        Multi-label: the minimum probability of each label.
    log_prior : tuple of float or None
        Logarithm of the class prior that is removed from a classifier's probabilities if classes were balanced.
    temperature : float or None
        Divides the logits to calibrate the probabilities; None leaves them unchanged.
    image_size : int
        Side of the input in pixels; for an ensemble that of its first member.
    resize : str
        How an image is made square; for an ensemble that of its first member.
    bit_depth : int or None
        Number of lowest bits that images with 16 bits per sample use; None: the range that each file declares.
    decoder : str
        Version of the decoder that read the training images.
    backbone : dict
        Name, weights, layer, pooling and feature width; empty for an ensemble.
    combination : str or None
        How an ensemble combines its members (see catalog.ensemble_methods).
    members : tuple of EnsembleMember
    versions : dict
        Versions of the packages that wrote it.
    recipe : dict
        The resolved recipe.
    files : dict of str to FileDigest
    digest : str
        SHA-256 of the rest of the manifest. It detects damage, not malice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    kind: Literal["features", "network", "ensemble"]
    task: Literal["single-label", "multi-label"]
    class_names: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_require_unique)]
    thresholds: tuple[Share, ...] | None = None
    log_prior: tuple[Finite, ...] | None = None
    temperature: Finite | None = Field(default=None, gt=0)
    image_size: int = Field(ge=1, le=4096)
    resize: Literal["squash", "crop", "pad"]
    bit_depth: int | None = Field(default=None, ge=8, le=16)
    decoder: str
    backbone: Mapping[str, Any]
    combination: str | None = None
    members: tuple[EnsembleMember, ...] = Field(default=(), max_length=MAX_MEMBERS)
    versions: Mapping[str, str | None]
    recipe: Mapping[str, Any]
    files: Mapping[str, FileDigest] = Field(default={}, max_length=MAX_FILES)
    digest: str = ""

    @model_validator(mode="before")
    @classmethod
    def _check_counts(cls, data: Any) -> Any:
        limits = {"members": MAX_MEMBERS, "files": MAX_FILES, "versions": MAX_FILES}
        check_items(data, limits, {"class_names": str, "thresholds": float, "log_prior": float})
        return data

    @model_validator(mode="after")
    def _check_members(self) -> Self:
        has = (self.combination is not None, bool(self.members))
        if has != (self.kind == ENSEMBLE,) * 2:
            raise ValueError("an ensemble must have members and a combination, and other bundles must have neither")
        if self.members and not any(member.weight for member in self.members):
            raise ValueError("all members have the weight 0")
        methods = [name for name in ensemble_methods.names() if not ensemble_methods.find(name).single_network]
        if self.combination is not None and self.combination not in methods:
            raise ValueError(f"the combination is {self.combination!r}; expected one of {', '.join(methods)}")
        return self

    @classmethod
    def read(cls, path: StrPath) -> tuple[ModelBundle, Path]:
        """Return the verified bundle at `path` and its directory; see `open`."""
        opened = cls.open(path)
        return opened.bundle, opened.directory

    @classmethod
    def open(cls, path: StrPath) -> OpenedBundle:
        """Return the bundle at `path` (a bundle or a run) with its members, after verifying every file.

        Raises
        ------
        ModelError
            If there is no bundle, it is damaged, or it has another format version.
        """
        return cls._open(bundle_directory(as_path(path, "a bundle or a run")), 1)

    @classmethod
    def _open(cls, directory: Path, depth: int) -> OpenedBundle:
        manifest = directory / MANIFEST
        try:
            bundle = cls.model_validate(read_manifest(manifest))
        except ValidationError as error:
            raise ModelError(f"{manifest} is not a valid manifest of a bundle: {validation_summary(error)}.") from None
        bundle._check_against(manifest)
        for name, expected in bundle.files.items():
            verify_file(directory, name, expected)
        if bundle.members and depth == MAX_DEPTH:
            raise ModelError(f"{directory} is an ensemble nested deeper than {MAX_DEPTH} levels.")
        return OpenedBundle(bundle, directory, tuple(cls._open_members(bundle, directory, depth)))

    def _check_against(self, manifest: Path) -> None:
        """Raise ModelError if the manifest's parts do not fit together, or a file name leaves the folder."""
        classes = len(self.class_names)
        if self.task == MULTI_LABEL and len(self.thresholds or ()) != classes:
            raise ModelError(f"{manifest}: expected one threshold per label ({classes}).")
        if self.log_prior is not None and len(self.log_prior) != classes:
            raise ModelError(f"{manifest}: expected one log prior per class ({classes}).")
        if missing := _REQUIRED_FILES[self.kind] - self.files.keys():
            raise ModelError(f"{manifest} has no digest of {', '.join(sorted(missing))}.")
        for name in self.files:
            if not is_plain_name(name) or name == MANIFEST:
                raise ModelError(f"{manifest} names a file outside its folder: {name[:200]!r}.")

    @classmethod
    def _open_members(cls, bundle: ModelBundle, directory: Path, depth: int) -> Iterator[OpenedBundle]:
        for number, expected in enumerate(bundle.members, start=1):
            folder = directory / folder_of(number)
            if folder.is_symlink() or not folder.is_dir():
                raise ModelError(f"{folder} is missing. Copy the whole folder {directory.name}, not single files.")
            member = cls._open(folder, depth + 1)
            if member.bundle.digest != expected.digest:
                raise ModelError(f"{folder} is not the model that {directory / MANIFEST} names: their digests differ.")
            if (member.bundle.class_names, member.bundle.task) != (bundle.class_names, bundle.task):
                raise ModelError(f"{folder} does not have the classes of its ensemble.")
            yield member

    @property
    def view(self) -> View:
        """How images are decoded; for an ensemble, for its first member."""
        return View(self.image_size, self.resize, self.bit_depth)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that `bundle show --json` prints."""
        fields = self.model_dump(mode="json", exclude={"recipe", "thresholds", "log_prior"})
        shown = ("method", "classifier", "head", "inference", "ensemble", "classes")
        recipe = {key: self.recipe[key] for key in shown if self.recipe.get(key)}
        return {**fields, "thresholds": self.thresholds, "recipe": recipe}

    def write(self, target: StrPath, save_files: Callable[[Path], object]) -> ModelBundle:
        """Write the bundle to the directory `target` atomically; return it with files and digest filled in.

        Parameters
        ----------
        target : Path
        save_files : callable
            ``save_files(directory)`` writes the model's files into it; the members of an ensemble as folders.
        """
        with atomic_write(as_path(target, "a folder to write")) as draft:
            draft.mkdir()
            save_files(draft)
            files = {path.name: digest_of_file(path) for path in sorted(draft.iterdir()) if path.is_file()}
            complete = self.model_copy(update={"files": files})
            data = complete.model_dump(mode="json")
            data["digest"] = digest_of_manifest(data)
            write_text(draft / MANIFEST, manifest_text(data))
        return complete.model_copy(update={"digest": data["digest"]})


@dataclass(frozen=True)
class OpenedBundle:
    """A verified bundle on disk; an ensemble with its members."""

    bundle: ModelBundle
    directory: Path
    members: tuple[OpenedBundle, ...] = ()

    def files(self) -> Iterator[str]:
        """Yield each file's path relative to the directory: the manifest, the other files sorted, then the members."""
        yield from (MANIFEST, *sorted(self.bundle.files))
        for number, member in enumerate(self.members, start=1):
            yield from (f"{folder_of(number)}/{name}" for name in member.files())

    def leaves(self) -> Iterator[ModelBundle]:
        """Yield each bundle that is not an ensemble: this one, or those of its members."""
        if not self.members:
            yield self.bundle
        for member in self.members:
            yield from member.leaves()

    @property
    def views(self) -> tuple[View, ...]:
        """The distinct views of its networks, in order."""
        return tuple(dict.fromkeys(leaf.view for leaf in self.leaves()))

    def copy_to(self, target: Path, copies: dict[str, Path] | None = None) -> None:
        """Copy the manifest and the files that it names, and nothing else in the folder.

        Parameters
        ----------
        target : Path
            A folder that does not exist yet.
        copies : dict of str to Path, optional
            Copies made before, by SHA-256: a file of equal content is hard-linked to its copy if possible.
        """
        copies = {} if copies is None else copies
        target.mkdir()
        shutil.copyfile(self.directory / MANIFEST, target / MANIFEST)
        for name, digest in self.bundle.files.items():
            if digest.sha256 in copies:
                with suppress(OSError):
                    (target / name).hardlink_to(copies[digest.sha256])
                    continue
            shutil.copyfile(self.directory / name, target / name)
            copies[digest.sha256] = target / name
        for number, member in enumerate(self.members, start=1):
            member.copy_to(target / folder_of(number), copies)


def folder_of(number: int) -> str:
    """Return the folder name of the member `number` of an ensemble, from 1 on."""
    return f"member-{number:02}"
