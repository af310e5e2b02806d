from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from transfer_cli.rendering import html
from transfer_cli.rendering.html import render, with_code, with_options


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a package with the templates ``page_of_fact.html``, which shows `fact`, and ``title.js``."""
    templates = tmp_path / "package_for_html/templates"
    templates.mkdir(parents=True)
    (templates.parent / "__init__.py").touch()
    (templates / "title.js").write_text('document.title = "<done>";')
    (templates / "page_of_fact.html").write_text(
        '{% extends "page.html" %}{% block main %}<p>{{ fact }}</p>{% endblock %}'
    )
    monkeypatch.syspath_prepend(tmp_path)
    html._environment.cache_clear()
    return "package_for_html"


def test_render_page_is_escaped_and_self_contained(package: str, tmp_path: Path) -> None:
    target = tmp_path / "new/page.html"
    size = render(package, "page_of_fact.html", target, fact="<b>& a name", script="title.js")
    page = target.read_text("utf-8")
    assert size == target.stat().st_size
    assert "&lt;b&gt;&amp; a name" in page
    assert not re.search(r"(src|href)=[\"']?(https?:|//)|@import|url\(", page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src &#39;none&#39;" in policy
    assert f"script-src &#39;sha256-{digest}&#39;" in policy


def test_render_missing_value_is_error_and_writes_nothing(package: str, tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        render(package, "page_of_fact.html", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_render_name_with_surrogates_can_be_written(package: str, tmp_path: Path) -> None:
    render(package, "page_of_fact.html", tmp_path / "page.html", fact="caf\udce9.jpg")
    assert "caf?.jpg" in (tmp_path / "page.html").read_text("utf-8")


def test_with_options_and_with_code_escape_and_mark_code() -> None:
    assert with_options("<b> twice: --group-by near-duplicates, or --recipe imbalanced") == (
        '&lt;b&gt; twice: <code class="option">--group-by near-duplicates</code>, or '
        '<code class="option">--recipe imbalanced</code>'
    )
    assert with_code("run `extract <x> --group-by y`") == (
        "run <code><span>extract</span> <span>&lt;x&gt;</span> <span>--group-by</span> <span>y</span></code>"
    )
    assert ".option { white-space: nowrap; }" in (Path(html.__file__).parent / "templates/page.css").read_text()
