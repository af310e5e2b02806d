"""No command runs code of the current folder, whatever its files are called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.conftest import TINY_WORDS, Outcome
from transfer_cli.catalog import classifiers
from transfer_cli.cli.main import main

NAMES = ("types", "joblib", "keras", "numpy", "sitecustomize", "usercustomize", "tensorflow", "sklearn", "json")
START = "import sys; sys.argv[0] = 'transfer-cli'; from transfer_cli.cli.main import main; main()"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Return a folder of modules with the names of libraries; each leaves a file named by it if it is imported."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in NAMES:
        marker = tmp_path / f"{name}.ran"
        (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()\nraise ImportError('code was run')\n")
    return folder


def ran(hostile: Path) -> list[str]:
    """Return the names of the modules that were imported."""
    return sorted(path.stem for path in hostile.parent.glob("*.ran"))


def start(hostile: Path, *words: str | Path, code: str = START, flags: tuple[str, ...] = ("-P",)) -> Outcome:
    """Run the installed command in the hostile folder; its own Python has another folder at the head of its path."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, *flags, "-c", code, *map(str, words)]
    return Outcome(subprocess.run(command, capture_output=True, cwd=hostile, env=environment, timeout=300))


def test_hostile_folder_without_safe_path_runs_code(hostile: Path) -> None:
    """Planted fault: the modules do run where Python looks into the current folder."""
    assert start(hostile, flags=()).code != 0
    assert ran(hostile)


def test_main_children_do_not_import_from_the_current_folder(hostile: Path) -> None:
    assert CliRunner().invoke(main, ["recipes", "list"]).exit_code == 0
    done = subprocess.run([sys.executable, "-c", "import joblib, types, numpy"], cwd=hostile, timeout=60, check=False)
    assert (done.returncode, ran(hostile)) == (0, [])


@pytest.mark.parametrize("name", ["bagging", "random-forest", "extra-trees"])
@pytest.mark.parametrize("jobs", [-1, 64])
def test_classifier_starts_no_process(name: str, jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transfer_cli.classifiers import fit

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr("joblib.externals.loky.get_reusable_executor", refuse)
    monkeypatch.setattr("joblib._parallel_backends.get_memmapping_executor", refuse)
    features, truth = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32), np.arange(30) % 3
    options = fit.FitOptions(3, tune=False, out_of_fold=False)
    pipeline = fit.fit(classifiers.find(name), features, truth, options).pipeline
    expected = fit.probabilities(pipeline, features, 3)
    pipeline.steps[-1][1].set_params(n_jobs=jobs, verbose=3)
    fit.save(pipeline, tmp_path / "classifier.skops")
    loaded = fit.load(tmp_path / "classifier.skops")
    assert (loaded.steps[-1][1].n_jobs, loaded.steps[-1][1].verbose) == (-1, 0)
    np.testing.assert_array_equal(fit.probabilities(loaded, features, 3), expected)


@pytest.mark.integration
@pytest.mark.parametrize("name", classifiers.names())
def test_extract_and_predict_run_no_code_of_the_folder(name: str, hostile: Path, colours: Path) -> None:
    run = hostile / "run"
    done = start(hostile, "extract", colours, *TINY_WORDS, "--classifier", name, "-o", run)
    assert (done.code, ran(hostile)) == (0, []), done.err
    if name != classifiers.NONE:
        done = start(hostile, "predict", run, colours)
        assert (done.code, ran(hostile)) == (0, []), done.err


@pytest.mark.integration
@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "auto COLOURS --time-budget 20s --among mobilenet@0.25 -o out",
        "finetune COLOURS --backbone mobilenet@0.25 --weights none --set images.size=32 --set stage.1.epochs=1 -o out",
        "finetune COLOURS --backbone mobilenet@0.25 --weights none --set images.size=32 --plan",
        "ensemble RUN RUN2 -o out",
        "lr-find COLOURS --backbone mobilenet@0.25 --weights none --set images.size=32 -o out.png",
        "learning-curve COLOURS --backbone mobilenet@0.25 --weights none --set images.size=32 -o out.png",
        "preview COLOURS -o out.png",
        "evaluate RUN COLOURS",
        "compare RUN RUN2",
        "leaks RUN",
        "report RUN",
        "rank COLOURS --among mobilenet@0.25 -o out",
        "rank COLOURS --layers --backbone embedded -o out.png",
        "explain RUN COLOURS -o out",
        "inspect RUN",
        "similar RUN COLOURS",
        "map RUN",
        "data check COLOURS",
        "sample-data -o out",
        "export RUN -o out --format onnx,litert,openvino,keras",
        "recipes list",
        "backbones list",
        "weights list",
        "weights verify",
        "bundle show RUN",
        "bundle verify RUN",
        "bundle pack RUN -o out.zip",
        "cache info",
    ],
)
def test_command_runs_no_code_of_the_folder(
    words: str, hostile: Path, colours: Path, joinable: dict[str, Path]
) -> None:
    places = {"COLOURS": str(colours), "RUN": str(joinable["small"]), "RUN2": str(joinable["large"])}
    done = start(hostile, *(places.get(word, word) for word in words.split()))
    assert ran(hostile) == []
    # Whatever a command answers, it is an answer.
    assert "Traceback" not in done.err, done.err
    assert done.code in (0, 2, 3, 4, 5, 6), done.err
