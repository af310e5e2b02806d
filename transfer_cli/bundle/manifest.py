"""The manifest of a bundle, bundle.json: where it is, how it is read and written, and the digests in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transfer_cli.bundle.features_only import features_only_hint, is_features_only
from transfer_cli.bundle.files import MANIFEST
from transfer_cli.bundle.repeats_folder import check_single_run
from transfer_cli.catalog.backbones import not_exported_hint
from transfer_cli.errors import MissingModelError, ModelError
from transfer_cli.io.digests import FileDigest, digest_of_file, has_digest
from transfer_cli.io.untrusted.json_text import parse_json
from transfer_cli.text import shell_command

FORMAT_VERSION = 6
MAX_BYTES = 16_000_000
"""Maximum size of a manifest; 100,000 class names need less."""
_LONE_BYTE = "\\udc"
"""How JSON begins a byte of a name that was not valid text (surrogateescape)."""
_EXPORT_SUFFIXES = (".keras", ".onnx", ".tflite", ".xml")


def bundle_directory(path: Path) -> Path:
    """Return the folder of the bundle at `path`, which is a bundle or a run; raise ModelError if there is none."""
    if (path / "model" / MANIFEST).is_file():
        return path / "model"
    if (path / MANIFEST).is_file():
        return path
    if not path.exists():
        raise MissingModelError.of("run or bundle", path)
    if path.is_file() and path.suffix.lower() in _EXPORT_SUFFIXES and not has_digest(path):
        raise ModelError(
            f"{path} was not written by transfer-cli export, or was altered. Expected a run or a bundle.",
            hint=not_exported_hint(path),
        )
    if path.suffix.lower() in _EXPORT_SUFFIXES or (path / "parity.json").is_file():
        raise ModelError(
            f"{path} is an exported model. Expected a run or a bundle; of all commands only predict reads exports.",
            hint=f"transfer-cli predict {shell_command(str(path if path.is_file() else path / 'model.onnx'))} IMAGES",
        )
    if path.is_file() and path.suffix.lower() == ".zip":
        raise ModelError(
            f"{path} is a packed bundle. Expected a run or an unpacked bundle.",
            hint=f"Unpack it first: transfer-cli bundle unpack {shell_command(path)} -o {shell_command(path.stem)}",
        )
    if is_features_only(path):
        raise ModelError(
            f"The run {path} has features, but no model: extract was given --classifier none.",
            hint=features_only_hint(path),
        )
    if (path / "recipe.toml").is_file():
        raise ModelError(
            f"The run {path} has no model: training did not finish, or missed --min-accuracy.",
            hint=f"To resume training, run the command in {path / 'command.txt'}.",
        )
    check_single_run(path)
    raise MissingModelError(
        f"{path} is neither a run nor a bundle: there is no {MANIFEST} in it or in its folder model.",
        hint="Give the folder that a training command wrote, such as runs/NAME, before the images.",
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the content of a manifest; raise ModelError if it is damaged or has another format version."""
    try:
        if path.is_symlink():
            raise ValueError("it is a link")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ValueError(f"it has {size:,} bytes. Expected {MAX_BYTES:,} at most")
        text = path.read_bytes()
        data: dict[str, Any] = parse_json(text, most_bytes=MAX_BYTES)
        version = data["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from None
    if type(version) is not int or version != FORMAT_VERSION:
        raise _other_version(path.parent, version, data.get("versions"))
    # White space and escape sequences are not part of the digest, so the text is compared as well.
    if digest_of_manifest(data) != data.get("digest") or manifest_text(data) != text.decode("utf-8", "surrogateescape"):
        raise ModelError(f"{path} was altered: its digest does not match its content. Use an unaltered copy.")
    return data


def manifest_text(data: Mapping[str, Any]) -> str:
    """Return a manifest as the one text in which it is stored."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def digest_of_manifest(data: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest without its own digest."""
    rest = {key: value for key, value in data.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, ensure_ascii=True)
    if _LONE_BYTE in text:
        # Under a locale other than UTF-8, a letter of a name is several lone bytes; in the file it is a letter again.
        stored = json.dumps(rest, ensure_ascii=False).encode("utf-8", "surrogateescape")
        text = json.dumps(json.loads(stored.decode("utf-8", "surrogateescape")), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def verify_file(directory: Path, name: str, expected: FileDigest) -> None:
    """Raise ModelError unless a file has the size and the SHA-256 in the manifest."""
    path = directory / name
    if path.is_symlink() or not path.is_file():
        raise ModelError(f"{path} is missing. Copy the whole folder {directory.name}, not single files.")
    # The size first: no digest is computed of a file that is too large.
    if path.stat().st_size != expected.bytes or digest_of_file(path) != expected:
        raise ModelError(f"{path} was altered: its SHA-256 is not the one in {MANIFEST}. Use an unaltered copy.")


def _other_version(bundle: Path, version: object, versions: object) -> ModelError:
    expected = f"this release reads format version {FORMAT_VERSION}"
    if type(version) is not int or version < 1:
        return ModelError(f"{bundle} has an invalid format version, {str(version)[:80]!r}; {expected}.")
    if version > FORMAT_VERSION:
        hint = "Install a newer release of transfer-cli."
        return ModelError(f"{bundle} has format version {version}; {expected}.", hint=hint)
    wrote = versions.get("transfer-cli") if isinstance(versions, dict) else None
    release = f"transfer-cli {wrote}" if isinstance(wrote, str) else "the release of transfer-cli"
    return ModelError(
        f"{bundle} was written by an older release (format version {version}); {expected}.",
        hint=f"Train the model again, or install {release[:40]} that wrote it.",
    )
