"""``transfer-cli bundle`` as users run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.hostile_files import reseal
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.cli.main import main


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.mark.parametrize("kind", ["trained", "finetuned"])
def test_bundle_show_lists_classes_and_files(kind: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(kind)
    bundle, directory = ModelBundle.read(run)
    result = invoke("bundle", "show", run)
    assert result.exit_code == 0, result.stderr
    lines = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    assert lines["classes"].strip() == "3: blue, green, red"
    assert lines["digest"].strip() == bundle.digest
    assert lines["backbone"].strip().startswith("name mobilenet@0.25, weights none")
    for name, file in bundle.files.items():
        assert lines[name].strip() == f"{file.bytes:,} bytes, sha256 {file.sha256}"
    data = json.loads(invoke("--json", "bundle", "show", directory).stdout)
    assert (data["bundle"], data["digest"], data["image_size"]) == (str(directory), bundle.digest, 32)
    assert data["class_names"] == ["blue", "green", "red"]


def test_bundle_show_escapes_control_characters(copy_of_trained: Path) -> None:
    reseal(copy_of_trained / "model", class_names=["\x1b[2J", "green", "red"])
    assert "\x1b" not in invoke("bundle", "show", copy_of_trained).stdout


def test_bundle_verify_intact_model_is_ok(copy_of_trained: Path) -> None:
    (copy_of_trained / "model/notes.txt").write_text("mine")
    result = invoke("bundle", "verify", copy_of_trained)
    bundle, directory = ModelBundle.read(copy_of_trained)
    assert (result.exit_code, result.stdout) == (0, f"ok: {directory}, 7 files, sha256 {bundle.digest}\n"), (
        result.stderr
    )
    assert f"warning: {directory}/notes.txt is not part of the model and is ignored" in result.stderr
    data = json.loads(invoke("--json", "bundle", "verify", copy_of_trained).stdout)
    assert (data["ok"], data["unknown_files"], len(data["grey_image"]["files"])) == (True, ["notes.txt"], 4)


@pytest.mark.parametrize(
    "arguments", [["bundle", "verify"], ["bundle", "show"], ["bundle", "pack"], ["predict"], ["evaluate"], ["explain"]]
)
@pytest.mark.parametrize("name", ["bundle.json", "graph.tflite", "MODEL_CARD.md"])
def test_changed_byte_exits_with_4(arguments: list[str], name: str, copy_of_trained: Path, colours: Path) -> None:
    path = copy_of_trained / "model" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    result = invoke(*arguments, copy_of_trained, *([colours] if arguments[0] != "bundle" else []))
    assert (result.exit_code, result.stdout) == (4, "")
    assert f"{name} was altered" in result.stderr or f"{name} cannot be read" in result.stderr


def test_bundle_pack_then_unpack_is_same_model(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("bundle", "pack", trained)
    assert (result.exit_code, result.stdout) == (0, "colours.zip\n"), result.stderr
    result = invoke("bundle", "unpack", "colours.zip", "-o", "again")
    assert (result.exit_code, result.stdout) == (0, "again\n"), result.stderr
    same = invoke("bundle", "unpack", "colours.zip", "-o", "again")
    assert (same.exit_code, same.stdout) == (0, "again\n"), same.stderr
    Path("again/MODEL_CARD.md").unlink()
    assert invoke("bundle", "unpack", "colours.zip", "-o", "again").exit_code == 3
    assert invoke("bundle", "unpack", "colours.zip", "-o", "again", "--overwrite").exit_code == 0
    assert ModelBundle.read(Path("again"))[0] == ModelBundle.read(trained)[0]
