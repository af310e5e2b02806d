"""Compare the time that `finetune --plan` expects with the time that the same command takes.

    python benchmarks/plan.py DATA [--folder fish ...] [--backbone mobilenet@0.25 ...] [--set KEY=VALUE ...]

DATA is the folder of the image folders. For each folder and backbone it prints the expected and the measured seconds,
their ratio, and how long the plan itself took. Without early stopping, since a plan counts all epochs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

FOLDERS = ("fish", "citrus_leaves")
BACKBONES = ("mobilenet@0.25", "mobilenet_v2@0.35")
WORDS = ("--set", "early_stopping.patience=1000")


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--folder", "folders", multiple=True, default=FOLDERS, help="Image folders in DATA.")
@click.option("--backbone", "backbones", multiple=True, default=BACKBONES, help="Backbones to fine-tune.")
@click.option("--recipe", help="Recipe of both commands.")
@click.option("--weights", help="Weights of both commands, e.g. none.")
@click.option("--set", "settings", multiple=True, help="Setting of the recipe, e.g. stage.1.epochs=3.")
def main(
    data: Path,
    folders: tuple[str, ...],
    backbones: tuple[str, ...],
    recipe: str | None,
    weights: str | None,
    settings: tuple[str, ...],
) -> None:
    """Print expected and measured times; exit 1 if one is more than 1.5 times the other."""
    words = [*WORDS, *(word for each in settings for word in ("--set", each))]
    words += [*(("--recipe", recipe) if recipe else ()), *(("--weights", weights) if weights else ())]
    worst = 1.0
    for folder in folders:
        for backbone in backbones:
            command = ["finetune", str(data / folder), "--backbone", backbone, *words]
            plan, took = _run(*command, "--plan")
            _, measured = _run(*command)
            expected = plan["total_seconds"]
            ratio = expected / measured
            worst = max(worst, ratio, 1 / ratio)
            click.echo(
                f"{folder:14} {backbone:20} expected {expected:6.1f} s, measured {measured:6.1f} s, ratio {ratio:.2f}; "
                f"the plan took {took:.1f} s"
            )
    sys.exit(worst > 1.5)


def _run(*words: str) -> tuple[dict[str, float], float]:
    """Run a command in a new folder; return its JSON and its seconds."""
    command = [sys.executable, "-m", "transfer_cli", "--json", "--offline", *words]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        seconds = time.monotonic() - begun
    if done.returncode not in (0, 5):
        raise click.ClickException(f"{' '.join(words)}: {done.stderr}")
    return json.loads(done.stdout), seconds


if __name__ == "__main__":
    main()
