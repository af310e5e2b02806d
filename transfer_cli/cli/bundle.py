"""``transfer-cli bundle``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.text import printable

_PATH = click.Path(path_type=Path)


@click.group("bundle")
def command() -> None:
    """Look at a model, or make it one file that can be sent."""


@command.command("show")
@click.argument("bundle", metavar="RUN|BUNDLE", type=_PATH)
@click.pass_context
def show(ctx: click.Context, /, bundle: Path) -> None:
    """Say what a model is: its classes, what it was made with, its files.

    Their digests are compared with the manifest first: a damaged model ends with exit code 4.

    \b
    Example:
        transfer-cli bundle show runs/first
    """
    from transfer_cli.bundle.bundle import ModelBundle

    console = ctx.ensure_object(Console)
    opened = ModelBundle.open(bundle)
    found, directory = opened.bundle, opened.directory
    rows = _rows(found.to_dict(), [member.bundle.to_dict() for member in opened.members])
    width = max(len(name) for name, _ in rows)
    text = "\n".join(printable(f"{name:{width}}  {value}") for name, value in rows)
    console.result(text, {"bundle": str(directory), **found.to_dict()})
    console.note(f"next: transfer-cli bundle verify {bundle}")


@command.command("verify")
@click.argument("bundle", metavar="RUN|BUNDLE", type=_PATH)
@click.pass_context
def verify_(ctx: click.Context, /, bundle: Path) -> None:
    """Check all of a model: digests, each file's contents, and whether it predicts.

    Each file is looked at as if a stranger had sent it, then all are loaded and asked about a grey picture. Anything
    wrong ends with exit code 4 and the reason. What lies in the folder without belonging to the model is told.

    \b
    Example:
        transfer-cli bundle verify runs/first
    """
    from transfer_cli.inference.verify_bundle import verify

    console = ctx.ensure_object(Console)
    found = verify(bundle, console)
    for name in found.others:
        console.warn(f"{found.directory / name} does not belong to the model: nothing reads it")
    console.note(f"a grey picture: {found.label}, {found.confidence:.3f}, by each of: {'; '.join(found.ways)}")
    facts = {
        "bundle": str(found.directory),
        "ok": True,
        "digest": found.bundle.digest,
        "files": sorted(found.files),
        "others": list(found.others),
        "grey": {"label": found.label, "confidence": found.confidence, "by": list(found.ways)},
    }
    console.result(f"ok: {found.directory}, {len(found.files)} files, sha256 {found.bundle.digest}", facts)


@command.command("pack")
@click.argument("bundle", metavar="RUN|BUNDLE", type=_PATH)
@click.option("-o", "--output", type=_PATH, metavar="FILE.zip", help="[NAME.zip here, by the name of the run]")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@click.pass_context
def pack_(ctx: click.Context, /, bundle: Path, output: Path | None, overwrite: bool) -> None:
    """Make a model one file. The same model gives the same bytes.

    \b
    Example:
        transfer-cli bundle pack runs/first -o first.zip
    """
    from transfer_cli.inference.bundle_archive import pack
    from transfer_cli.io.digests import digest_of_file

    console = ctx.ensure_object(Console)
    target = pack(bundle, output, overwrite=overwrite)
    digest = digest_of_file(target)
    console.note(f"{digest.bytes:,} bytes, sha256 {digest.sha256}: send the digest by another way")
    console.note(f"next: transfer-cli bundle unpack {target} -o DIR")
    console.result(str(target), {"output": str(target), **digest.model_dump()})


@command.command("unpack")
@click.argument("file", metavar="FILE.zip", type=_PATH)
@click.option("-o", "--output", type=_PATH, metavar="DIR", required=True, help="A folder that is not there yet.")
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
@click.pass_context
def unpack_(ctx: click.Context, /, file: Path, output: Path, overwrite: bool) -> None:
    """Make a folder of a model that was packed, if nothing is wrong with it.

    The file is taken for one that a stranger made; nothing of it is run. Anything wrong ends with exit code 4, and
    nothing is left of it.

    \b
    Example:
        transfer-cli bundle unpack first.zip -o first
    """
    from transfer_cli.bundle.bundle import ModelBundle
    from transfer_cli.inference.bundle_archive import unpack
    from transfer_cli.inference.verify_bundle import models_files

    console = ctx.ensure_object(Console)
    bundle = unpack(file, output, overwrite=overwrite)
    files = models_files(ModelBundle.open(output)) if bundle.members else sorted(bundle.files)
    console.note(f"{len(files)} files, sha256 {bundle.digest}")
    console.note(f"next: transfer-cli predict {output} YOUR_PICTURES --format table")
    console.result(str(output), {"output": str(output), "digest": bundle.digest, "files": files})


def _rows(facts: Mapping[str, Any], members: Sequence[Mapping[str, Any]] = ()) -> list[tuple[str, str]]:
    """Return what a person is told of a bundle, each with its name."""
    temperature = facts["temperature"]
    rows = [
        ("kind", f"{facts['kind']}, {facts['task']}, format {facts['format_version']}"),
        ("classes", f"{len(facts['class_names'])}: {', '.join(facts['class_names'])}"),
        ("images", f"{facts['image_size']} x {facts['image_size']}, {facts['resize']}, {facts['decoder']}"),
        *([("backbone", _in_words(facts["backbone"]))] if facts["backbone"] else []),
        *((word, _in_words(value)) for word, value in facts["recipe"].items()),
        ("temperature", "none: probabilities are left as they are" if temperature is None else f"{temperature:.4g}"),
    ]
    for number, (member, own) in enumerate(zip(facts["members"], members, strict=True), start=1):
        name = own["backbone"].get("name", f"{len(own['members'])} models")
        said = f"{member['name']}: {own['kind']}, {name}, {own['image_size']} x {own['image_size']}, {own['resize']}"
        rows.append((f"member {number:02}", f"{said}, weight {member['weight']:.3g}, sha256 {member['digest']}"))
    if facts["thresholds"]:
        rows.append(("thresholds", ", ".join(f"{value:.3g}" for value in facts["thresholds"])))
    rows.append(("versions", _in_words(facts["versions"])))
    rows += [(name, f"{file['bytes']:,} bytes, sha256 {file['sha256']}") for name, file in facts["files"].items()]
    return [*rows, ("digest", facts["digest"])]


def _in_words(value: Any) -> str:
    return ", ".join(f"{name} {word}" for name, word in value.items()) if isinstance(value, Mapping) else str(value)
