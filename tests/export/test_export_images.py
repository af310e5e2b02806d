from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import export_formats
from transfer_cli.data.split import Split
from transfer_cli.errors import InputError
from transfer_cli.export.export import export
from transfer_cli.export.export_images import ExportImages

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
    assert "where the images are now: --images DIR" in str(error.value.hint)


def split_of(run: Path, **counts: int) -> None:
    """Write another split of a run: so many images in each part, the others in none."""
    split = Split.read(run / "split.csv")
    parts = [part for part, count in counts.items() for _ in range(count)]
    # Every third row, so that all classes are in every part.
    rows = [row for start in range(3) for row in split.rows[start::3]][: len(parts)]
    rows = [replace(row, part=part) for row, part in zip(rows, parts, strict=True)]
    replace(split, rows=tuple(rows)).write(run / "split.csv")


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"train": 12, "val": 8, "test": 8}, "val"),
        ({"train": 12, "val": 3, "test": 8}, "val + test"),
        ({"train": 12, "val": 3, "test": 4}, "val + test + train"),
        ({"train": 12, "test": 7}, "test + train"),
        ({"train": 12}, "train"),
    ],
)
def test_few_images_are_filled_up_with_those_of_other_parts(
    copy_of_trained: Path, counts: dict[str, int], expected: str
) -> None:
    split_of(copy_of_trained, **counts)
    images = ExportImages.of(str(copy_of_trained), ModelBundle.open(copy_of_trained).bundle, None)
    assert images.compared_with == expected
    assert len(images.compared) == sum(counts[part] for part in expected.split(" + "))
    assert len(images.to_compare()) == len(images.compared)


def test_run_of_fewer_than_8_images_is_compared_on_any_folder(copy_of_trained: Path, colours: Path) -> None:
    split_of(copy_of_trained, train=4, test=3)
    bundle = ModelBundle.open(copy_of_trained).bundle
    with pytest.raises(InputError, match=r"Found 7 images in .* Expected at least 8") as caught:
        ExportImages.of(str(copy_of_trained), bundle, None)
    assert "any folder of at least 8 images: --images DIR" in str(caught.value.hint)
    images = ExportImages.of(str(copy_of_trained), bundle, colours / "red")
    assert (images.compared_with, len(images.to_compare())) == ("the folder", 12)
    # The planted fault: a hint that leads nowhere, since int8 needs images with classes.
    with pytest.raises(InputError, match="int8 formats need 8") as caught:
        images.check_int8_images()
    assert "train again with more images" in str(caught.value.hint)
