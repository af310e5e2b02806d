"""``transfer-cli extract`` as users run it."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import TINY_WORDS, Outcome
from tests.finetuning import rows_of
from transfer_cli.cli.main import main


def test_extract_prints_progress_and_next_command(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSFER_CLI_CACHE", str(tmp_path / "cache"))
    arguments = ["extract", str(colours), *TINY_WORDS]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    run = "runs/colours-mobilenet@0.25"
    assert result.stdout == f"{run}\n"
    lines = [line.split(" (")[0] for line in result.stderr.splitlines()]
    # Another test in this process may have started TensorFlow already.
    lines = [line for line in lines if line != "starting TensorFlow"]
    assert lines[:6] == [
        "36 images, 3 classes: blue 12, green 12, red 12",
        "warning: the backbone has random weights",
        "converting the network",
        "features by mobilenet@0.25 on litert: 36",
        "split: 23 training, 13 test images",
        "starting scikit-learn",
    ]
    assert lines[6] == "tuning lda by cross-validation"
    assert lines[7].startswith("lda: shrinkage = ")
    assert sum("shrinkage = " in line for line in lines) == 1
    message = [line for line in lines if not line.startswith("most frequent confusions")]
    assert [line.split()[0] for line in message[-4:]] == ["val", "test", "next:", "next:"]
    assert lines[-2] == f"next: transfer-cli report {run} --open"
    words = shlex.split(lines[-1].removeprefix("next: transfer-cli "))
    assert words[:2] == ["predict", run]
    part_of = {row["path"]: row["split"] for row in rows_of(Path(run, "split.csv"))}
    assert part_of[Path(words[2]).relative_to(colours).as_posix()] == "test"
    shown = CliRunner().invoke(main, words)
    assert (shown.exit_code, len(shown.stdout.splitlines())) == (0, 1)
    again = CliRunner().invoke(main, ["--quiet", *arguments])
    assert (again.exit_code, again.stdout, again.stderr) == (0, f"{run}\n", "")


def test_extract_json_has_metrics(trained: Path, colours: Path) -> None:
    result = CliRunner().invoke(main, ["--json", "--quiet", "extract", str(colours), *TINY_WORDS, "-o", str(trained)])
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert data == {
        "run": str(trained),
        "metrics": json.loads((trained / "metrics.json").read_text()),
        "skipped": 0,
    }


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing"], 3, "error: There is no folder missing."),
        (["{colours}", "--backbone", "resnet5"], 2, "Did you mean resnet50?"),
        (["{colours}", "--classifier", "logistik"], 2, "'logistik' is not one of"),
        (["{colours}", "--set", "images.sise=32"], 3, "images.sise: unknown setting. Did you mean size?"),
        (["{colours}", "--recipe", "snow-lepard"], 3, "Did you mean snow-leopard?"),
        (["{colours}", "--split", "none.csv"], 3, "none.csv could not be read"),
        (["{colours}", "--wieghts", "none"], 2, "No such option '--wieghts'"),
        ([], 2, "Missing argument 'FOLDER'"),
    ],
)
def test_extract_wrong_usage_is_error(
    arguments: list[str], code: int, message: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["extract", *(word.format(colours=colours) for word in arguments)])
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_extract_unreadable_image_exits_with_5(colours: Path, tmp_path: Path) -> None:
    import shutil

    messy = Path(shutil.copytree(colours, tmp_path / "colours"))
    (messy / "red" / "broken.jpg").write_bytes(b"broken")
    run = tmp_path / "run"
    result = CliRunner().invoke(main, ["extract", str(messy), *TINY_WORDS, "-o", str(run)])
    assert result.exit_code == 5
    assert result.stdout == f"{run}\n"
    assert f"warning: 1 image could not be read; reasons: {run}/skipped.csv" in result.stderr
    strict = CliRunner().invoke(main, ["extract", str(messy), *TINY_WORDS, "-o", str(tmp_path / "s"), "--strict"])
    assert strict.exit_code == 3
    assert "red/broken.jpg could not be read: not an image in a known format" in strict.stderr


def test_extract_unwritable_output_exits_with_3(colours: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["extract", str(colours), *TINY_WORDS, "-o", "/proc/nowhere/run"])
    assert result.exit_code == 3
    assert "could not be written" in result.stderr
    assert "Choose another place to write to." in result.stderr


def test_extract_full_disk_leaves_no_partial_files(colours: Path, tmp_path: Path) -> None:
    """A limit on the file size makes writes fail as a full disk does."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "transfer_cli", "extract", str(colours), *TINY_WORDS, "-o", str(run)]

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    result = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, timeout=120)
    assert result.returncode == 3, result.stderr
    kept = "The unfinished run is kept; the same command continues it."
    assert f"could not be written: File too large. {kept}\nFree disk space, then run the same command" in result.stderr
    assert "Traceback" not in result.stderr
    names = {path.name for path in run.iterdir()}
    assert names == {"recipe.toml", "folder.txt", "command.txt", "environment.json", "events.jsonl"}


@pytest.mark.integration
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_extract_interrupted_leaves_no_partial_files(
    number: signal.Signals, code: int, colours: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = [*TINY_WORDS, "--set", "images.size=512", "--set", "batch_size=1"]
    command = [sys.executable, "-m", "transfer_cli", "extract", str(colours), *arguments, "-o", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(run.glob(".features-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(run.glob(".features-*")), "no features were written"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "Interrupted. No partial files were left; run the same command again."
    assert not list(run.glob(".*"))
    assert not (run / "features.parquet").exists()


def test_extract_options_reach_recipe(colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--pooling", "max", "--layer", "conv_pw_3_relu", "--classifier", "knn", "--no-tune", "--seed", "9"]
    result = CliRunner().invoke(main, ["extract", str(colours), *TINY_WORDS, *arguments, "-o", str(run)])
    assert result.exit_code == 0, result.stderr
    assert (run / "recipe.toml").read_text() == (
        'method = "extract"\nseed = 9\nbatch_size = 32\n\n[images]\nsize = 32\nresize = "squash"\n\n'
        '[split]\ntest = 0.2\nval = 0.0\nseed = 0\n\n[backbone]\nname = "mobilenet@0.25"\nweights = "none"\n'
        'pooling = "max"\nlayer = "conv_pw_3_relu"\n\n'
        '[inference]\nruntime = "litert"\nprecision = "f32"\n\n'
        '[classifier]\nname = "knn"\ntune = false\ntune_seconds = 60\n\n'
        '[balance]\nmethod = "none"\nbeta = 0.999\ntau = 1.0\ngamma = 2.0\n'
    )


def test_extract_on_terminal_shows_progress_bar(colours: Path, tmp_path: Path) -> None:
    import pty

    parent, child = pty.openpty()
    command = [sys.executable, "-m", "transfer_cli", "extract", str(colours), *TINY_WORDS, "-o", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=child, stdout=subprocess.PIPE, env={**os.environ, "TERM": "xterm"})
    os.close(child)
    seen = b""
    while True:
        try:
            piece = os.read(parent, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    out, _ = process.communicate(timeout=60)
    os.close(parent)
    assert process.returncode == 0
    assert out.decode() == f"{tmp_path / 'run'}\n"
    assert b"features by mobilenet@0.25" in seen
    assert b"36 of 36" in seen
    assert b"oneDNN" not in seen


def test_extract_odd_file_names_are_kept(tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    import numpy as np

    from tests.conftest import save_image

    odd = os.fsdecode(b"o\xffdd")
    random = np.random.default_rng(0)
    for name, colour in (("[bold]a b", (200, 0, 0)), ("x,y\"'", (0, 200, 0))):
        for number in range(6):
            save_image(tmp_path / "photos" / name / f"{odd} {number}\n.png", colour, random)
    result = transfer_cli("extract", "photos", *TINY_WORDS, "-o", "run")
    assert result.code == 0, result.err
    predicted = transfer_cli("predict", "run", "photos")
    assert predicted.code == 0, predicted.err
    assert predicted.out.splitlines()[0] == 'path,label,confidence,p_[bold]a b,"p_x,y""\'"'
    assert predicted.out.count(odd) == 12
