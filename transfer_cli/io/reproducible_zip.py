"""Zip files that libraries write, without what differs between two equal ones: dates and memory addresses."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from transfer_cli.io.atomic import remove

_EPOCH = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o100644 << 16
_CHUNK_BYTES = 1 << 20
_TEXTS = (".json",)
_DATE = re.compile(rb'("date_saved": ")[^"]*(")')
_ADDRESS = re.compile(rb'("(?:__id__|shared_object_id)": |"file": ")(\d+)(?=[,.}\s])')
"""An object is named by its memory address, an array of it by a file of that name; in a JSON string, the quotation
marks would be escaped."""


def make_reproducible(path: Path) -> None:
    """Write a ``.keras`` or ``.skops`` file again: dates are constant, and objects numbered in their order.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    draft, numbers = path.with_name(f"{path.name}.new"), dict[bytes, bytes]()
    try:
        with ZipFile(path) as source, ZipFile(draft, "w", ZIP_STORED) as target:
            members = source.infolist()
            texts = {
                member.filename: _normalized(source.read(member), numbers)
                for member in members
                if member.filename.endswith(_TEXTS)
            }
            names = {f"{old.decode()}.npy": f"{new.decode()}.npy" for old, new in numbers.items()}
            for member in members:
                info = ZipInfo(names.get(member.filename, member.filename), _EPOCH)
                info.create_system, info.external_attr = 3, _READABLE
                if member.filename in texts:
                    target.writestr(info, texts[member.filename])
                    continue
                info.file_size = member.file_size
                with source.open(member) as packed, target.open(info, "w") as copy:
                    shutil.copyfileobj(packed, copy, _CHUNK_BYTES)
        draft.replace(path)
    finally:
        remove(draft)


def _normalized(text: bytes, numbers: dict[bytes, bytes]) -> bytes:
    def number(match: re.Match[bytes]) -> bytes:
        return match[1] + numbers.setdefault(match[2], str(len(numbers) + 1).encode())

    return _ADDRESS.sub(number, _DATE.sub(rb"\g<1>1980-01-01@00:00:00\2", text))
