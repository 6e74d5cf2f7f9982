"""Plan files: written as they come, and mapped to read."""

from __future__ import annotations

import hashlib
import mmap
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtfast import _plan
from trtfast.errors import BuildError
from trtfast.passport import Header, replacing, sha256


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond this size, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(pieces=st.lists(st.binary(max_size=100), max_size=10))
def test_file_holds_the_pieces_and_the_hash_is_theirs(
    pieces: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("plan") / "model.engine"
    with _plan.Writer(path, path) as writer:
        for piece in pieces:
            writer.write(memoryview(piece))
    assert path.read_bytes() == b"".join(pieces)
    assert writer.sha256 == hashlib.sha256(b"".join(pieces)).hexdigest()


@pytest.mark.parametrize("size", [100, 1_000_000], ids=["at the end", "at once"])
def test_full_disk_is_told_and_leaves_no_file(size: int, tmp_path: Path) -> None:
    """A small plan reaches the disk only when the file is closed."""
    target = tmp_path / "model.engine"
    with (
        pytest.raises(BuildError, match=r"model\.engine.*File too large.*free space") as caught,
        largest_file(50),
        replacing(target) as partial,
        _plan.Writer(partial, target) as writer,
    ):
        writer.write(memoryview(bytes(size)))
    assert isinstance(caught.value.__cause__, OSError)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    target = tmp_path / "none" / "model.engine"
    with pytest.raises(BuildError, match=r"none/model\.engine.*No such file or directory"):
        _plan.Writer(target, target)


def test_error_of_the_caller_is_not_replaced_by_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.engine"

    def fail() -> None:
        with _plan.Writer(path, path) as writer:
            writer.write(memoryview(bytes(100)))
            raise RuntimeError("the caller's")

    with pytest.raises(RuntimeError, match="the caller's"), largest_file(50):
        fail()


def test_mapped_file_is_read_as_bytes_are(tmp_path: Path) -> None:
    path = tmp_path / "model.engine"
    plan = b"vtrt" + bytes(12) + (64).to_bytes(8, "little") + bytes([1, 5, 0, 114]) + bytes(36)
    path.write_bytes(plan)
    mapped = _plan.mapped(path)
    assert isinstance(mapped, mmap.mmap)
    assert mapped[:] == plan
    assert Header.of(mapped) == Header.of(plan) == Header("TensorRT-RTX", "1.5.0.114", 64)
    assert sha256(mapped) == sha256(plan)
    path.unlink()  # as when another plan takes its place
    assert mapped[:] == plan


def test_empty_file_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "model.engine"
    path.touch()
    assert _plan.mapped(path) == b""
