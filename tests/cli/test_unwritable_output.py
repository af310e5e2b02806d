"""Whether the output can be written is tested before the work, in every command with -o."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.test_language import COMMANDS
from transfer_cli.cli.main import main
from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import check_writable, check_writable_folder

FILES = {
    "predict {trained} {colours} -o {out}.csv": ".csv",
    "similar {trained} {colours} -o {out}.csv": ".csv",
    "similar {trained} {colours} --sheet {out}.png": ".png",
    "leaks {trained} -o {out}.csv": ".csv",
    "map {trained} -o {out}.png": ".png",
    "report {trained} -o {out}.html": ".html",
    "inspect {trained} --filters -o {out}.png": ".png",
    "lr-find {colours} -o {out}.png": ".png",
    "learning-curve {colours} -o {out}.png": ".png",
    "rank {colours} --layers -o {out}.png": ".png",
    "preview {colours} -o {out}.png": ".png",
    "data split {colours} -o {out}.csv": ".csv",
    "bundle pack {trained} -o {out}.zip": ".zip",
    "weights pack mobilenet -o {out}.tar": ".tar",
}
FOLDERS = (
    "extract {colours} --backbone embedded -o {out}",
    "finetune {colours} --backbone embedded -o {out}",
    "extract {colours} --backbone embedded --bags 2 -o {out}",
    "extract {colours} --backbone embedded --repeats 2 -o {out}",
    "auto {colours} -o {out}",
    "rank {colours} --among embedded -o {out}",
    "ensemble {trained} {second} -o {out}",
    "data check {colours} --no-probe -o {out}",
    "data split {colours} -o {out}",
    "evaluate {trained} {colours} -o {out}",
    "explain {trained} {colours} -o {out}",
    "export {trained} -o {out}",
    "bundle unpack {zip} -o {out}",
)


@pytest.fixture(scope="module")
def places(trained: Path, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return what the commands read: two runs, images and a packed bundle."""
    from shutil import copytree

    from transfer_cli.inference.bundle_archive import pack

    folder = tmp_path_factory.mktemp("read")
    second = copytree(trained, folder / "second")
    return {"trained": trained, "second": second, "colours": colours, "zip": pack(trained, folder / "bundle.zip")}


def refused(command: str, out: Path, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a command that must not begin its work; return what it printed."""
    for module in ("tensorflow", "openTSNE", "ai_edge_litert"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it is an error
    result = CliRunner().invoke(main, [word.format(out=out, **places) for word in command.split()])
    assert (result.exit_code, result.stdout) == (3, ""), result.stderr
    assert result.stderr.count("error: ") == 1
    return str(result.stderr)


def test_every_command_with_an_output_is_here() -> None:
    with_output = {path for path, (_, each) in COMMANDS.items() if any("-o" in param.opts for param in each.params)}
    tested = {" ".join(["transfer-cli", *command.split()]) for command in (*FILES, *FOLDERS)}
    assert {path for path in with_output if not any(each.startswith(path + " ") for each in tested)} == set()


@pytest.mark.parametrize("command", [*FILES, *FOLDERS])
def test_output_below_a_file_is_refused(
    command: str, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "new" / "out"
    assert "file is a file. Expected a folder." in refused(command, out, places, monkeypatch)
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


@pytest.mark.parametrize("command", FILES)
def test_folder_where_a_file_is_to_be_is_refused(
    command: str, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / f"out{FILES[command]}"
    out.mkdir()
    printed = refused(command, out.with_suffix(""), places, monkeypatch)
    assert f"{out} is a folder. Expected the name of a file" in printed or f"{out} already exists." in printed


@pytest.mark.parametrize("command", FOLDERS)
def test_file_where_a_folder_is_to_be_is_refused(
    command: str, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_text("mine")
    printed = refused(command, tmp_path / "out", places, monkeypatch)
    assert f"{tmp_path / 'out'} is a file. Expected" in printed or f"{tmp_path / 'out'} already exists" in printed
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("command", [*FILES, *FOLDERS])
def test_read_only_folder_is_refused(
    command: str, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    out = tmp_path / "locked" / "new" / "out"
    assert "could not be written: Permission denied." in refused(command, out, places, monkeypatch)


def test_check_writable_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "deep" / "a.csv")
    check_writable_folder(tmp_path / "new" / "deep")
    check_writable_folder(tmp_path, is_replaced=True)
    assert [*tmp_path.iterdir()] == []


def test_check_writable_read_only_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.touch(mode=0o444)
    with pytest.raises(OutputError, match="is read-only"):
        check_writable(path)


def test_check_writable_folder_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "nothing")
    with pytest.raises(OutputError, match="is a file"):
        check_writable_folder(tmp_path / "out")
