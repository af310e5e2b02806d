"""``transfer-cli weights``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import complete_backbones

if TYPE_CHECKING:
    from transfer_cli.catalog.backbones import WeightsFile

_top = click.option("--top", is_flag=True, help="Also the file with the top, and the names of the 1000 classes.")
_size = click.option(
    "--size", type=click.IntRange(1), metavar="PIXELS", help="Of the pictures; MobileNets have weights for several."
)


def _names(required: bool) -> Callable[..., Any]:
    metavar = "NAME..." if required else "[NAME]..."
    return click.argument("names", nargs=-1, required=required, metavar=metavar, shell_complete=complete_backbones)


@click.group("weights")
def command() -> None:
    """See, bring and check the ImageNet weights, and carry them to a machine without a network."""


@command.command("list")
@_names(required=False)
@_top
@_size
@click.pass_context
def list_(ctx: click.Context, names: tuple[str, ...], top: bool, size: int | None) -> None:
    """List the files of weights that backbones need, and whether they are here.

    Without a NAME: of all backbones. MB is the size of the file where it is here, and about that of its numbers where
    it is not. The digest is the one that Keras knows (none for MobileNet and MobileNetV2); --json has all of it, and
    the address.

    \b
    Example:
        transfer-cli weights list
        transfer-cli weights list resnet50 --top
    """
    from transfer_cli.catalog import backbones
    from transfer_cli.models.weights.registry import cache_folder, uses

    console = ctx.ensure_object(Console)
    every = [name for name in backbones.names() if backbones.find(name).has_imagenet]
    facts = [_facts(file, uses()) for file in _files(names or every, top, size)]
    rows = [
        (
            fact["backbone"] or "all",
            fact["file"],
            _megabytes(fact),
            f"{fact['algorithm']} {fact['digest'][:8]}..." if fact["digest"] else "not known",
            "here" if fact["here"] else "not here",
        )
        for fact in facts
    ]
    console.note(f"Keras's cache: {cache_folder()}")
    console.table(("name", "file", "MB", "digest", "where"), rows, facts)
    console.note("next: transfer-cli weights fetch NAME, or transfer-cli weights pack NAME -o weights.tar")


@command.command("fetch")
@_names(required=True)
@_top
@_size
@click.pass_context
def fetch(ctx: click.Context, names: tuple[str, ...], top: bool, size: int | None) -> None:
    """Download weights into Keras's cache, where every command looks for them.

    A file that is here and whole is left, a damaged one is replaced. What arrives is compared with Keras's digest where
    there is one; what is not the file is thrown away, with exit code 4.

    \b
    Example:
        transfer-cli weights fetch resnet50 mobilenet@0.25
        transfer-cli weights fetch resnet50 --top
    """
    from transfer_cli.models.weights import download
    from transfer_cli.models.weights.registry import cache_folder

    console = ctx.ensure_object(Console)
    files = _files(names, top, size)
    brought = download.fetch(files, offline=console.offline, progress=console)
    console.note(f"{len(brought)} downloaded, {len(files) - len(brought)} here already")
    facts = [{"file": str(cache_folder() / file.name), "downloaded": file in brought} for file in files]
    console.result("\n".join(fact["file"] for fact in facts if isinstance(fact["file"], str)), facts)


@command.command("pack")
@_names(required=True)
@_top
@_size
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.tar", help="The kit to write."
)
@click.pass_context
def pack(ctx: click.Context, names: tuple[str, ...], top: bool, size: int | None, output: Path) -> None:
    """Write weights into one file, a kit, for a machine without a network.

    What is not here is downloaded first. The kit is a tar of the files and a manifest with their SHA-256.

    \b
    Example:
        transfer-cli weights pack resnet50 mobilenet_v2 -o weights.tar
    """
    from transfer_cli.cli._summaries import megabytes
    from transfer_cli.models.weights import kit as weights_kit

    console = ctx.ensure_object(Console)
    kit = weights_kit.pack(output, _files(names, top, size), offline=console.offline, progress=console)
    console.note(f"{len(kit.files)} files, {megabytes(output.stat().st_size)}")
    console.note(f"next, on the other machine: transfer-cli weights install {output.name}")
    console.result(str(output), {"output": str(output), **kit.model_dump()})


@command.command("install")
@click.argument("kit", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE.tar")
@click.option("--overwrite", is_flag=True, help="Replace weights that are here and differ.")
@click.pass_context
def install(ctx: click.Context, kit: Path, overwrite: bool) -> None:
    """Put the weights of a kit where every command looks for them; no network is needed.

    All of the kit is checked before any of it is put in place: against its manifest, and against Keras's digests where
    there are some. Exit code 4 where something in it is not what it should be.

    \b
    Example:
        transfer-cli weights install weights.tar
    """
    from transfer_cli.models.weights import kit as weights_kit
    from transfer_cli.models.weights.registry import cache_folder

    console = ctx.ensure_object(Console)
    done = weights_kit.install(kit, overwrite=overwrite, progress=console)
    for item in done:
        console.note(f"{item.file.name}: {item.state}")
    facts = [{"file": item.file.name, "backbone": item.file.backbone, "state": item.state} for item in done]
    console.result(str(cache_folder()), {"folder": str(cache_folder()), "files": facts})


@command.command("verify")
@_names(required=False)
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Check the weights in Keras's cache, all of them or those of some backbones.

    A file is compared with Keras's digest; where there is none, all of it has to be readable, with no fewer numbers
    than the network has. Exit code 4 where one is damaged, or none is here of a NAME.

    \b
    Example:
        transfer-cli weights verify
        transfer-cli weights verify resnet50
    """
    from transfer_cli.models.weights import integrity
    from transfer_cli.models.weights.registry import cache_folder

    console = ctx.ensure_object(Console)
    with console.track(f"reading {cache_folder()}", None):
        found = integrity.verify(names)
    rows = [(item.file.name, item.state, item.reason) for item in found]
    facts = [{"file": item.file.name, "state": item.state, "reason": item.reason} for item in found]
    if rows or console.json:
        console.table(("file", "state", "why"), rows, facts)
    else:
        console.note(f"there are no ImageNet weights in {cache_folder()}")
    integrity.must_be_good(found)


def _files(names: Sequence[str], top: bool, size: int | None) -> list[WeightsFile]:
    from transfer_cli.catalog.backbones import find
    from transfer_cli.models.weights.registry import files_of

    files = [file for name in names for file in files_of(find(name), top=top, size=size)]
    return list(dict.fromkeys(files))


def _megabytes(fact: dict[str, Any]) -> str:
    if fact["here"]:
        return f"{fact['bytes'] / 1e6:.1f}"
    return f"about {fact['bytes_about'] / 1e6:.1f}" if fact["bytes_about"] else "not known"


def _facts(file: WeightsFile, uses: Any) -> dict[str, Any]:
    from transfer_cli.models.weights.registry import cache_folder, is_here

    use = uses[file.name][1] if file.name in uses else None
    here, path = is_here(file), cache_folder() / file.name
    return {
        "backbone": use.spec.name if use else None,
        "file": file.name,
        "top": use.top if use else None,
        "here": here,
        "path": str(path) if here else None,
        "bytes": path.stat().st_size if here else None,
        "bytes_about": use.numbers * 4 if use else None,
        "algorithm": file.algorithm if file.digest else None,
        "digest": file.digest,
        "url": file.url,
    }
