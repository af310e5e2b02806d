"""What an exported file says of itself: all that whoever uses it needs to know, and no other file beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from transfer_cli.bundle.bundle import MOST_BYTES, ModelBundle
from transfer_cli.catalog.tasks import MULTI_LABEL
from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.embedded_digest import SEAL
from transfer_cli.io.untrusted.json_text import faults_in_words, parsed

FORMAT_VERSION = 1
_LARGEST_SIDE = 16_384


class ExportedFacts(BaseModel):
    """What travels inside every exported file, as JSON.

    Attributes
    ----------
    format_version : int
    format : str
        A row of catalog.exporters.
    task : {"single-label", "multi-label"}
    class_names : tuple of str
        In the order of the probabilities.
    thresholds : tuple of float or None
        From which probability on a picture has a label, of a multi-label task.
    image_size : int
        Side of the input in pixels: ``images``, uint8 of shape (n, image_size, image_size, 3), RGB.
    resize : {"squash", "crop", "pad"}
        How a picture becomes that square.
    decoder : str
        Which decoder the training pictures came through.
    backbone : str
    bundle : str
        The digest of the bundle that it was made of.
    version : str
        Of the program that wrote it.
    files : mapping of str to str
        SHA-256 of the files that belong to it.
    seal : str
        See `sealing`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    format: str
    task: Literal["single-label", "multi-label"]
    class_names: tuple[str, ...]
    thresholds: tuple[float, ...] | None = None
    image_size: int
    resize: Literal["squash", "crop", "pad"]
    decoder: str
    backbone: str
    bundle: str
    version: str
    files: Mapping[str, str] = {}
    seal: str = SEAL

    @model_validator(mode="after")
    def _fits(self) -> ExportedFacts:
        if not 0 < self.image_size <= _LARGEST_SIDE:
            raise ValueError(f"image_size is {self.image_size}")
        if len(set(self.class_names)) != len(self.class_names) or not self.class_names:
            raise ValueError("class names must be there, and differ")
        if (self.task == MULTI_LABEL) != (self.thresholds is not None):
            raise ValueError("thresholds belong to several labels a picture")
        if self.thresholds is not None and len(self.thresholds) != len(self.class_names):
            raise ValueError("there must be a threshold a label")
        return self

    @classmethod
    def of_bundle(cls, bundle: ModelBundle, format: str, *, backbone: str | None = None) -> ExportedFacts:
        """Return what a file of a bundle says; of an ensemble `backbone` names those of its members."""
        return cls.model_validate(
            {
                "format": format,
                "task": bundle.task,
                "class_names": bundle.class_names,
                "thresholds": bundle.thresholds,
                "image_size": bundle.image_size,
                "resize": bundle.resize,
                "decoder": bundle.decoder,
                "backbone": str(bundle.backbone.get("name", "")) if backbone is None else backbone,
                "bundle": bundle.digest,
                "version": metadata.version("transfer-cli"),
            }
        )

    @classmethod
    def of_json(cls, text: str | bytes, source: object) -> ExportedFacts:
        """Return the facts in `text`, which was found in `source`.

        Raises
        ------
        ModelError
            When it is none, or a newer version wrote it.
        """
        try:
            # A surrogate comes out of a file that is no UTF-8.
            data = parsed(text.encode("utf-8", "replace") if isinstance(text, str) else text, most_bytes=MOST_BYTES)
            version = data["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{source} does not say what it is: {error}.") from None
        if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
            raise ModelError(
                f"{source} has format version {version}; this program knows {FORMAT_VERSION} at most.",
                hint="Install a newer transfer-cli.",
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ModelError(f"{source} does not say what it is: {faults_in_words(error)}.") from None

    def json_text(self, *, seal: str = SEAL) -> str:
        """Return the facts as JSON.

        Parameters
        ----------
        seal : str
            What stands in the place of the digest; a file that has another place for it has none here.
        """
        return json.dumps(self.model_copy(update={"seal": seal}).model_dump(mode="json"), ensure_ascii=True)

    @property
    def labels_text(self) -> str:
        """The class names, one a line, in the order of the probabilities."""
        return "".join(f"{' '.join(name.splitlines())}\n" for name in self.class_names)
