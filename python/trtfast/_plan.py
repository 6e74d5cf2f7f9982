"""Plan files, which may be larger than half of the memory: written as they come, mapped to read."""

from __future__ import annotations

import hashlib
import mmap
from typing import TYPE_CHECKING, TypeAlias

from .errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Plan", "Writer", "mapped"]

Plan: TypeAlias = "bytes | mmap.mmap | memoryview"


def mapped(path: Path) -> Plan:
    """Return the bytes of a file without reading them all: the system does, page by page.

    They are unmapped with their last reference.
    """
    with path.open("rb") as file:
        if path.stat().st_size == 0:  # which cannot be mapped
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class Writer:
    """Writes a plan to a file, and hashes it on the way.

    Raises
    ------
    BuildError
        On each way to fail, as of a disk that is full.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self._target = target
        self._digest = hashlib.sha256()
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise self._failure(error) from error

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, data: memoryview) -> None:
        """Write the next bytes."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failure(error) from error
        self._digest.update(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._file.close()  # which writes what is still buffered
        except OSError as failed:
            if error is None:
                raise self._failure(failed) from failed

    def _failure(self, error: OSError) -> BuildError:
        return BuildError(
            f"the plan cannot be written to {self._target} ({error.strerror}): free space there, "
            "or build to another folder"
        )
