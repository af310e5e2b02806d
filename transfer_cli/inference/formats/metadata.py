"""The metadata in every exported file: everything a client program needs to use the model, with no second file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.manifest import MAX_BYTES
from transfer_cli.catalog.tasks import MULTI_LABEL
from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.embedded_digest import DIGEST_PLACEHOLDER
from transfer_cli.io.untrusted.json_text import check_items, parse_json, validation_summary

FORMAT_VERSION = 1
_MAX_FILES = 1000
_MAX_IMAGE_SIZE = 2048
"""As of a recipe, in pixels."""
_OF_BUNDLE = ("task", "class_names", "thresholds", "image_size", "resize", "bit_depth", "decoder")


class ExportMetadata(BaseModel):
    """The content of ``transfer_cli.json`` in an exported file.

    Attributes
    ----------
    format_version : int
    format : str
        A row of catalog.export_formats.
    task : {"single-label", "multi-label"}
    class_names : tuple of str
        In the order of the probabilities.
    thresholds : tuple of float or None
        With several labels per image, the probability from which on each label is predicted.
    image_size : int
        Side of the input in pixels: ``images``, uint8 of shape (n, image_size, image_size, 3), RGB.
    resize : {"squash", "crop", "pad"}
        How an image is resized to that square.
    bit_depth : int or None
        Number of lowest bits that images with 16 bits per sample use; None: the range that each file declares.
    decoder : str
        The decoder that read the training images.
    backbone : str
    bundle : str
        Digest of the exported bundle.
    version : str
        Version of transfer-cli that wrote the file.
    files : mapping of str to str
        SHA-256 of the other files of the export that this one needs.
    file_digest : str
        See `embedded_digest`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    format: str
    task: Literal["single-label", "multi-label"]
    class_names: tuple[str, ...]
    thresholds: tuple[float, ...] | None = None
    image_size: int
    resize: Literal["squash", "crop", "pad"]
    bit_depth: int | None = Field(default=None, ge=8, le=16)
    decoder: str
    backbone: str
    bundle: str
    version: str
    files: Mapping[str, str] = {}
    file_digest: str = DIGEST_PLACEHOLDER

    @model_validator(mode="before")
    @classmethod
    def _check_counts(cls, data: Any) -> Any:
        check_items(data, {"files": _MAX_FILES}, {"class_names": str, "thresholds": float})
        return data

    @model_validator(mode="after")
    def _check_consistency(self) -> ExportMetadata:
        if not 0 < self.image_size <= _MAX_IMAGE_SIZE:
            raise ValueError(f"image_size is {self.image_size}; expected 1 to {_MAX_IMAGE_SIZE}")
        if len(set(self.class_names)) != len(self.class_names) or not self.class_names:
            raise ValueError("class names are missing or not unique")
        if (self.task == MULTI_LABEL) != (self.thresholds is not None):
            raise ValueError("thresholds are expected for multi-label models, and for no others")
        if self.thresholds is not None and len(self.thresholds) != len(self.class_names):
            raise ValueError(f"expected {len(self.class_names)} thresholds, one per label")
        return self

    @classmethod
    def of_bundle(cls, bundle: ModelBundle, format: str, *, backbone: str | None = None) -> ExportMetadata:
        """Return the metadata of a bundle's export; for an ensemble, `backbone` names the members' backbones."""
        return cls(
            format=format,
            backbone=str(bundle.backbone.get("name", "")) if backbone is None else backbone,
            bundle=bundle.digest,
            version=metadata.version("transfer-cli"),
            **{name: getattr(bundle, name) for name in _OF_BUNDLE},
        )

    @classmethod
    def from_json(cls, text: str | bytes, source: object) -> ExportMetadata:
        """Return the metadata in `text`, which was read from `source`.

        Raises
        ------
        ModelError
            When the text is not valid metadata, or a newer version of transfer-cli wrote it.
        """
        try:
            # A file that is not UTF-8 may contain surrogates.
            data = parse_json(text.encode("utf-8", "replace") if isinstance(text, str) else text, most_bytes=MAX_BYTES)
            version = data["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"The transfer-cli metadata in {source} is not valid: {error}.") from None
        if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
            raise ModelError(
                f"{source} has format version {version}; this version of transfer-cli reads up to {FORMAT_VERSION}.",
                hint="Install a newer transfer-cli.",
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            reason = validation_summary(error)
            raise ModelError(f"The transfer-cli metadata in {source} is not valid: {reason}.") from None

    def json_text(self, *, file_digest: str = DIGEST_PLACEHOLDER) -> str:
        """Return the metadata as ASCII JSON; `file_digest` is empty where the file holds its digest elsewhere."""
        content = self.model_copy(update={"file_digest": file_digest}).model_dump(mode="json")
        return json.dumps(content, ensure_ascii=True)

    @property
    def labels_text(self) -> str:
        """The class names, one per line, in the order of the probabilities."""
        return "".join(f"{' '.join(name.splitlines())}\n" for name in self.class_names)
