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
from tests.conftest import REPOSITORY
from transfer_cli.catalog import export_formats
from transfer_cli.export.export import export
from transfer_cli.inference.load import load

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
    assert len(source.splitlines()) < 30
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
