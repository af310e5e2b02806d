from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from transfer_cli.catalog import export_formats
from transfer_cli.errors import InputError
from transfer_cli.export.export import export

pytestmark = pytest.mark.integration

LITERT, INT8 = export_formats.find(export_formats.LITERT), export_formats.find(export_formats.LITERT_INT8)


def test_bundle_without_run_needs_images(trained: Path, colours: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(trained / "model", bundle)
    with pytest.raises(InputError, match="without its run"):
        export(str(bundle), [LITERT], tmp_path / "export")
    results = export(str(bundle), [LITERT], tmp_path / "export", images=colours)
    assert results[0].failure is None
    assert results[0].parity.images == 36
    with pytest.raises(InputError, match="need training images"):
        export(str(bundle), [INT8], tmp_path / "export", images=colours)


def test_too_few_readable_images_are_rejected(trained: Path, colours: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(trained / "model", tmp_path / "bundle")
    with pytest.raises(InputError, match="There is no folder"):
        export(str(bundle), [LITERT], tmp_path / "export", images=tmp_path / "nowhere")
    broken = tmp_path / "broken"
    broken.mkdir()
    shutil.copy(next(colours.rglob("*.png")), broken)
    for number in range(20):
        (broken / f"{number}.png").write_bytes(b"none")
    with pytest.raises(InputError, match="1 of 21 images could be read"):
        export(str(bundle), [LITERT], tmp_path / "export", images=broken)


def test_missing_images_of_a_run_suggest_the_option(copy_of_trained: Path, tmp_path: Path) -> None:
    (copy_of_trained / "folder.txt").write_text(str(tmp_path / "gone"))
    with pytest.raises(InputError, match="Found 0 images") as error:
        export(str(copy_of_trained), [LITERT], tmp_path / "export")
    assert "--images" in str(error.value.hint)
