"""``transfer-cli weights``: listed, packed, put in place and verified by the commands."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.conftest import run_command
from tests.weights_files import NARROW, RESNET, TINY, in_cache, save_weights, snapshot
from transfer_cli.cli.main import main
from transfer_cli.models.weights.registry import cache_folder


def weights(*arguments: str | Path, flags: tuple[str, ...] = ("--offline",)) -> Result:
    result = CliRunner().invoke(main, [*flags, "weights", *map(str, arguments)])
    assert result.exit_code != 1, result.output
    return result


def test_weights_list_has_state_and_digest() -> None:
    in_cache(TINY)
    lines = [line.split() for line in weights("list", "mobilenet@0.25", "resnet50", "--top").stdout.splitlines()]
    assert lines[0] == ["network", "file", "MB", "digest", "state"]
    assert lines[1] == ["mobilenet@0.25", TINY, "0.9", "unknown", "installed"]
    assert lines[2][:4] == ["mobilenet@0.25", "mobilenet_2_5_224_tf.h5", "about", "1.9"]
    assert lines[3][0:2] == ["all", "imagenet_class_index.json"]
    assert lines[4] == ["resnet50", RESNET, "about", "94.4", "md5", "4d473c1d...", "missing"]
    assert len(lines) == 6


def test_weights_list_json() -> None:
    in_cache(TINY)
    rows = json.loads(weights("list", flags=("--json", "--quiet")).stdout)
    by_file = {row["file"]: row for row in rows}
    assert by_file[TINY]["path"] == str(cache_folder() / TINY)
    assert by_file[TINY]["bytes"] == (cache_folder() / TINY).stat().st_size
    assert by_file[TINY]["digest"] is None
    assert by_file[RESNET]["digest"] == "4d473c1dd8becc155b73f8504c6f6626"
    assert by_file[RESNET]["algorithm"] == "md5"
    assert by_file[RESNET]["path"] is None
    assert by_file["convnext_tiny_notop.h5"]["algorithm"] == "sha256"
    assert [row["file"] for row in rows if row["installed"]] == [TINY]


def test_weights_list_size_selects_file() -> None:
    (row,) = json.loads(weights("list", "mobilenet@0.25", "--size", "160", flags=("--json", "--quiet")).stdout)
    assert row["file"] == "mobilenet_2_5_160_tf_no_top.h5"


def test_weights_pack_then_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_cache(TINY, NARROW)
    target = tmp_path / "weights.tar"
    result = weights("pack", "mobilenet@0.25", "mobilenet-v2@0.35", "-o", target)
    assert (result.exit_code, result.stdout) == (0, f"{target}\n")
    assert "transfer-cli weights install weights.tar" in result.stderr
    packed = snapshot(cache_folder())
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "other"))
    result = weights("install", target)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'other' / 'models'}\n")
    assert snapshot(cache_folder()) == packed
    data = json.loads(weights("install", target, flags=("--json", "--quiet")).stdout)
    assert [file["state"] for file in data["files"]] == ["already installed"] * 2
    assert weights("verify", "mobilenet@0.25", "mobilenet_v2@0.35").exit_code == 0
    assert weights("fetch", "mobilenet@0.25").exit_code == 0


def test_weights_install_truncated_file_is_error(tmp_path: Path) -> None:
    in_cache(TINY)
    target = tmp_path / "weights.tar"
    weights("pack", "mobilenet@0.25", "-o", target)
    target.write_bytes(target.read_bytes()[:5000])
    before = snapshot(cache_folder())
    result = weights("install", target)
    assert result.exit_code == 4
    assert "weights.tar is not a usable weights kit: " in result.stderr
    assert snapshot(cache_folder()) == before


def test_weights_install_full_disk_leaves_nothing(tmp_path: Path) -> None:
    in_cache(TINY, NARROW)
    target = tmp_path / "weights.tar"
    weights("pack", "mobilenet@0.25", "mobilenet_v2@0.35", "-o", target)
    home = tmp_path / "other"
    limit = (1_000_000, 1_000_000)  # between the sizes of the two files
    result = run_command(
        "weights",
        "install",
        target,
        env={"KERAS_HOME": str(home)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert result.code == 3, result.err
    assert f"{home / 'models'} could not be written" in result.err
    assert "Free disk space" in result.err
    assert not home.exists()


def test_weights_verify_finds_each_damage() -> None:
    cut = save_weights(cache_folder() / TINY)
    cut.write_bytes(cut.read_bytes()[:-4])
    save_weights(cache_folder() / NARROW, numbers=7)
    save_weights(cache_folder() / RESNET, numbers=7)
    in_cache("mobilenet_2_5_160_tf_no_top.h5")
    (cache_folder() / "mine.h5").write_bytes(b"of no concern")
    result = weights("verify")
    assert result.exit_code == 4
    found = {line.split()[0]: " ".join(line.split()[1:]) for line in result.stdout.splitlines()[1:]}
    assert found.keys() == {TINY, NARROW, RESNET, "mobilenet_2_5_160_tf_no_top.h5"}
    assert found[TINY].startswith("damaged it cannot be read as HDF5")
    assert found[NARROW] == "damaged it holds 7 numbers; the network has 410,208 parameters"
    assert found[RESNET].startswith("damaged its MD5 is ")
    assert found["mobilenet_2_5_160_tf_no_top.h5"].startswith("intact readable; Keras publishes no digest")
    for arguments in ("mobilenet@0.25", "mobilenet_v2@0.35", "resnet50"):
        assert f"transfer-cli weights fetch {arguments}\n" in result.stderr
    failed = weights("verify", flags=("--json", "--quiet"))
    assert (failed.exit_code, failed.stdout) == (4, "")
    assert json.loads(failed.stderr)["error"]["type"] == "WeightsError"


def test_weights_verify_accepts_larger_published_files() -> None:
    save_weights(cache_folder() / TINY, numbers=475_544)
    assert weights("verify", "mobilenet@0.25").exit_code == 0


def test_weights_verify_missing_file_is_error() -> None:
    assert weights("verify").exit_code == 0
    result = weights("verify", "resnet50", "vgg16")
    assert result.exit_code == 4
    assert "transfer-cli weights fetch resnet50 vgg16\n" in result.stderr
    in_cache(TINY)
    assert weights("verify", "mobilenet@0.25").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["list", "resnet-50"], 2, "Did you mean resnet50?"),
        (["fetch", "lenet5"], 4, "lenet5 has no ImageNet weights"),
        (["fetch"], 2, "Missing argument"),
        (["pack", "resnet50"], 2, "Missing option '-o'"),
        (["fetch", "resnet50"], 4, "transfer-cli weights pack resnet50 -o weights.tar"),
    ],
)
def test_weights_wrong_usage_is_error(arguments: list[str], code: int, message: str) -> None:
    result = weights(*arguments)
    assert result.exit_code == code
    assert message in result.stderr


@pytest.mark.parametrize("name", ["imagenet_class_index.json", RESNET])
def test_predict_damaged_weights_exits_with_4(name: str, shared: Path, tmp_path: Path, colours: Path) -> None:
    backbone = "resnet50" if name == RESNET else "mobilenet@0.25"
    cache_folder().mkdir(parents=True)
    for file in (shared / "keras_home" / "models").iterdir():
        (cache_folder() / file.name).write_bytes(file.read_bytes())
    (cache_folder() / name).write_bytes(b"{}")
    arguments = ["predict", f"imagenet:{backbone}"] if name != RESNET else ["extract", "--backbone", backbone]
    result = CliRunner().invoke(main, ["--offline", *arguments, str(colours), "-o", str(tmp_path / "out.csv")])
    assert result.exit_code == 4, result.output
    assert f"{cache_folder() / name} are damaged: its MD5 is " in result.stderr.replace("\n", "")
    assert "transfer-cli weights fetch " in result.stderr
    assert not (tmp_path / "out.csv").exists()
