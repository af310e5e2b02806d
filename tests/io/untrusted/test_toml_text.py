from __future__ import annotations

import time
from pathlib import Path

import pytest

from transfer_cli.errors import RecipeError
from transfer_cli.io.untrusted.toml_text import MAX_BYTES, parse_toml, read_toml
from transfer_cli.recipe import toml_source


def test_read_toml_ordinary_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf# " + b"." * 500 + b"\r\n[a.b]\r\nc = [1, [2]]\r\n")
    text, data = read_toml(tmp_path / "a.toml")
    assert data == {"a": {"b": {"c": [1, [2]]}}}
    assert "\r" not in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" + ".a" * 10_000 + " = 1", "line 1 has more than 100 dots"),
        ("[a" + ".a" * 50_000 + "]\nb = 1", "line 1 has more than 100 dots"),
        ("x = 1\ny = { a" + ".a" * 3000 + " = 1 }", "line 2 has more than 100 dots"),
        ("a = " + "[" * 50_000, "nested too deeply"),
        ("a = " + "{b = " * 50_000, "nested too deeply"),
        ("a = " + "[" * 150 + "]" * 150, "nested too deeply"),
        ("\n".join(["[" + ".".join("a" * 99) + ".b]"] * 2), "Cannot declare"),
        ("# " + "x" * MAX_BYTES, "at most 300,000 are expected"),
        ("a = 0x" + "f" * 100_000, "an integer has more than 64 bits"),
        ("a = [{b = 0x8000000000000001}]", "an integer has more than 64 bits"),
        ("a = 9223372036854775808", "an integer has more than 64 bits"),
    ],
)
def test_parse_toml_hostile_text_is_refused_at_once(text: str, reason: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match=reason):
        parse_toml(text)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["a.toml", "b.toml"])
def test_read_hostile_recipe_is_a_recipe_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("a" + ".a" * 10_000 + " = 1" if name == "a.toml" else "a = " + "[" * 10_000)
    with pytest.raises(RecipeError, match="Cannot read"):
        toml_source.read(tmp_path / name)


def test_override_of_many_sections_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"expected SECTION.KEY. Received 10,000 dots"):
        toml_source.override({}, "a" + ".a" * 10_000, 1)
