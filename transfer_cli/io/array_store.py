"""Arrays of one training: in memory while they fit, else in files that are gone when it ends."""

from __future__ import annotations

import math
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import refused

MEMORY_BYTES = 2**31
"""All arrays of a training together take no more memory than this; the rest is memory-mapped."""


class Scratch:
    """A place for arrays.

    Parameters
    ----------
    place : Path
        The directory for those that do not fit into memory.
    memory_bytes : int
    """

    def __init__(self, place: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        self._place = place
        self._left = memory_bytes
        self._folder: TemporaryDirectory[str] | None = None
        self._count = 0

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def array(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return an array to be filled.

        Raises
        ------
        OutputError
            When it neither fits into memory nor onto the disk.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size <= self._left:
            self._left -= size
            return np.empty(shape, dtype)
        return self._mapped(shape, dtype, size)

    def give_back(self, array: NDArray[Any]) -> None:
        """Take back an array; its owner lets go of it."""
        if not isinstance(array, np.memmap):
            self._left += array.nbytes
        elif array.filename is not None:
            Path(array.filename).unlink(missing_ok=True)

    def _mapped(self, shape: tuple[int, ...], dtype: Any, size: int) -> NDArray[Any]:
        if self._folder is None:
            try:
                self._folder = TemporaryDirectory(prefix=".scratch-", dir=self._place)
            except OSError as error:
                raise refused(error, self._place) from error
        path = Path(self._folder.name) / f"{self._count}.bin"
        self._count += 1
        try:
            with path.open("wb") as file:
                _reserve(file, size)
        except OSError as error:
            raise OutputError(
                f"{size / 1e9:.1f} GB of pictures or views of them do not fit beside the run {self._place}: "
                f"{os.strerror(error.errno or 0)}.",
                hint="Make room, or choose another place with -o RUN.",
            ) from error
        return np.memmap(path, dtype=dtype, mode="r+", shape=shape)


def _reserve(file: IO[bytes], size: int) -> None:
    """Make sure of room on the disk: writing to a mapping of a full one kills the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    zeros = bytes(min(size, 2**24))
    for start in range(0, size, len(zeros)):
        file.write(zeros[: size - start])
