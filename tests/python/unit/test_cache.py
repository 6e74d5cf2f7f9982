"""The cache: one key, one engine; bounded; shared by processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from trtfast import cache, passport


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTFAST_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def maker(size: int, made: list[Path] | None = None) -> object:
    def make(path: Path) -> None:
        if made is not None:
            made.append(path)
        path.write_bytes(bytes(size))
        passport.path_of(path).write_text("{}")

    return make


def age(path: Path, seconds: float) -> None:
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


def test_key_depends_on_every_value() -> None:
    keys = [cache.key_of(a=1, b="x"), cache.key_of(a=2, b="x"), cache.key_of(a=1, b="y")]
    assert len(set(keys)) == 3
    assert cache.key_of(b="x", a=1) == keys[0]


def test_what_is_there_is_not_made_again(folder: Path) -> None:
    made: list[Path] = []
    first = cache.get("k", maker(10, made))
    assert cache.get("k", maker(10, made)) == first == folder / "k.engine"
    assert len(made) == 1


def test_plan_without_passport_is_made_again() -> None:
    made: list[Path] = []
    passport.path_of(cache.get("k", maker(10, made))).unlink()
    cache.get("k", maker(10, made))
    assert len(made) == 2


def test_threads_that_want_one_engine_make_it_once() -> None:
    made: list[Path] = []
    barrier = threading.Barrier(6)

    def want() -> None:
        barrier.wait()
        cache.get("k", maker(10, made))

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTFAST_CACHE_SIZE", "250")
    old, older = cache.get("old", maker(98)), cache.get("older", maker(98))
    age(old, 50)
    age(older, 100)
    new = cache.get("new", maker(98))
    assert [entry.path for entry in cache.entries()] == [old, new]
    assert not passport.path_of(older).exists()


def test_engine_that_was_just_made_stays_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTFAST_CACHE_SIZE", "10")
    path = cache.get("large", maker(1000))
    assert [entry.path for entry in cache.entries()] == [path]


def test_failed_build_leaves_no_entry() -> None:
    def fail(path: Path) -> None:
        raise RuntimeError("no engine")

    with pytest.raises(RuntimeError, match="no engine"):
        cache.get("k", fail)
    assert cache.entries() == []
    assert cache.get("k", maker(1)).exists()


def test_runtime_cache_is_the_last_that_was_written() -> None:
    assert cache.read_runtime("k") is None
    cache.write_runtime("k", b"first")
    cache.write_runtime("k", b"second")
    assert cache.read_runtime("k") == b"second"


def test_clear_frees_everything() -> None:
    cache.get("k", maker(98))
    cache.write_runtime("k", bytes(50))
    assert cache.clear() == 150
    assert cache.entries() == []
