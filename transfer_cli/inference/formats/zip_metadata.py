"""Facts and class names in an archive: a `.keras` file, or one behind a LiteRT graph, whose readers pass over it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.embedded_digest import SEAL
from transfer_cli.inference.formats.metadata import ExportedFacts
from transfer_cli.io.untrusted.names import FACTS, LABELS

# The archive must not say when it was made: the same model gives the same bytes.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_LARGEST = 2**24


def add_facts(file: Path | IO[bytes], facts: ExportedFacts) -> None:
    """Add the facts and the class names to an archive, or behind what is none.

    Each part of an archive has a checksum of its own, so the place for the digest is the comment at its end.

    Parameters
    ----------
    file : Path or binary file
    facts : ExportedFacts
    """
    with zipfile.ZipFile(file, "a") as archive:
        for name, text in ((FACTS, facts.json_text(seal="")), (LABELS, facts.labels_text)):
            archive.writestr(zipfile.ZipInfo(name, _NO_DATE), text.encode("utf-8", "surrogateescape"))
        archive.comment = SEAL.encode()


def facts_in(path: Path) -> ExportedFacts:
    """Return the facts in the archive at `path`; raise ModelError where there are none."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(FACTS).file_size > _LARGEST:
                raise ModelError(f"{path} says more of itself than {_LARGEST >> 20} MiB.")
            text = archive.read(FACTS)
    except ModelError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds at a damaged file
        raise ModelError(f"{path} does not say what it is: {error}.") from None
    return ExportedFacts.of_json(text, path)
