"""The cache: one key, one engine; bounded; shared by processes."""

from __future__ import annotations

import os
import subprocess
import sys
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


def union(one: bytes, other: bytes) -> bytes:
    """Merge timing caches that are words."""
    return b" ".join(sorted({*one.split(), *other.split()}))


def never(one: bytes, other: bytes) -> bytes:
    raise AssertionError("nothing was kept meanwhile")


def test_timings_are_kept() -> None:
    assert cache.read_timings("k") is None
    cache.write_timings("k", b"a", None, never)
    assert cache.read_timings("k") == b"a"
    cache.write_timings("k", b"a b", b"a", never)
    assert cache.read_timings("k") == b"a b"
    cache.write_timings("other", b"c", None, never)
    assert cache.read_timings("k") == b"a b"


def test_timings_of_another_build_are_not_lost() -> None:
    cache.write_timings("k", b"a", None, never)
    known = cache.read_timings("k")
    cache.write_timings("k", b"a b", known, never)
    cache.write_timings("k", b"a c", known, union)
    assert cache.read_timings("k") == b"a b c"
    cache.write_timings("k", b"d", None, union)
    assert cache.read_timings("k") == b"a b c d"


MEASURE = """
import sys
from trtfast import cache

name = sys.argv[1]
for index in range(20):
    known = cache.read_timings("k")
    made = b" ".join(sorted({*(known or b"").split(), f"{name}{index}".encode()}))
    cache.write_timings(
        "k", made, known, lambda a, b: b" ".join(sorted({*a.split(), *b.split()}))
    )
"""


def test_timings_of_processes_at_once_are_all_kept() -> None:
    names = ("p", "q", "r")
    processes = [subprocess.Popen([sys.executable, "-c", MEASURE, name]) for name in names]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    expected = {f"{name}{index}".encode() for name in names for index in range(20)}
    assert set((cache.read_timings("k") or b"").split()) == expected


def test_timings_are_listed_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTFAST_CACHE_SIZE", "250")
    cache.write_timings("old", bytes(100), None, never)
    age(cache.entries()[0].path, 50)
    cache.write_timings("new", bytes(100), None, never)
    assert [(entry.path.name, entry.size) for entry in cache.entries()] == [
        ("old.timings", 100),
        ("new.timings", 100),
    ]
    cache.get("k", maker(98))
    assert [entry.path.name for entry in cache.entries()] == ["new.timings", "k.engine"]


def test_clear_frees_everything() -> None:
    cache.get("k", maker(98))
    cache.write_runtime("k", bytes(50))
    cache.write_timings("k", bytes(30), None, never)
    assert cache.clear() == 180
    assert cache.entries() == []
