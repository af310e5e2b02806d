"""``transfer-cli bundle`` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.hostile_files import reseal
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.cli.main import main


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


@pytest.mark.parametrize("kind", ["trained", "finetuned"])
def test_show(kind: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(kind)
    bundle, directory = ModelBundle.read(run)
    done = invoke("bundle", "show", run)
    assert done.exit_code == 0, done.stderr
    lines = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert lines["classes"].strip() == "3: blue, green, red"
    assert lines["digest"].strip() == bundle.digest
    assert lines["backbone"].strip().startswith("name mobilenet@0.25, weights none")
    for name, file in bundle.files.items():
        assert lines[name].strip() == f"{file.bytes:,} bytes, sha256 {file.sha256}"
    facts = json.loads(invoke("--json", "bundle", "show", directory).stdout)
    assert (facts["bundle"], facts["digest"], facts["image_size"]) == (str(directory), bundle.digest, 32)
    assert facts["class_names"] == ["blue", "green", "red"]


def test_what_a_bundle_says_cannot_move_the_cursor(copy_of_trained: Path) -> None:
    reseal(copy_of_trained / "model", class_names=["\x1b[2J", "green", "red"])
    assert "\x1b" not in invoke("bundle", "show", copy_of_trained).stdout


def test_verify(copy_of_trained: Path) -> None:
    (copy_of_trained / "model/notes.txt").write_text("mine")
    done = invoke("bundle", "verify", copy_of_trained)
    bundle, directory = ModelBundle.read(copy_of_trained)
    assert (done.exit_code, done.stdout) == (0, f"ok: {directory}, 7 files, sha256 {bundle.digest}\n"), done.stderr
    assert f"warning: {directory}/notes.txt does not belong to the model: nothing reads it" in done.stderr
    facts = json.loads(invoke("--json", "bundle", "verify", copy_of_trained).stdout)
    assert (facts["ok"], facts["others"], len(facts["grey"]["by"])) == (True, ["notes.txt"], 4)


@pytest.mark.parametrize(
    "words", [["bundle", "verify"], ["bundle", "show"], ["bundle", "pack"], ["predict"], ["evaluate"], ["explain"]]
)
@pytest.mark.parametrize("name", ["bundle.json", "graph.tflite", "MODEL_CARD.md"])
def test_a_changed_byte_ends_with_4(words: list[str], name: str, copy_of_trained: Path, colours: Path) -> None:
    path = copy_of_trained / "model" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    done = invoke(*words, copy_of_trained, *([colours] if words[0] != "bundle" else []))
    assert (done.exit_code, done.stdout) == (4, "")
    assert f"{name} was altered" in done.stderr or f"{name} cannot be read" in done.stderr


def test_pack_and_unpack(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("bundle", "pack", trained)
    assert (done.exit_code, done.stdout) == (0, "colours.zip\n"), done.stderr
    done = invoke("bundle", "unpack", "colours.zip", "-o", "again")
    assert (done.exit_code, done.stdout) == (0, "again\n"), done.stderr
    assert invoke("bundle", "unpack", "colours.zip", "-o", "again").exit_code == 3
    assert ModelBundle.read(Path("again"))[0] == ModelBundle.read(trained)[0]


def test_a_packed_model_is_to_be_unpacked(trained: Path, colours: Path, tmp_path: Path) -> None:
    invoke("bundle", "pack", trained, "-o", tmp_path / "my model.zip")
    done = invoke("predict", tmp_path / "my model.zip", colours)
    assert done.exit_code == 4
    assert f"Unpack it first: transfer-cli bundle unpack '{tmp_path}/my model.zip' -o 'my model'" in done.stderr
