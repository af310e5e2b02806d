"""``transfer-cli extract`` as a person meets it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import TINY_WORDS, Outcome
from transfer_cli.cli.main import main


def test_what_a_person_sees(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSFER_CLI_CACHE", str(tmp_path / "cache"))
    words = ["extract", str(colours), *TINY_WORDS]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0
    run = "runs/colours-mobilenet@0.25"
    assert done.stdout == f"{run}\n"
    lines = [line.split(" (")[0] for line in done.stderr.splitlines()]
    # Another test of this process may have started it already.
    lines = [line for line in lines if line != "starting TensorFlow"]
    assert lines[:6] == [
        "36 pictures of 3 classes: blue 12, green 12, red 12",
        "warning: the network has random weights: it knows nothing of pictures, and the score will show it",
        "converting the network",
        "features by mobilenet@0.25 on litert: 36",
        "train 23, test 13",
        "starting scikit-learn",
    ]
    assert lines[6] == "logistic, C = 0.01"
    said = [line for line in lines if "taken for another" not in line]
    assert [line.split()[0] for line in said[-3:]] == ["val", "test", "next:"]
    assert lines[-1] == f"next: transfer-cli predict {run} YOUR_PICTURES --format table"
    again = CliRunner().invoke(main, ["--quiet", *words])
    assert (again.exit_code, again.stdout, again.stderr) == (0, f"{run}\n", "")


def test_json(trained: Path, colours: Path) -> None:
    done = CliRunner().invoke(main, ["--json", "--quiet", "extract", str(colours), *TINY_WORDS, "-o", str(trained)])
    assert done.exit_code == 0
    facts = json.loads(done.stdout)
    assert facts == {
        "run": str(trained),
        "metrics": json.loads((trained / "metrics.json").read_text()),
        "skipped": 0,
    }


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing"], 3, "error: There is no folder missing."),
        (["{colours}", "--backbone", "resnet5"], 2, "Did you mean resnet50?"),
        (["{colours}", "--classifier", "logistik"], 2, "'logistik' is not one of"),
        (["{colours}", "--set", "images.sise=32"], 3, "images.sise: there is no such word. Did you mean size?"),
        (["{colours}", "--recipe", "snow-lepard"], 3, "Did you mean snow-leopard?"),
        (["{colours}", "--split", "none.csv"], 3, "none.csv could not be read"),
        (["{colours}", "--quiet"], 2, "--quiet goes before the command: transfer-cli --quiet ..."),
        (["{colours}", "--wieghts", "none"], 2, "No such option '--wieghts'"),
        ([], 2, "Missing argument 'FOLDER'"),
    ],
)
def test_faults(
    words: list[str], code: int, message: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["extract", *(word.format(colours=colours) for word in words)])
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_unreadable_pictures_end_with_five(colours: Path, tmp_path: Path) -> None:
    import shutil

    messy = Path(shutil.copytree(colours, tmp_path / "colours"))
    (messy / "red" / "broken.jpg").write_bytes(b"broken")
    run = tmp_path / "run"
    done = CliRunner().invoke(main, ["extract", str(messy), *TINY_WORDS, "-o", str(run)])
    assert done.exit_code == 5
    assert done.stdout == f"{run}\n"
    assert f"warning: 1 pictures could not be read: {run}/skipped.csv says why" in done.stderr
    strict = CliRunner().invoke(main, ["extract", str(messy), *TINY_WORDS, "-o", str(tmp_path / "s"), "--strict"])
    assert strict.exit_code == 3
    assert "red/broken.jpg could not be read: not a picture in a known format" in strict.stderr


def test_no_permission_to_write(colours: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["extract", str(colours), *TINY_WORDS, "-o", "/proc/nowhere/run"])
    assert done.exit_code == 3
    assert "could not be written" in done.stderr
    assert "Choose another place to write to." in done.stderr


def test_a_full_disk_leaves_nothing_half_written(colours: Path, tmp_path: Path) -> None:
    """A limit on the size of a file fails a write as a full disk does."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "transfer_cli", "extract", str(colours), *TINY_WORDS, "-o", str(run)]

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, timeout=120)
    assert done.returncode == 3, done.stderr
    assert "could not be written: File too large. Nothing half-written was left." in done.stderr
    assert "Traceback" not in done.stderr
    names = {path.name for path in run.iterdir()}
    assert names == {"recipe.toml", "folder.txt", "command.txt", "environment.json", "events.jsonl"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_leaves_no_drafts(number: signal.Signals, code: int, colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*TINY_WORDS, "--set", "images.size=512", "--set", "batch_size=1"]
    command = [sys.executable, "-m", "transfer_cli", "extract", str(colours), *words, "-o", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(run.glob(".features-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(run.glob(".features-*")), "the features were never begun"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert not list(run.glob(".*"))
    assert not (run / "features.parquet").exists()


def test_seeds_and_words_reach_the_recipe(colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["--pooling", "max", "--layer", "conv_pw_3_relu", "--classifier", "knn", "--no-tune", "--seed", "9"]
    done = CliRunner().invoke(main, ["extract", str(colours), *TINY_WORDS, *words, "-o", str(run)])
    assert done.exit_code == 0, done.stderr
    assert (run / "recipe.toml").read_text() == (
        'method = "extract"\nseed = 9\nbatch_size = 32\n\n[images]\nsize = 32\nresize = "squash"\n\n'
        '[split]\ntest = 0.2\nval = 0.0\nseed = 0\n\n[backbone]\nname = "mobilenet@0.25"\nweights = "none"\n'
        'pooling = "max"\nlayer = "conv_pw_3_relu"\n\n'
        '[inference]\nruntime = "litert"\nprecision = "f32"\n\n'
        '[classifier]\nname = "knn"\ntune = false\ntune_seconds = 60\n\n'
        '[balance]\nmethod = "none"\nbeta = 0.999\ntau = 1.0\ngamma = 2.0\n'
    )


def test_bars_on_a_terminal(colours: Path, tmp_path: Path) -> None:
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
    assert b"36/36" in seen
    assert b"oneDNN" not in seen


def test_a_folder_with_odd_names(tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    import numpy as np

    from tests.conftest import save_picture

    odd = os.fsdecode(b"o\xffdd")
    random = np.random.default_rng(0)
    for name, colour in (("[bold]a b", (200, 0, 0)), ("x,y\"'", (0, 200, 0))):
        for number in range(6):
            save_picture(tmp_path / "photos" / name / f"{odd} {number}\n.png", colour, random)
    done = transfer_cli("extract", "photos", *TINY_WORDS, "-o", "run")
    assert done.code == 0, done.err
    predicted = transfer_cli("predict", "run", "photos")
    assert predicted.code == 0, predicted.err
    assert predicted.out.splitlines()[0] == 'path,label,confidence,p_[bold]a b,"p_x,y""\'"'
    assert predicted.out.count(odd) == 12
