"""How a process of this program starts: names of files as UTF-8, and no warnings of libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY_WORDS, save_image
from transfer_cli import system
from transfer_cli.bundle.manifest import digest_of_manifest, manifest_text
from transfer_cli.io.untrusted.json_text import parse_json

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
START = "import sys, warnings; from transfer_cli.cli.main import main; {body}; main(prog_name='transfer-cli')"


def start(*words: str | Path, body: str = "pass", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line as its installed script does, in a process of its own."""
    command = [sys.executable, "-c", START.format(body=body), *map(str, words)]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, timeout=300)


@pytest.mark.parametrize("name", ["L\u00f6we", "\u72d0\u72f8"])
def test_program_under_another_locale_reads_names_as_utf8(name: str, tmp_path: Path) -> None:
    for class_name in (name, "hare"):
        save_class(tmp_path / "photos" / class_name)
    done = start("data", "split", tmp_path / "photos", "-o", tmp_path / "split.csv", **ASCII)
    assert done.returncode == 0, done.stderr
    assert f"{name} 4" in done.stderr.decode("utf-8")


def save_class(folder: Path) -> None:
    import numpy as np

    for number in range(4):
        save_image(folder / f"{number}.png", (200, 30, 30), np.random.default_rng(number))


@pytest.mark.integration
def test_run_made_under_another_locale_is_usable_under_every(tmp_path: Path) -> None:
    for class_name in ("L\u00f6we", "hare"):
        save_class(tmp_path / "photos" / class_name)
    done = start("extract", tmp_path / "photos", *TINY_WORDS, "-o", tmp_path / "run", **ASCII)
    assert done.returncode == 0, done.stderr
    for environment in ({}, ASCII):
        done = start("predict", tmp_path / "run", tmp_path / "photos/hare", "--top-k", "1", **environment)
        assert done.returncode == 0, done.stderr


def test_digest_of_manifest_is_the_same_for_both_forms_of_a_name() -> None:
    text = "L\u00f6we"
    lone = text.encode("utf-8").decode("ascii", "surrogateescape")
    read = parse_json(manifest_text({"class_names": [lone]}).encode("utf-8", "surrogateescape"), most_bytes=1000)
    assert read == {"class_names": [text]}
    assert digest_of_manifest({"class_names": [lone]}) == digest_of_manifest(read)
    # Bytes that are not UTF-8 keep a digest of their own, and other names have another one.
    others = [{"class_names": [name]} for name in ("L\udcf6we", "Lowe", text)]
    assert len({digest_of_manifest(each) for each in others}) == 3


def test_use_utf8_mode_starts_again_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, words: started.append(words))
    monkeypatch.delenv("PYTHONUTF8", raising=False)
    system.use_utf8_mode()
    assert not started
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-P", "bin/transfer-cli", "extract"])
    system.use_utf8_mode()
    assert started == [[sys.executable, "-P", "bin/transfer-cli", "extract"]]
    assert os.environ["PYTHONUTF8"] == "1"
    # A Python that ignores the mode is not started for ever.
    system.use_utf8_mode()
    assert len(started) == 1


@pytest.mark.parametrize("category", ["UserWarning", "FutureWarning"])
def test_program_prints_no_warning_of_a_library(category: str) -> None:
    body = (
        "Group = type(main); make = Group.make_context; Group.make_context = lambda *words, **options: "
        f"(warnings.warn('numbers look odd', {category}), make(*words, **options))[1]"
    )
    quiet = start("recipes", "list", body=body)
    assert quiet.returncode == 0
    assert b"numbers look odd" not in quiet.stderr
    # The planted fault: Python prints it, if someone asks for warnings.
    assert b"numbers look odd" in start("recipes", "list", body=body, PYTHONWARNINGS="always").stderr
