"""The programs in docs/clients run without transfer-cli and predict like the run."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import chromium
from tests.conftest import REPOSITORY, TINY, TINY_SIZE, run_command
from transfer_cli.catalog import export_formats
from transfer_cli.export.export import export
from transfer_cli.inference.load import load
from transfer_cli.inference.predict import predict

pytestmark = pytest.mark.integration

CLIENTS = REPOSITORY / "docs" / "clients"
ONNX_WEB = Path("node_modules") / "onnxruntime-web" / "dist"


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the run on the colours in every float32 format."""
    target = tmp_path_factory.mktemp("exported") / "export"
    specs = [spec for spec in export_formats.EXPORT_FORMATS.values() if spec.precision == "f32"]
    assert not any(result.failure for result in export(str(trained), specs, target))
    return target


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return images of the model's input size, which no client has to resize."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(3)
    for name, colour in {"one": (30, 40, 200), "two": (30, 190, 40), "three": (210, 30, 30)}.items():
        noise = random.normal(0, 8, (32, 32, 3)) + colour
        Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def unusual(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return a transparent image, a grey one, a transparent grey one and two of 16 bits, of the model's input size."""
    folder = tmp_path_factory.mktemp("unusual")
    blue = np.full((32, 32, 4), (30, 40, 200, 255), np.uint8)
    blue[:, :20] = (0, 255, 0, 0)
    Image.fromarray(blue).save(folder / "clear.png")
    Image.new("L", (32, 32), 90).save(folder / "grey.png")
    grey = np.stack([np.full((32, 32), 90), np.eye(32) * 255], -1)
    Image.fromarray(grey.astype(np.uint8)).save(folder / "clear_grey.png")
    for depth, name in ((2**16 - 1, "deep"), (2**12 - 1, "dark")):
        Image.fromarray(np.linspace(0, depth, 32 * 32).reshape(32, 32).astype(np.uint16)).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("bit_depth", [None, 12])
def test_client_reads_unusual_images_as_predict_does(
    bit_depth: int | None, unusual: list[Path], colours: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = [] if bit_depth is None else ["--bit-depth", bit_depth]
    size = ["--backbone", TINY, "--weights", "none", "--set", f"images.size={TINY_SIZE}"]
    run_command("extract", colours, *size, *map(str, words), "-o", run)
    run_command("export", run, "--format", "onnx", "-o", tmp_path / "x")
    model = str(tmp_path / "x" / "model.onnx")
    predicted = [row for batch in predict(load(model), map(str, unusual)) for row in batch.probabilities]
    command = [sys.executable, "-I", str(CLIENTS / "with_onnx.py"), model, *map(str, unusual)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    for line, row in zip(done.stdout.splitlines(), predicted, strict=True):
        assert float(line.split("\t")[2]) == pytest.approx(float(row.max()), abs=2e-3)


@pytest.fixture(scope="module")
def expected(trained: Path, images: list[Path]) -> list[tuple[str, float]]:
    """Return the predicted class and its probability for each image."""
    model = load(str(trained))
    rows = model.predict_proba(np.stack([np.asarray(Image.open(path)) for path in images]))
    return [(model.class_names[row.argmax()], float(row.max())) for row in rows]


@pytest.mark.parametrize(
    ("client", "file"),
    [
        ("with_keras.py", "model.keras"),
        ("with_litert.py", "model.tflite"),
        ("with_onnx.py", "model.onnx"),
        ("with_openvino.py", "model.xml"),
        ("with_saved_model.py", "saved_model"),
    ],
)
def test_client_predicts_like_the_run(
    exported: Path, images: list[Path], expected: list[tuple[str, float]], client: str, file: str
) -> None:
    source = (CLIENTS / client).read_text()
    assert "transfer_cli " not in source
    assert "import transfer_cli" not in source
    assert len(source.splitlines()) < 36
    # With -I the client can import installed packages only, and nothing from the current folder.
    command = [sys.executable, "-I", str(CLIENTS / client), str(exported / file), *map(str, images)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == [str(path) for path in images]
    for (_, label, probability), (expected_label, confidence) in zip(lines, expected, strict=True):
        assert label == expected_label
        assert float(probability) == pytest.approx(confidence, abs=1e-3)


@pytest.fixture
def site(exported: Path, tmp_path: Path) -> Iterator[str]:
    """Serve a folder with the page, the model and ONNX Runtime Web on this machine, and yield its address."""
    web = REPOSITORY / ONNX_WEB
    if not web.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI must have ONNX Runtime Web in {ONNX_WEB}")
        pytest.skip("no ONNX Runtime Web: npm install --no-package-lock onnxruntime-web")
    folder = tmp_path / "site"
    folder.mkdir()
    for path in (CLIENTS / "browser.html", exported / "model.onnx", exported / "labels.txt"):
        shutil.copy(path, folder)
    for path in (web / "ort.wasm.min.js", *web.glob("ort-wasm-simd-threaded.*")):
        shutil.copy(path, folder)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/browser.html"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_browser_page_predicts_like_the_run(
    site: str, images: list[Path], expected: list[tuple[str, float]], tmp_path: Path
) -> None:
    with chromium(tmp_path / "profile") as browser:
        browser.get(site)
        output = browser.find_element(By.TAG_NAME, "output")
        WebDriverWait(browser, 60).until(lambda _: output.text == "ready")
        for path, (label, confidence) in zip(images, expected, strict=True):
            before = output.text
            browser.find_element(By.TAG_NAME, "input").send_keys(str(path))
            WebDriverWait(browser, 60).until(lambda _, before=before: output.text != before)
            name, probability = output.text.rsplit(" ", 1)
            assert name == label
            assert float(probability) == pytest.approx(confidence, abs=2e-3)
        errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert [error for error in errors if "favicon.ico" not in error] == []
