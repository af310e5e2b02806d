"""``transfer-cli bundle``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._completion import complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import output_option
from transfer_cli.cli._types import PATH
from transfer_cli.text import counted, listed, printable, shell_command

_argument = click.argument("bundle", metavar="RUN|BUNDLE", type=PATH, shell_complete=complete_models)


@click.group("bundle")
def command() -> None:
    """Inspect, verify, zip (pack) or unzip a trained model.

    RUN is the folder that a training command wrote, BUNDLE the model folder in it.
    """


@command.command("show")
@_argument
@pass_console
def show(console: Console, /, bundle: Path) -> None:
    """Show a model's classes, settings, versions and files.

    The checksums of the files are verified first; a damaged model gives exit code 4.

    \b
    Example:
        transfer-cli bundle show runs/first
    """
    from transfer_cli.bundle.bundle import ModelBundle

    opened = ModelBundle.open(bundle)
    data = opened.bundle.to_dict()
    rows = _rows(data, [member.bundle.to_dict() for member in opened.members])
    width = max(len(name) for name, _ in rows)
    text = "\n".join(printable(f"{name:{width}}  {value}") for name, value in rows)
    console.result(text, {"bundle": str(opened.directory), **data})
    console.note(f"next: transfer-cli bundle verify {shell_command(bundle)}")


@command.command("verify")
@_argument
@pass_console
def verify_(console: Console, /, bundle: Path) -> None:
    """Verify a model: checksums, file contents, a test prediction.

    Each file is checked as an untrusted file, then the model is loaded and predicts a plain grey image. Any error gives
    exit code 4 and the reason. Files in the folder that are not part of the model are listed.

    \b
    Example:
        transfer-cli bundle verify runs/first
    """
    from transfer_cli.inference.verify_bundle import bundle_files, unlisted_files, verify

    verified = verify(bundle, console)
    directory, digest = verified.opened.directory, verified.opened.bundle.digest
    files, unlisted = bundle_files(verified.opened), unlisted_files(verified.opened)
    console.warn(*(f"{directory / name} is not part of the model and is ignored" for name in unlisted))
    console.note(f"prediction for a grey image: {verified.label}, confidence {verified.confidence:.3f}")
    console.note(f"computed in each of these ways: {'; '.join(verified.computed_by)}")
    data = {
        "bundle": str(directory),
        "ok": True,
        "digest": digest,
        "files": list(files),
        "unknown_files": list(unlisted),
        "grey_image": {"label": verified.label, "confidence": verified.confidence, "files": list(verified.computed_by)},
    }
    console.result(f"ok: {directory}, {counted(len(files), 'file')}, sha256 {digest}", data)


@command.command("pack")
@_argument
@output_option("FILE.zip", "File to write.  [RUN.zip in this folder]")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@pass_console
def pack_(console: Console, /, bundle: Path, output: Path | None, overwrite: bool) -> None:
    """Zip a trained model into one file (same model, same bytes).

    \b
    Example:
        transfer-cli bundle pack runs/first -o first.zip
    """
    from transfer_cli.inference.bundle_archive import pack
    from transfer_cli.io.digests import digest_of_file

    target = pack(bundle, output, overwrite=overwrite, progress=console)
    digest = digest_of_file(target)
    console.note(f"{digest.bytes:,} bytes, sha256 {digest.sha256}")
    console.note("to let others verify the file, send them this checksum separately")
    console.note(f"next: transfer-cli bundle unpack {shell_command(target)} -o DIR")
    console.output(target, **digest.model_dump())


@command.command("unpack")
@click.argument("file", metavar="FILE.zip", type=PATH)
@output_option("DIR", "Folder to write (new).", required=True)
@click.option("--overwrite", is_flag=True, help="Replace another model in DIR.")
@pass_console
def unpack_(console: Console, /, file: Path, output: Path, overwrite: bool) -> None:
    """Unzip a packed model after checking it.

    The file is treated as untrusted: all its contents are checked and no code in it is run. Any error gives exit code 4
    and nothing is written. If DIR has this model already, it stays as it is.

    \b
    Example:
        transfer-cli bundle unpack first.zip -o first
    """
    from transfer_cli.bundle.bundle import ModelBundle
    from transfer_cli.inference.bundle_archive import unpack
    from transfer_cli.inference.verify_bundle import bundle_files

    bundle = unpack(file, output, overwrite=overwrite, progress=console)
    files = bundle_files(ModelBundle.open(output)) if bundle.members else sorted(bundle.files)
    console.note(f"{counted(len(files), 'file')}, sha256 {bundle.digest}")
    console.note(f"next: transfer-cli predict {shell_command(output)} YOUR_IMAGES --format table")
    console.output(output, digest=bundle.digest, files=files)


def _rows(manifest: Mapping[str, Any], members: Sequence[Mapping[str, Any]] = ()) -> list[tuple[str, str]]:
    """Return the properties of a bundle as rows of name and text."""
    temperature = manifest["temperature"]
    rows = [
        ("kind", f"{manifest['kind']}, {manifest['task']}, format {manifest['format_version']}"),
        ("classes", f"{len(manifest['class_names'])}: {listed(manifest['class_names'], 40)}"),
        ("images", f"{manifest['image_size']} x {manifest['image_size']}, {manifest['resize']}, {manifest['decoder']}"),
        *([("backbone", _as_text(manifest["backbone"]))] if manifest["backbone"] else []),
        *_rows_of_tables(manifest["recipe"].get("classes", {})),
        *((name, _as_text(value)) for name, value in manifest["recipe"].items() if name != "classes"),
        ("temperature", "none (probabilities are not calibrated)" if temperature is None else f"{temperature:.4g}"),
    ]
    for number, (member, own) in enumerate(zip(manifest["members"], members, strict=True), start=1):
        name = own["backbone"].get("name", f"{len(own['members'])} models")
        text = f"{member['name']}: {own['kind']}, {name}, {own['image_size']} x {own['image_size']}, {own['resize']}"
        rows.append((f"member {number:02}", f"{text}, weight {member['weight']:.3g}, sha256 {member['digest']}"))
    if manifest["thresholds"]:
        rows.append(("thresholds", ", ".join(f"{value:.3g}" for value in manifest["thresholds"])))
    rows.append(("versions", _as_text(manifest["versions"])))
    rows += [(name, f"{file['bytes']:,} bytes, sha256 {file['sha256']}") for name, file in manifest["files"].items()]
    return [*rows, ("digest", manifest["digest"])]


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_as_text(item)}" for name, item in value.items())
    is_names = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return "; ".join(value) if is_names else str(value)


def _rows_of_tables(classes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the class map changed, and the digest of the list of omitted images."""
    from transfer_cli.data.class_map import ClassMap

    if targets := classes.get("map"):
        yield "class map", f"{ClassMap.of('', targets).summary()}, sha256 {classes.get('map_sha256')}"
    if digest := classes.get("omit_sha256"):
        yield "omitted images", f"sha256 {digest}"
