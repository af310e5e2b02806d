"""Arrays of one training run: in memory while they fit, else in memory-mapped files that are removed at the end."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import scratch_folder

MEMORY_BYTES = 2**31
"""Memory that the arrays of a training run may use together; further arrays are memory-mapped."""


class ArrayStore(ExitStack):
    """Allocates arrays; a context manager that removes the memory-mapped files at its end.

    Parameters
    ----------
    directory : Path
        Where memory-mapped files are created.
    memory_bytes : int
    """

    def __init__(self, directory: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        super().__init__()
        self._directory = directory
        self._memory_left = memory_bytes
        self._mapped_in: Path | None = None
        self._count = 0

    def array(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return an uninitialised array.

        Raises
        ------
        OutputError
            If it fits neither into memory nor on the disk.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size <= self._memory_left:
            self._memory_left -= size
            return np.empty(shape, dtype)
        return self._mapped(shape, dtype, size)

    def release(self, array: NDArray[Any]) -> None:
        """Free an array; the caller must not use it any more."""
        if not isinstance(array, np.memmap):
            self._memory_left += array.nbytes
        elif array.filename is not None:
            Path(array.filename).unlink(missing_ok=True)

    def _mapped(self, shape: tuple[int, ...], dtype: Any, size: int) -> NDArray[Any]:
        if self._mapped_in is None:
            self._mapped_in = self.enter_context(scratch_folder(self._directory, ".arrays-"))
        path = self._mapped_in / f"{self._count}.bin"
        self._count += 1
        try:
            with path.open("wb") as file:
                _reserve(file, size)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise OutputError(
                f"There is no room for {size / 1e9:.1f} GB of images or features in {self._directory}: {reason}.",
                hint="Free disk space, or choose another disk with -o RUN.",
            ) from error
        return np.memmap(path, dtype=dtype, mode="r+", shape=shape)


def _reserve(file: IO[bytes], size: int) -> None:
    """Allocate the disk space now: writing to a mapping on a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    zeros = bytes(min(size, 2**24))
    for start in range(0, size, len(zeros)):
        file.write(zeros[: size - start])
