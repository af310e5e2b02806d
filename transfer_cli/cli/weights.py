"""``transfer-cli weights``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._completion import complete_backbones
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import output_option
from transfer_cli.text import counted, megabytes

if TYPE_CHECKING:
    from transfer_cli.catalog.backbones import WeightsFile

_top = click.option(
    "--top",
    is_flag=True,
    help="Also the full ImageNet classifier and its class names (needed for `predict imagenet:NAME`).",
)
_size = click.option(
    "--size",
    type=click.IntRange(1),
    metavar="PIXELS",
    help="Input size in pixels; MobileNet v1/v2 have separate weights per size.",
)


def _names(required: bool) -> Callable[..., Any]:
    metavar = "NAME..." if required else "[NAME]..."
    return click.argument("names", nargs=-1, required=required, metavar=metavar, shell_complete=complete_backbones)


@click.group("weights", short_help="List, download, verify and copy pretrained weights.")
def command() -> None:
    """List, download and verify pretrained weights, or copy them to an offline machine."""


@command.command("list")
@_names(required=False)
@_top
@_size
@pass_console
def list_(console: Console, names: tuple[str, ...], top: bool, size: int | None) -> None:
    """List weights files, their size, and whether they are installed.

    Without NAME, all networks are listed. MB is the file size, estimated from the number of parameters if the file is
    not installed. The digest is the checksum published by Keras (MobileNet and MobileNetV2 have none); --json gives the
    full digest and the download address.

    \b
    Example:
        transfer-cli weights list
        transfer-cli weights list resnet50 --top
    """
    from transfer_cli.catalog import backbones
    from transfer_cli.models.weights.registry import cache_folder, weight_uses

    every = [name for name in backbones.names() if backbones.find(name).has_imagenet]
    data = [_to_json(file, weight_uses()) for file in _files(names or every, top, size)]
    rows = [
        (
            entry["backbone"] or "all",
            entry["file"],
            _megabytes(entry),
            f"{entry['algorithm']} {entry['digest'][:8]}..." if entry["digest"] else "unknown",
            "installed" if entry["installed"] else "missing",
        )
        for entry in data
    ]
    console.note(f"folder of the weights (Keras cache): {cache_folder()}")
    console.table(("network", "file", "MB", "digest", "state"), rows, data, numeric=("MB",))
    console.note("next: transfer-cli weights fetch NAME, or transfer-cli weights pack NAME -o weights.tar")


@command.command("fetch")
@_names(required=True)
@_top
@_size
@pass_console
def fetch(console: Console, names: tuple[str, ...], top: bool, size: int | None) -> None:
    """Download pretrained weights.

    Files are stored in the Keras cache (see: transfer-cli weights list), where all commands look for them. Intact files
    are kept, damaged ones are replaced. A download whose checksum is wrong is deleted, with exit code 4.

    \b
    Example:
        transfer-cli weights fetch resnet50 mobilenet@0.25
        transfer-cli weights fetch resnet50 --top
    """
    from transfer_cli.models.weights import download
    from transfer_cli.models.weights.registry import cache_folder

    files = _files(names, top, size)
    downloaded = download.fetch(files, offline=console.offline, progress=console)
    console.note(f"{counted(len(downloaded), 'file')} downloaded, {len(files) - len(downloaded)} already installed")
    data = [{"file": str(cache_folder() / file.name), "downloaded": file in downloaded} for file in files]
    console.result("\n".join(entry["file"] for entry in data if isinstance(entry["file"], str)), data)


@command.command("pack")
@_names(required=True)
@_top
@_size
@output_option("FILE.tar", "File to write.", required=True)
@pass_console
def pack(console: Console, names: tuple[str, ...], top: bool, size: int | None, output: Path) -> None:
    """Put weights into one tar file to copy to an offline machine.

    Missing weights are downloaded first. The tar file also contains a manifest with the SHA-256 checksum of each file.

    \b
    Example:
        transfer-cli weights pack resnet50 mobilenet_v2 -o weights.tar
    """
    from transfer_cli.models.weights import kit as weights_kit

    kit = weights_kit.pack(output, _files(names, top, size), offline=console.offline, progress=console)
    console.note(f"{counted(len(kit.files), 'file')}, {megabytes(output.stat().st_size)}")
    console.note(f"next, on the other machine: transfer-cli weights install {output.name}")
    console.output(output, **kit.model_dump())


@command.command("install")
@click.argument("kit", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE.tar")
@click.option("--overwrite", is_flag=True, help="Replace installed weights that differ.")
@pass_console
def install(console: Console, kit: Path, overwrite: bool) -> None:
    """Install weights from a file made by `weights pack` (offline).

    First all files are compared with the checksums in the tar file and with those published by Keras. If one is wrong,
    nothing is installed and the exit code is 4.

    \b
    Example:
        transfer-cli weights install weights.tar
    """
    from transfer_cli.models.weights import kit as weights_kit
    from transfer_cli.models.weights.registry import cache_folder

    installed = weights_kit.install(kit, overwrite=overwrite, progress=console)
    console.note(*(f"{file.name}: {state}" for file, state in installed))
    data = [{"file": file.name, "backbone": file.backbone, "state": state} for file, state in installed]
    console.result(str(cache_folder()), {"folder": str(cache_folder()), "files": data})


@command.command("verify")
@_names(required=False)
@pass_console
def verify(console: Console, names: tuple[str, ...]) -> None:
    """Check installed weights for damage.

    Without NAME, all installed files are checked. Each file is compared with the checksum published by Keras; a file
    without one is read completely and its number of parameters is compared with the network's. The exit code is 4 if a
    file is damaged or a NAME has no installed file.

    \b
    Example:
        transfer-cli weights verify
        transfer-cli weights verify resnet50
    """
    from transfer_cli.models.weights import integrity
    from transfer_cli.models.weights.registry import cache_folder

    checked = integrity.verify(names, progress=console)
    rows = [(item.file.name, item.state, item.reason) for item in checked]
    data = [{"file": item.file.name, "state": item.state, "reason": item.reason} for item in checked]
    if rows or console.json:
        console.table(("file", "state", "reason"), rows, data)
    else:
        console.note(f"no pretrained weights are installed in {cache_folder()}")
    integrity.require_intact(checked)


def _files(names: Sequence[str], top: bool, size: int | None) -> list[WeightsFile]:
    from transfer_cli.catalog.backbones import find
    from transfer_cli.models.weights.registry import files_of

    files = [file for name in names for file in files_of(find(name), top=top, size=size)]
    return list(dict.fromkeys(files))


def _megabytes(entry: dict[str, Any]) -> str:
    if entry["installed"]:
        return f"{entry['bytes'] / 1e6:.1f}"
    return f"about {entry['bytes_about'] / 1e6:.1f}" if entry["bytes_about"] else "unknown"


def _to_json(file: WeightsFile, weight_uses: Any) -> dict[str, Any]:
    from transfer_cli.models.weights.registry import cache_folder, is_installed

    use = weight_uses[file.name][1] if file.name in weight_uses else None
    installed, path = is_installed(file), cache_folder() / file.name
    return {
        "backbone": use.spec.name if use else None,
        "file": file.name,
        "top": use.top if use else None,
        "installed": installed,
        "path": str(path) if installed else None,
        "bytes": path.stat().st_size if installed else None,
        "bytes_about": use.numbers * 4 if use else None,
        "algorithm": file.algorithm if file.digest else None,
        "digest": file.digest,
        "url": file.url,
    }
