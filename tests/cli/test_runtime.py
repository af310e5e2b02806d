"""``--runtime``: same predictions on every runtime, and a start without TensorFlow."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from tests.conftest import TINY_WORDS
from transfer_cli.cli.main import main
from transfer_cli.features import table


def probabilities(run: Path, images: Path, *arguments: str) -> NDArray[np.float64]:
    result = CliRunner().invoke(main, ["--quiet", "predict", str(run), str(images), *arguments])
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader(result.stdout.splitlines()))
    return np.array([[float(row[word]) for word in row if word.startswith("p_")] for row in rows])


@pytest.mark.parametrize("kind", ["trained", "finetuned"])
@pytest.mark.parametrize("runtime", ["keras", "litert", "openvino"])
def test_predict_same_on_all_runtimes(kind: str, runtime: str, colours: Path, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(kind)
    own = probabilities(run, colours)
    given = probabilities(run, colours, "--runtime", runtime)
    np.testing.assert_allclose(given, own, atol=1e-4)
    assert (given.argmax(axis=1) == own.argmax(axis=1)).all()


@pytest.mark.parametrize("kind", ["trained", "finetuned"])
def test_predict_imports_nothing_heavy(kind: str, colours: Path, request: pytest.FixtureRequest) -> None:
    heavy = ("tensorflow", "keras", "sklearn", "scipy", "skops", "matplotlib", "h5py", "pyarrow", "openvino")
    program = (
        "import sys\n"
        "from transfer_cli.cli.main import main\n"
        f"main(['predict', {str(request.getfixturevalue(kind))!r}, {str(colours)!r}], standalone_mode=False)\n"
        f"print('imported:', [name for name in {heavy!r} if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "imported: []"


@pytest.mark.parametrize("runtime", ["keras", "openvino"])
def test_extract_runtime_reaches_run(runtime: str, colours: Path, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = CliRunner().invoke(main, ["extract", str(colours), *TINY_WORDS, "--runtime", runtime, "-o", str(run)])
    assert result.exit_code == 0, result.stderr
    assert f'[inference]\nruntime = "{runtime}"' in (run / "recipe.toml").read_text()
    assert (run / "model/graph.tflite").exists() == (runtime != "keras")
    given, expected = probabilities(run, colours), probabilities(trained, colours)
    # Features of a random network hardly vary between images; scaling them enlarges rounding differences.
    np.testing.assert_allclose(given, expected, atol=2e-2)
    assert (given.argmax(axis=1) == expected.argmax(axis=1)).all()


@pytest.mark.integration
def test_predict_bundle_without_graph_is_converted(colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    CliRunner().invoke(main, ["extract", str(colours), *TINY_WORDS, "--runtime", "keras", "-o", str(run)])
    own = probabilities(run, colours)
    np.testing.assert_allclose(probabilities(run, colours, "--runtime", "litert"), own, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "inference.precision=bf16"], "precision bf16 needs runtime = openvino. Received: 'auto'."),
        (["--set", "inference.precision=bf16", "--runtime", "litert"], "Received: 'litert'."),
        (["--set", "inference.runtime=litter"], "There is no runtime called 'litter'. Did you mean litert?"),
    ],
)
def test_runtime_wrong_value_is_error(arguments: list[str], message: str, colours: Path) -> None:
    result = CliRunner().invoke(main, ["extract", str(colours), *TINY_WORDS, *arguments])
    assert result.exit_code == 3
    assert message in result.stderr


def test_predict_half_precision_is_close(colours: Path, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--runtime", "openvino", "--set", "inference.precision=bf16"]
    result = CliRunner().invoke(main, ["extract", str(colours), *TINY_WORDS, *arguments, "-o", str(run)])
    assert result.exit_code == 0, result.stderr
    assert "falling back to Keras" not in result.stderr
    assert (run / "model/graph.tflite").is_file()
    exact = table.read(trained / "features.parquet")
    off = np.abs(table.read(run / "features.parquet") - exact).max() / np.abs(exact).max()
    assert 1e-4 < off < 0.1


def test_runtime_not_installed_exits_with_4(
    trained: Path, colours: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRANSFER_CLI_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "openvino", None)
    result = CliRunner().invoke(main, ["predict", str(trained), str(colours), "--runtime", "openvino"])
    assert result.exit_code == 4
    assert "pip install 'transfer-cli[openvino]'" in result.stderr
