"""What is kept for the next start: engines that were built, kernels that TensorRT-RTX compiled.

The cache is a folder of plans with their passports, of TensorRT-RTX's runtime caches, and of
TensorRT's timing caches. The key of each is all that it depends on. Several processes may use it at
once.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import passport

if TYPE_CHECKING:
    from collections.abc import Callable

    from filelock import BaseFileLock

__all__ = [
    "Entry",
    "cache_dir",
    "clear",
    "entries",
    "get",
    "key_of",
    "limit",
    "read_runtime",
    "read_timings",
    "write_runtime",
    "write_timings",
]

_DEFAULT_LIMIT = 10 * 2**30
_KINDS = (".engine", ".runtime", ".timings")


@dataclass(frozen=True)
class Entry:
    """A cached engine, runtime cache or timing cache.

    Attributes
    ----------
    path : Path
        ``*.engine``, with a passport beside it, ``*.runtime`` or ``*.timings``.
    size : int
        Bytes, with the passport's.
    used : float
        When it was last asked for, in seconds since the epoch.
    """

    path: Path
    size: int
    used: float


def cache_dir() -> Path:
    """Return ``TRTFAST_CACHE_DIR``, else ``trtfast`` in the user's cache directory."""
    if given := os.environ.get("TRTFAST_CACHE_DIR"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trtfast"


def limit() -> int:
    """Return the most bytes that the cache keeps: ``TRTFAST_CACHE_SIZE``, else 10 GiB."""
    return int(os.environ.get("TRTFAST_CACHE_SIZE") or _DEFAULT_LIMIT)


def key_of(**identity: Any) -> str:
    """Return the hash of all that something depends on."""
    return passport.sha256(json.dumps(identity, sort_keys=True, default=repr).encode())


def get(key: str, make: Callable[[Path], object]) -> Path:
    """Return the plan of a key; make it if it is not there.

    Parameters
    ----------
    key : str
        Of :func:`key_of`.
    make : callable
        Writes the plan and its passport to the path it is given. Of several processes that want the
        same plan, one makes it and the others wait.
    """
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.engine"
    with _lock(path):
        if not (path.exists() and passport.path_of(path).exists()):
            make(path)
        os.utime(path)
    _evict(keep=path)
    return path


def read_runtime(key: str) -> bytes | None:
    """Return the runtime cache of a key, None if there is none."""
    return _read(cache_dir() / f"{key}.runtime")


def write_runtime(key: str, data: bytes) -> None:
    """Keep a runtime cache; a reader gets this one or the one before, whole."""
    path = cache_dir() / f"{key}.runtime"
    path.parent.mkdir(parents=True, exist_ok=True)
    with passport.replacing(path) as partial:
        partial.write_bytes(data)
    _evict(keep=path)


def read_timings(key: str | Path) -> bytes | None:
    """Return the timing cache of a key, or in a file of the user's; None if there is none."""
    return _read(_timings(key))


def write_timings(
    key: str | Path, data: bytes, known: bytes | None, merge: Callable[[bytes, bytes], bytes]
) -> None:
    """Keep a timing cache, and what others kept meanwhile.

    Parameters
    ----------
    key : str or Path
        Of :func:`key_of`, or a file of the user's.
    data : bytes
        What a build gave.
    known : bytes or None
        What that build had from :func:`read_timings`.
    merge : callable
        Makes one timing cache of two. It is called only if what is kept is no longer ``known``.
    """
    path = _timings(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path):
        held = _read(path)
        if held is not None and held != known:
            data = merge(data, held)
        if data != held:
            with passport.replacing(path) as partial:
                partial.write_bytes(data)
    _evict(keep=path)


def entries() -> list[Entry]:
    """Return what the cache holds, least recently used first."""
    found = []
    for path in (path for kind in _KINDS for path in cache_dir().glob(f"*{kind}")):
        try:
            stats = [file.stat() for file in _files_of(path)]
        except FileNotFoundError:  # another process is making or deleting it
            continue
        found.append(Entry(path, sum(stat.st_size for stat in stats), stats[-1].st_mtime))
    return sorted(found, key=lambda entry: entry.used)


def clear() -> int:
    """Delete all that no process is making just now; return the bytes that were freed."""
    return sum(_delete(entry) for entry in entries())


def _timings(key: str | Path) -> Path:
    return key if isinstance(key, Path) else cache_dir() / f"{key}.timings"


def _read(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
        os.utime(path)
    except FileNotFoundError:
        return None
    return data


def _evict(keep: Path) -> None:
    held = entries()
    excess = sum(entry.size for entry in held) - limit()
    for entry in held:
        if excess <= 0:
            return
        if entry.path != keep:
            excess -= _delete(entry)


def _delete(entry: Entry) -> int:
    from filelock import Timeout

    try:
        with _lock(entry.path, timeout=0):
            for file in _files_of(entry.path):
                file.unlink(missing_ok=True)
    except Timeout:
        return 0
    return entry.size


def _files_of(path: Path) -> list[Path]:
    # The passport goes first: without it, a plan that is left behind is made anew.
    return [passport.path_of(path), path] if path.suffix == ".engine" else [path]


def _lock(path: Path, timeout: float = -1) -> BaseFileLock:
    from filelock import FileLock

    return FileLock(path.with_suffix(".lock"), timeout=timeout)
