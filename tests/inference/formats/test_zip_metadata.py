from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.inference.formats.test_metadata import METADATA
from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.zip_metadata import read_metadata
from transfer_cli.io.untrusted.names import METADATA_FILE


def test_read_metadata_damaged_archive_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(METADATA_FILE, METADATA.json_text())
    assert read_metadata(path) == METADATA
    content = bytearray(path.read_bytes())
    content[30 + len(METADATA_FILE)] = 0xFF
    path.write_bytes(content)
    with pytest.raises(ModelError, match="no readable transfer-cli metadata"):
        read_metadata(path)
