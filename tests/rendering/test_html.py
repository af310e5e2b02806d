from __future__ import annotations

import base64
import hashlib
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from transfer_cli.data.decoding import fitted
from transfer_cli.rendering import html
from transfer_cli.rendering.html import render, thumbnails, with_code, with_options


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a page that says `fact`, among the templates for one test."""
    from jinja2 import ChoiceLoader, FileSystemLoader

    environment = html._environment().overlay()
    assert environment.loader is not None
    environment.loader = ChoiceLoader([FileSystemLoader(tmp_path), environment.loader])
    monkeypatch.setattr(html, "_environment", lambda: environment)
    (tmp_path / "said.js").write_text('document.title = "<done>";')
    (tmp_path / "said.html").write_text('{% extends "page.html" %}{% block main %}<p>{{ fact }}</p>{% endblock %}')
    return tmp_path / "said.html"


def test_a_page_is_one_file_without_a_way_out(template: Path, tmp_path: Path) -> None:
    target = tmp_path / "made/page.html"
    size = render(template.name, target, fact="<b>& a name", script="said.js")
    page = target.read_text("utf-8")
    assert size == target.stat().st_size
    assert "&lt;b&gt;&amp; a name" in page
    assert not re.search(r"(src|href)=[\"']?(https?:|//)|@import|url\(", page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src &#39;none&#39;" in policy
    assert f"script-src &#39;sha256-{digest}&#39;" in policy


def test_what_a_page_lacks_is_no_silence(template: Path, tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        render(template.name, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_name_that_is_no_unicode_can_be_written(template: Path, tmp_path: Path) -> None:
    render(template.name, tmp_path / "page.html", fact="caf\udce9.jpg")
    assert "caf?.jpg" in (tmp_path / "page.html").read_text("utf-8")


def test_thumbnails_are_whole_upright_and_small(tmp_path: Path) -> None:
    pixels = np.zeros((60, 200, 3), np.uint8)
    pixels[:, :100] = 250
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    found = thumbnails(["turned.png", "broken.jpg", "gone.jpg", "turned.png"], tmp_path, side=50)
    assert list(found) == ["turned.png", "broken.jpg", "gone.jpg"]
    assert found["broken.jpg"] is None
    assert found["gone.jpg"] is None
    uri = found["turned.png"]
    assert uri is not None
    seen = Image.open(BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))
    assert seen.size == (15, 50)
    assert np.asarray(seen)[:20].mean() > 200
    assert np.asarray(seen)[-20:].mean() < 50


def test_a_small_picture_stays_small(tmp_path: Path) -> None:
    Image.new("RGB", (9, 4)).save(tmp_path / "small.png")
    small = fitted(tmp_path / "small.png", 50)
    assert not isinstance(small, str)
    assert small.shape == (4, 9, 3)
    assert fitted(tmp_path, 50) == "a folder"


def test_an_option_is_code_and_no_line_ends_at_its_hyphens() -> None:
    said = with_options("<b> twice: --group-by near-duplicates keeps, or --recipe imbalanced")
    assert said == (
        '&lt;b&gt; twice: <code class="option">--group-by near-duplicates</code> keeps, or '
        '<code class="option">--recipe imbalanced</code>'
    )
    assert with_code("take `extract <x> --group-by y`") == (
        "take <code><span>extract</span> <span>&lt;x&gt;</span> <span>--group-by</span> <span>y</span></code>"
    )
    assert ".option { white-space: nowrap; }" in (Path(html.__file__).parent.parent / "templates/page.css").read_text()
