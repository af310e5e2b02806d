"""The wheel, the sample pictures and the documents."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY, Outcome, run_command
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.sample_data import sample_folder


def python(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True, **options)  # type: ignore[call-overload]


def test_sample_pictures_are_those_of_the_script(tmp_path: Path) -> None:
    python(REPOSITORY / "sample_data/make.py", tmp_path)
    made = {path.relative_to(tmp_path): path for path in sorted(tmp_path.rglob("*.jpg"))}
    kept = {path.relative_to(sample_folder()): path for path in sorted(sample_folder().rglob("*.jpg"))}
    assert list(made) == list(kept)
    for name, path in made.items():
        # Other versions of the JPEG encoder may round otherwise.
        difference = np.abs(np.asarray(Image.open(path), float) - np.asarray(Image.open(kept[name]), float))
        assert difference.mean() < 1


def test_mean_colour_does_not_tell_the_sample_classes() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    folder = ImageFolder.scan(sample_folder())
    assert folder.class_names == ("checks", "dots", "rings", "stripes")
    colours = [np.asarray(Image.open(folder.root / file.path)).mean(axis=(0, 1)) for file in folder.files]
    labels = [file.labels[0] for file in folder.files]
    scores = cross_val_score(LogisticRegression(max_iter=1000), np.array(colours) / 50, labels, cv=5)
    assert scores.mean() < 0.4  # by chance 0.25


def test_copying_the_sample_pictures(tmp_path: Path) -> None:
    target = tmp_path / "mine"
    done = run_command("sample-data", target)
    assert (done.code, done.out) == (0, f"{target}\n")
    assert len(ImageFolder.scan(target).files) == 240
    again = run_command("sample-data", target)
    assert again.code == 3
    assert "already exists" in again.err


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    python("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", target, REPOSITORY)
    (path,) = target.glob("*.whl")
    return path


def test_the_wheel_holds_what_a_person_needs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "transfer_cli/py.typed" in names
    assert "transfer_cli/recipe/builtin/snow-leopard.toml" in names
    assert "transfer_cli/models/weights/embedded_data/mobilenet-0.5-formulas.npz" in names
    assert "transfer_cli/models/weights/embedded_data/MODEL_CARD.md" in names
    assert "transfer_cli/rendering/templates/page.html" in names
    assert sum(name.startswith("transfer_cli/sample_data/patterns/") for name in names) == 240
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/", "embedded_weights/"))]


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    python("-m", "venv", environment)
    pip = [environment / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    subprocess.run(list(map(str, pip)), check=True, timeout=1500)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def call(*words: str) -> Outcome:
        command = [str(environment / "bin/transfer-cli"), *words]
        return Outcome(subprocess.run(command, capture_output=True, cwd=tmp_path, env=clean, timeout=300))

    assert call("sample-data", "patterns").code == 0
    assert call("extract", "patterns", "--recipe", "quick", "--backbone", "embedded", "-o", "run").code == 0
    predicted = call("predict", "run", "patterns/dots")
    assert predicted.code == 0
    assert len(predicted.out.splitlines()) == 61


def test_no_pinned_index_in_the_configuration() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    assert "://" not in text
    assert tomllib.loads(text)["project"]["scripts"] == {"transfer-cli": "transfer_cli.cli.main:main"}


def test_shell_completion() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "transfer-cli"],
        env={
            **os.environ,
            "_TRANSFER_CLI_COMPLETE": "bash_complete",
            "COMP_WORDS": "transfer-cli extract --backbone mobilenet@",
            "COMP_CWORD": "3",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["plain,mobilenet@0.25", "plain,mobilenet@0.5", "plain,mobilenet@0.75"]
