"""Kills -9 at random moments: the same command must then give the right result, and nothing may be left behind.

export KERAS_HOME=../shared/keras_home
python benchmarks/kills.py ../shared/data/clothing --kills 100
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BACKBONE = ["--backbone", "mobilenet@0.25"]
IGNORED = {"command.txt", "events.jsonl", "environment.json", "auto.json", "report.html", ".lock"}
IGNORED |= {"history.csv", "last.npz", "parity.json"}
"""Files that hold times or paths."""
UNEQUAL = {"auto"}
"""Commands whose result depends on the time that they have: it must be complete, not equal."""


@dataclass(frozen=True)
class Command:
    """A command that is killed.

    Attributes
    ----------
    name : str
    words : tuple of str
        Its arguments; `{place}` is the folder of one try.
    output : str
        What it writes, relative to the folder of the try.
    """

    name: str
    words: tuple[str, ...]
    output: str


def main() -> None:
    """Kill each command in turn, and print what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--images", type=int, default=8, help="Images per class and part.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        images = part_of(options.photographs.absolute(), root / "images", options.images)
        commands = prepared(root, images)
        expected = {command.name: unbroken(command, root) for command in commands}
        generator, wrong, moments = random.Random(options.seed), [], []
        for number in range(options.kills):
            command = commands[number % len(commands)]
            faults, moment = killed(command, root, generator, *expected[command.name])
            wrong += [f"{command.name}, kill {number}: {fault}" for fault in faults]
            moments.append(f"{command.name} {moment}")
            print(f"{number + 1}/{options.kills} {moments[-1]}: {'; '.join(faults) or 'right'}", flush=True)
    print(json.dumps({"kills": options.kills, "wrong": wrong}, indent=2))
    sys.exit(bool(wrong))


def part_of(photographs: Path, target: Path, count: int) -> Path:
    """Return a folder with the first images of each class and part of another."""
    for folder in sorted(path for path in photographs.rglob("*") if path.is_dir()):
        for path in sorted(path for path in folder.iterdir() if path.is_file())[:count]:
            place = target / path.relative_to(photographs)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    return target


def prepared(root: Path, images: Path) -> list[Command]:
    """Write what the commands need, and return them."""
    run, zipped, kit = root / "trained", root / "trained.zip", root / "weights.tar"
    call(root, "extract", str(images), *BACKBONE, "-o", str(run))
    call(root, "bundle", "pack", str(run), "-o", str(zipped))
    call(root, "weights", "pack", "mobilenet@0.25", "-o", str(kit))
    stages = ("--set", "stage.1.epochs=3")
    budget = ("--time-budget", "30s", "--among", "mobilenet@0.25")
    return [
        Command("extract", ("extract", str(images), *BACKBONE, "-o", "{place}/run"), "run"),
        Command("finetune", ("finetune", str(images), *BACKBONE, *stages, "-o", "{place}/run"), "run"),
        Command("auto", ("auto", str(images), *budget, "-o", "{place}/run"), "run"),
        Command("predict", ("predict", str(run), str(images), "-o", "{place}/p.csv"), "p.csv"),
        Command("export", ("export", str(run), "--format", "onnx,keras", "-o", "{place}/out"), "out"),
        Command("unpack", ("bundle", "unpack", str(zipped), "-o", "{place}/unpacked"), "unpacked"),
        Command("install", ("weights", "install", str(kit)), "keras"),
    ]


def unbroken(command: Command, root: Path) -> tuple[Mapping[str, str], float]:
    """Return the digests of what a command writes, and its seconds."""
    place = new_place(root)
    begun = time.monotonic()
    process = started(command, root, place)
    if process.wait():
        sys.exit(f"{command.name} failed without a kill: {(place / 'err.txt').read_text()}")
    seconds = time.monotonic() - begun
    result = digests(place / command.output)
    shutil.rmtree(place)
    return result, seconds


def killed(
    command: Command, root: Path, generator: random.Random, expected: Mapping[str, str], seconds: float
) -> tuple[list[str], str]:
    """Kill a command once, run it again, and return what is wrong then, and when it was killed."""
    place = new_place(root)
    process = started(command, root, place)
    moment = generator.uniform(0.05, 1.0) * seconds
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    faults = []
    # One that ended before the kill has nothing left to do.
    if process.returncode and started(command, root, place).wait():
        faults.append(f"the same command failed: {(place / 'err.txt').read_text().strip().splitlines()[-1]}")
    result = digests(place / command.output)
    if command.name in UNEQUAL:
        faults += [f"{name} is missing" for name in ("metrics.json", "model/bundle.json") if name not in result]
    else:
        names = result.keys() | expected.keys()
        faults += [f"{name} differs" for name in sorted(names) if result.get(name) != expected.get(name)]
    faults += [f"{path} was left" for path in leftovers(place)]
    if not faults:
        shutil.rmtree(place)
    return faults, f"after {moment:.1f} of {seconds:.1f} s"


def leftovers(place: Path) -> Iterator[str]:
    """Yield what is left in TMPDIR, and hidden files anywhere."""
    yield from (str(path.relative_to(place)) for path in (place / "tmp").iterdir())
    yield from (str(path.relative_to(place)) for path in place.rglob(".*"))
    yield from (str(path.relative_to(place)) for path in (place / "state").rglob("*.drafts"))


def new_place(root: Path) -> Path:
    """Return a new folder with an empty TMPDIR."""
    place = Path(tempfile.mkdtemp(prefix="try-", dir=root))
    (place / "tmp").mkdir()
    return place


def started(command: Command, root: Path, place: Path) -> subprocess.Popen[bytes]:
    """Start a command with folders of its own."""
    words = [word.format(place=place) for word in command.words]
    environment = {**os.environ, "TMPDIR": str(place / "tmp"), "XDG_STATE_HOME": str(place / "state")}
    environment["TRANSFER_CLI_CACHE"] = str(place / "cache")
    if command.name == "install":
        environment["KERAS_HOME"] = str(place / "keras")
    with (place / "err.txt").open("w") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "transfer_cli", "--quiet", *words],
            cwd=root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=err,
            start_new_session=True,
        )


def call(root: Path, *words: str) -> None:
    """Run a command that must succeed."""
    subprocess.run([sys.executable, "-m", "transfer_cli", "--quiet", *words], cwd=root, check=True)


def digests(path: Path) -> dict[str, str]:
    """Return the digest of a file, or of each file in a folder that does not hold times or paths."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.name not in IGNORED and ".png" not in file.suffixes
    }


if __name__ == "__main__":
    main()
