from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trtfast import cache, kernels


class Core:
    """What a keeper uses of an engine: it has compiled something each time that it is told to."""

    def __init__(self) -> None:
        self.news = False
        self.compiled = b""
        self.asked = 0
        self.asking_on: threading.Thread | None = None

    def compile(self, kernels: bytes) -> None:
        self.compiled = kernels
        self.news = True

    def take_new_kernels(self) -> bool:
        news, self.news = self.news, False
        return news

    def kernels(self) -> bytes:
        self.asked += 1
        self.asking_on = threading.current_thread()
        return self.compiled


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def keeper_of(core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("TRTFAST_CACHE_DIR", str(tmp_path))
    return lambda known=b"": kernels.Keeper(core, "key", known)  # type: ignore[arg-type]


def test_what_was_compiled_is_read_by_the_next(core: Core, keeper_of: Callable[..., Any]) -> None:
    keeper = keeper_of()
    assert kernels.read("key") == b""
    for compiled in (b"first", b"first and second"):
        core.compile(compiled)
        keeper.keep_news()
        keeper.finish()
        assert kernels.read("key") == compiled
    assert core.asked == 2


def test_a_call_does_not_wait_for_it(core: Core, keeper_of: Callable[..., Any]) -> None:
    core.compile(b"first")
    keeper = keeper_of()
    keeper.keep_news()
    keeper.finish()
    assert core.asking_on is not threading.current_thread()
    assert core.asking_on is not None
    assert not core.asking_on.daemon


def test_news_at_the_end_are_kept(core: Core, keeper_of: Callable[..., Any]) -> None:
    core.compile(b"last")
    keeper_of().finish()
    assert kernels.read("key") == b"last"


def test_nothing_is_asked_without_news(core: Core, keeper_of: Callable[..., Any]) -> None:
    keeper = keeper_of()
    keeper.keep_news()
    keeper.finish()
    assert core.asked == 0


def test_what_is_known_is_not_written_again(
    core: Core, keeper_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(cache, "write_runtime", lambda _, kernels: written.append(kernels))
    keeper = keeper_of(b"known")
    for compiled in (b"known", b"more", b"more"):
        core.compile(compiled)
        keeper.keep_news()
        keeper.finish()
    assert written == [b"more"]


def test_a_cache_that_cannot_be_written_costs_a_warning(
    core: Core,
    keeper_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(key: str, kernels: bytes) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(cache, "write_runtime", refuse)
    core.compile(b"first")
    keeper = keeper_of()
    keeper.keep_news()
    keeper.finish()
    assert caplog.messages == ["compiled kernels are not kept for the next start: the disk is full"]
