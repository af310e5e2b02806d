"""Metadata and class names in a ZIP archive: a `.keras` file, or an archive appended to a LiteRT graph."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.embedded_digest import DIGEST_PLACEHOLDER
from transfer_cli.inference.formats.metadata import ExportMetadata
from transfer_cli.io.untrusted.names import LABELS_FILE, METADATA_FILE

# A fixed date: exporting the same model twice gives the same bytes.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_MAX_BYTES = 2**24


def add_metadata(file: Path | IO[bytes], metadata: ExportMetadata) -> None:
    """Add the metadata and the class names to an archive, or append an archive with them to another file.

    The placeholder for the digest is the comment at the end of the archive, because the entries of an archive have
    checksums of their own.
    """
    with zipfile.ZipFile(file, "a") as archive:
        for name, text in ((METADATA_FILE, metadata.json_text(file_digest="")), (LABELS_FILE, metadata.labels_text)):
            archive.writestr(zipfile.ZipInfo(name, _NO_DATE), text.encode("utf-8", "surrogateescape"))
        archive.comment = DIGEST_PLACEHOLDER.encode()


def read_metadata(path: Path) -> ExportMetadata:
    """Return the metadata in the archive at `path`; raise ModelError when it has none."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(METADATA_FILE).file_size > _MAX_BYTES:
                raise ModelError(f"The transfer-cli metadata in {path} is larger than {_MAX_BYTES >> 20} MiB.")
            text = archive.read(METADATA_FILE)
    except ModelError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds of errors for a damaged file
        raise ModelError(f"{path} has no readable transfer-cli metadata: {error}.") from None
    return ExportMetadata.from_json(text, path)
