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


def weights(*words: str | Path, flags: tuple[str, ...] = ("--offline",)) -> Result:
    done = CliRunner().invoke(main, [*flags, "weights", *map(str, words)])
    assert done.exit_code != 1, done.output
    return done


def test_the_list_says_what_is_here_and_what_is_known() -> None:
    in_cache(TINY)
    lines = [line.split() for line in weights("list", "mobilenet@0.25", "resnet50", "--top").stdout.splitlines()]
    assert lines[0] == ["name", "file", "MB", "digest", "where"]
    assert lines[1] == ["mobilenet@0.25", TINY, "0.9", "not", "known", "here"]
    assert lines[2][:4] == ["mobilenet@0.25", "mobilenet_2_5_224_tf.h5", "about", "1.9"]
    assert lines[3][0:2] == ["all", "imagenet_class_index.json"]
    assert lines[4] == ["resnet50", RESNET, "about", "94.4", "md5", "4d473c1d...", "not", "here"]
    assert len(lines) == 6


def test_the_list_as_json() -> None:
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
    assert [row["file"] for row in rows if row["here"]] == [TINY]


def test_a_size_has_files_of_its_own() -> None:
    (row,) = json.loads(weights("list", "mobilenet@0.25", "--size", "160", flags=("--json", "--quiet")).stdout)
    assert row["file"] == "mobilenet_2_5_160_tf_no_top.h5"


def test_from_one_machine_to_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_cache(TINY, NARROW)
    target = tmp_path / "weights.tar"
    done = weights("pack", "mobilenet@0.25", "mobilenet-v2@0.35", "-o", target)
    assert (done.exit_code, done.stdout) == (0, f"{target}\n")
    assert "transfer-cli weights install weights.tar" in done.stderr
    packed = snapshot(cache_folder())
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "other"))
    done = weights("install", target)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'other' / 'models'}\n")
    assert snapshot(cache_folder()) == packed
    facts = json.loads(weights("install", target, flags=("--json", "--quiet")).stdout)
    assert [file["state"] for file in facts["files"]] == ["here already"] * 2
    assert weights("verify", "mobilenet@0.25", "mobilenet_v2@0.35").exit_code == 0
    assert weights("fetch", "mobilenet@0.25").exit_code == 0


def test_a_kit_that_was_cut(tmp_path: Path) -> None:
    in_cache(TINY)
    target = tmp_path / "weights.tar"
    weights("pack", "mobilenet@0.25", "-o", target)
    target.write_bytes(target.read_bytes()[:5000])
    done = weights("install", target)
    assert done.exit_code == 4
    assert "is no kit of weights that can be used: it ends too early. Nothing of it was put in place." in done.stderr


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    in_cache(TINY, NARROW)
    target = tmp_path / "weights.tar"
    weights("pack", "mobilenet@0.25", "mobilenet_v2@0.35", "-o", target)
    home = tmp_path / "other"
    limit = (1_000_000, 1_000_000)  # between the sizes of the two files
    done = run_command(
        "weights",
        "install",
        target,
        env={"KERAS_HOME": str(home)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.code == 3, done.err
    assert f"{home / 'models'} could not be written" in done.err
    assert "Make room" in done.err
    assert not home.exists()


def test_verifying_finds_each_damage() -> None:
    cut = save_weights(cache_folder() / TINY)
    cut.write_bytes(cut.read_bytes()[:-4])
    save_weights(cache_folder() / NARROW, numbers=7)
    save_weights(cache_folder() / RESNET, numbers=7)
    in_cache("mobilenet_2_5_160_tf_no_top.h5")
    (cache_folder() / "mine.h5").write_bytes(b"of no concern")
    done = weights("verify")
    assert done.exit_code == 4
    found = {line.split()[0]: " ".join(line.split()[1:]) for line in done.stdout.splitlines()[1:]}
    assert found.keys() == {TINY, NARROW, RESNET, "mobilenet_2_5_160_tf_no_top.h5"}
    assert found[TINY].startswith("damaged it cannot be read as HDF5")
    assert found[NARROW] == "damaged it holds 7 numbers, and the network has 410,208"
    assert found[RESNET].startswith("damaged its MD5 is ")
    assert found["mobilenet_2_5_160_tf_no_top.h5"].startswith("whole all of it can be read; Keras knows no digest")
    for words in ("mobilenet@0.25", "mobilenet_v2@0.35", "resnet50"):
        assert f"transfer-cli weights fetch {words}\n" in done.stderr
    states = json.loads(weights("verify", flags=("--json", "--quiet")).stdout)
    assert [row["state"] for row in states].count("damaged") == 3


def test_published_files_may_hold_more_than_the_network() -> None:
    save_weights(cache_folder() / TINY, numbers=475_544)
    assert weights("verify", "mobilenet@0.25").exit_code == 0


def test_verifying_what_is_not_here() -> None:
    assert weights("verify").exit_code == 0
    done = weights("verify", "resnet50", "vgg16")
    assert done.exit_code == 4
    assert "transfer-cli weights fetch resnet50 vgg16\n" in done.stderr
    in_cache(TINY)
    assert weights("verify", "mobilenet@0.25").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["list", "resnet-50"], 2, "Did you mean resnet50?"),
        (["fetch", "lenet5"], 4, "lenet5 has no ImageNet weights"),
        (["fetch"], 2, "Missing argument"),
        (["pack", "resnet50"], 2, "Missing option '-o'"),
        (["fetch", "resnet50"], 4, "transfer-cli weights pack resnet50 -o weights.tar"),
    ],
)
def test_what_cannot_be_done(words: list[str], code: int, said: str) -> None:
    done = weights(*words)
    assert done.exit_code == code
    assert said in done.stderr


@pytest.mark.parametrize("name", ["imagenet_class_index.json", RESNET])
def test_a_damaged_file_is_not_predicted_with(name: str, shared: Path, tmp_path: Path, colours: Path) -> None:
    backbone = "resnet50" if name == RESNET else "mobilenet@0.25"
    cache_folder().mkdir(parents=True)
    for file in (shared / "keras_home" / "models").iterdir():
        (cache_folder() / file.name).write_bytes(file.read_bytes())
    (cache_folder() / name).write_bytes(b"{}")
    words = ["predict", f"imagenet:{backbone}"] if name != RESNET else ["extract", "--backbone", backbone]
    done = CliRunner().invoke(main, ["--offline", *words, str(colours), "-o", str(tmp_path / "out.csv")])
    assert done.exit_code == 4, done.output
    assert f"{cache_folder() / name} are damaged: its MD5 is " in done.stderr.replace("\n", "")
    assert "transfer-cli weights fetch " in done.stderr
    assert not (tmp_path / "out.csv").exists()
