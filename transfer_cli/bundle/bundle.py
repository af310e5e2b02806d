"""What predicts, on disk: a manifest that says everything, and files whose digests it knows."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from transfer_cli.catalog import ensemble_methods
from transfer_cli.catalog.tasks import MULTI_LABEL
from transfer_cli.errors import ModelError
from transfer_cli.io.atomic import write_text, written_whole
from transfer_cli.io.digests import FileDigest, digest_of_file
from transfer_cli.io.untrusted.json_text import faults_in_words, parsed
from transfer_cli.io.untrusted.zip_file import is_plain

MANIFEST = "bundle.json"
_EXPORTED = (".keras", ".onnx", ".tflite", ".xml")
FORMAT_VERSION = 5
MOST_BYTES = 16_000_000
"""Of a manifest; one of a hundred thousand classes is shorter."""
MOST_FILES = 100
MOST_MEMBERS = 100
DEEPEST = 3
"""An ensemble may be a member of another; so many folders lie in one another at most."""
ENSEMBLE: Final = "ensemble"
_FILES = {"features": {"backbone.keras", "classifier.skops"}, "network": {"network.keras"}, ENSEMBLE: frozenset[str]()}


class Member(BaseModel):
    """A model within an ensemble, in a folder of its own.

    Attributes
    ----------
    name : str
        Of the run that it comes from.
    digest : str
        Of its manifest.
    weight : float
        What its probabilities count, of all that are weighted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    weight: float = Field(ge=0, le=1, allow_inf_nan=False)


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"there are two classes called {twice!r}")
    return names


Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class ModelBundle(BaseModel):
    """All that predicting needs, readable without TensorFlow.

    Attributes
    ----------
    kind : {"features", "network", "ensemble"}
        ``features``: a cut backbone and a scikit-learn classifier; ``network``: one Keras model. Either has its graph
        beside it (``graph.tflite``, from pictures to features) where it was converted; a linear classifier, and the
        last layer of a network, its matrix (``linear.npz``); and both what tells whether a picture is one that the
        model can judge (``rejection.npz``), and by which pictures it came about (``learnt.npz``). ``ensemble``: other
        bundles, each in a folder (see `folder_of`), and where a classifier joins their probabilities, its matrix.
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
        Side of the input in pixels; of an ensemble that of its first member.
    resize : str
        How a picture becomes that square; of an ensemble for its first member.
    decoder : str
        Which decoder the training pictures came through.
    backbone : dict
        Name, weights, layer, pooling and feature width; empty for an ensemble.
    combination : str or None
        How an ensemble makes one answer of its members' (see catalog.combiners).
    members : tuple of Member
        Of an ensemble.
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
    kind: Literal["features", "network", "ensemble"]
    task: Literal["single-label", "multi-label"]
    class_names: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_each_once)]
    thresholds: tuple[Share, ...] | None = None
    log_prior: tuple[Finite, ...] | None = None
    temperature: Finite | None = Field(default=None, gt=0)
    image_size: int = Field(ge=1, le=4096)
    resize: Literal["squash", "crop", "pad"]
    decoder: str
    backbone: Mapping[str, Any]
    combination: str | None = None
    members: tuple[Member, ...] = Field(default=(), max_length=MOST_MEMBERS)
    versions: Mapping[str, str | None]
    recipe: Mapping[str, Any]
    files: Mapping[str, FileDigest] = Field(default={}, max_length=MOST_FILES)
    digest: str = ""

    @model_validator(mode="after")
    def _members_make_an_ensemble(self) -> Self:
        has = (self.combination is not None, bool(self.members))
        if has != (self.kind == ENSEMBLE,) * 2:
            raise ValueError("an ensemble, and nothing else, has members and a combination")
        if self.members and not any(member.weight for member in self.members):
            raise ValueError("the members have no weight at all: each is 0")
        apart = [name for name in ensemble_methods.names() if not ensemble_methods.find(name).one_network]
        if self.combination is not None and self.combination not in apart:
            raise ValueError(f"the combination is {self.combination!r}; expected one of {', '.join(apart)}")
        return self

    @classmethod
    def read(cls, path: Path) -> tuple[ModelBundle, Path]:
        """Return the bundle at `path` (a bundle, or a run that holds one) and its directory, all of it verified.

        Raises
        ------
        ModelError
            When there is no bundle, or it is damaged, or a newer version wrote it.
        """
        found = cls.open(path)
        return found.bundle, found.directory

    @classmethod
    def open(cls, path: Path) -> OpenedBundle:
        """Return the bundle at `path`, all of it verified, and of an ensemble each of its members, too.

        Raises
        ------
        ModelError
            When there is no bundle, or it is damaged, or a newer version wrote it.
        """
        return cls._open(_locate(path), 1)

    @classmethod
    def _open(cls, directory: Path, depth: int) -> OpenedBundle:
        data = _manifest(directory / MANIFEST)
        try:
            bundle = cls.model_validate(data)
        except ValidationError as error:
            raise ModelError(f"{directory / MANIFEST} is not a bundle's manifest: {faults_in_words(error)}.") from None
        if bundle.task == MULTI_LABEL and len(bundle.thresholds or ()) != len(bundle.class_names):
            raise ModelError(f"{directory / MANIFEST} does not give one threshold a label.")
        if bundle.log_prior is not None and len(bundle.log_prior) != len(bundle.class_names):
            raise ModelError(f"{directory / MANIFEST} does not give the log prior of each class.")
        if missing := _FILES[bundle.kind] - bundle.files.keys():
            raise ModelError(f"{directory / MANIFEST} gives no digest of {', '.join(sorted(missing))}.")
        for name in bundle.files:
            if not is_plain(name) or name == MANIFEST:
                raise ModelError(f"{directory / MANIFEST} names a file outside its folder: {name[:200]!r}.")
        for name, expected in bundle.files.items():
            _verify(directory, name, expected)
        if bundle.members and depth == DEEPEST:
            raise ModelError(f"{directory} is an ensemble within ensembles, deeper than {DEEPEST}.")
        return OpenedBundle(bundle, directory, tuple(cls._members_of(bundle, directory, depth)))

    @classmethod
    def _members_of(cls, bundle: ModelBundle, directory: Path, depth: int) -> Iterator[OpenedBundle]:
        for number, expected in enumerate(bundle.members, start=1):
            place = directory / folder_of(number)
            if place.is_symlink() or not place.is_dir():
                raise ModelError(f"{place} is missing. Copy the whole folder {directory.name}, not single files.")
            member = cls._open(place, depth + 1)
            if member.bundle.digest != expected.digest:
                raise ModelError(f"{place} is another model than the one that {directory / MANIFEST} names.")
            if (member.bundle.class_names, member.bundle.task) != (bundle.class_names, bundle.task):
                raise ModelError(f"{place} has other classes than the ensemble that it is in.")
            yield member

    def to_dict(self) -> dict[str, Any]:
        """Return what a person wants to know of it, as JSON can hold it."""
        said = self.model_dump(mode="json", exclude={"recipe", "thresholds", "log_prior"})
        made = {
            word: self.recipe[word]
            for word in ("method", "classifier", "head", "inference", "ensemble")
            if word in self.recipe
        }
        return {**said, "thresholds": self.thresholds, "recipe": made}

    def write(self, target: Path, save_files: Any) -> ModelBundle:
        """Write the bundle to the directory `target`, whole or not at all.

        Parameters
        ----------
        target : Path
        save_files : callable
            ``save_files(directory)`` writes the model's files into it; the members of an ensemble as folders.

        Returns
        -------
        ModelBundle
            With the files and the digest filled in.
        """
        with written_whole(target) as draft:
            draft.mkdir()
            save_files(draft)
            files = {path.name: digest_of_file(path) for path in sorted(draft.iterdir()) if path.is_file()}
            complete = self.model_copy(update={"files": files})
            data = complete.model_dump(mode="json")
            data["digest"] = _digest(data)
            write_text(draft / MANIFEST, written_as(data))
        return complete.model_copy(update={"digest": data["digest"]})


@dataclass(frozen=True)
class OpenedBundle:
    """A bundle on disk whose digests were compared, and the members of an ensemble."""

    bundle: ModelBundle
    directory: Path
    members: tuple[OpenedBundle, ...] = ()

    def files(self) -> Iterator[str]:
        """Yield the path of each file, relative to the directory: the manifest, the rest sorted, then the members'."""
        yield from (MANIFEST, *sorted(self.bundle.files))
        for number, member in enumerate(self.members, start=1):
            yield from (f"{folder_of(number)}/{name}" for name in member.files())

    def leaves(self) -> Iterator[ModelBundle]:
        """Yield each bundle that is no ensemble: this one, or those of its members."""
        if not self.members:
            yield self.bundle
        for member in self.members:
            yield from member.leaves()

    def copy_to(self, target: Path, known: dict[str, Path] | None = None) -> None:
        """Copy the manifest and all that it names; nothing that lies beside it.

        Parameters
        ----------
        target : Path
            A folder that is not there yet.
        known : dict of str to Path, optional
            Where files were copied to before, by their SHA-256: a file is on disk once, where the system can do that.
        """
        known = {} if known is None else known
        target.mkdir()
        shutil.copyfile(self.directory / MANIFEST, target / MANIFEST)
        for name, digest in self.bundle.files.items():
            if digest.sha256 in known:
                with suppress(OSError):
                    (target / name).hardlink_to(known[digest.sha256])
                    continue
            shutil.copyfile(self.directory / name, target / name)
            known[digest.sha256] = target / name
        for number, member in enumerate(self.members, start=1):
            member.copy_to(target / folder_of(number), known)


def folder_of(number: int) -> str:
    """Return the folder of a member of an ensemble, from 1 on."""
    return f"member-{number:02}"


def _locate(path: Path) -> Path:
    if (path / "model" / MANIFEST).is_file():
        return path / "model"
    if (path / MANIFEST).is_file():
        return path
    if not path.exists():
        raise ModelError(f"There is no run and no bundle at {path}.", hint="See what there is: ls runs")
    if path.suffix.lower() in _EXPORTED or (path / "parity.json").is_file():
        raise ModelError(
            f"{path} is what export wrote. Expected a run or a bundle; exported files are for predict.",
            hint=f"transfer-cli predict {path if path.is_file() else path / 'model.onnx'} PICTURES",
        )
    if path.is_file() and path.suffix.lower() == ".zip":
        raise ModelError(
            f"{path} is packed. Expected a run or a bundle.",
            hint=f"Unpack it first: transfer-cli bundle unpack {shlex.quote(str(path))} -o {shlex.quote(path.stem)}",
        )
    if (path / "recipe.toml").is_file():
        raise ModelError(
            f"{path} is a run without a model: it was not finished, or was below --min-accuracy, or has no classifier.",
            hint=f"It goes on with the command in {path / 'command.txt'}.",
        )
    raise ModelError(f"{path} is neither a run nor a bundle. Expected {MANIFEST} in it or in its folder model.")


def _manifest(path: Path) -> dict[str, Any]:
    """Return what a manifest says, as far as a person can trust that it is whole and of a version that is known."""
    try:
        if path.is_symlink():
            raise ValueError("it is a link")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise ValueError(f"it has {size:,} bytes, where {MOST_BYTES:,} at most are expected")
        text = path.read_bytes()
        data: dict[str, Any] = parsed(text, most_bytes=MOST_BYTES)
        version = data["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from None
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ModelError(
            f"{path.parent} has format version {version}; this program knows {FORMAT_VERSION} at most.",
            hint="Install a newer transfer-cli.",
        )
    # White space, and words that can be written in two ways, are in no digest.
    if _digest(data) != data.get("digest") or written_as(data) != text.decode("utf-8", "surrogateescape"):
        raise ModelError(f"{path} was altered: its digest does not fit it.")
    return data


def written_as(data: Mapping[str, Any]) -> str:
    """Return the one way in which a manifest is written."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _digest(data: Mapping[str, Any]) -> str:
    rest = {word: value for word, value in data.items() if word != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _verify(directory: Path, name: str, expected: FileDigest) -> None:
    path = directory / name
    if path.is_symlink() or not path.is_file():
        raise ModelError(f"{path} is missing. Copy the whole folder {directory.name}, not single files.")
    # The length first: of a file that grew without end no digest is taken.
    if path.stat().st_size != expected.bytes or digest_of_file(path) != expected:
        raise ModelError(f"{path} was altered: its digest is not the one in {MANIFEST}.")
