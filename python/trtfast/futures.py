"""Calls in the background: their futures, and the thread that completes them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from . import _core
from ._pump import Pump
from .errors import DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["InferenceFuture", "begin", "start_on", "start_pump"]

logger = logging.getLogger("trtfast")


class InferenceFuture(concurrent.futures.Future[Any]):
    """What ``infer_async`` returns: a future as the standard library's, and awaitable.

    ``result(timeout)`` waits, ``add_done_callback(function)`` has the function called with the
    future on a thread of trtfast's, and ``await future`` works on any running event loop of
    asyncio's kind without blocking it. ``cancel()`` takes a call back that has not begun.
    """

    _call: _core.PendingCall | None = None

    def cancel(self) -> bool:
        """Take the call back; False where it has begun or ended."""
        if self._call is None:  # it is not the core that runs it
            return super().cancel()
        if self.cancelled():
            return True
        if not self._call.cancel():
            return False
        super().cancel()
        self.set_running_or_notify_cancel()  # wakes those who wait
        return True

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.done():
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            self.add_done_callback(lambda _: _wakes.add(loop, waiter))
            try:
                yield from waiter
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()


class _Wakes:
    """Coroutines whose futures are done: those of a loop that are done together wake together.

    Each message to a loop from another thread is a call of the system's.
    """

    def __init__(self) -> None:
        self._thread: int | None = None
        self._waiting: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}

    def add(self, loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
        """Wake a coroutine: at the end of the block on that block's thread, else at once."""
        if self._thread == threading.get_ident():
            self._waiting.setdefault(loop, []).append(waiter)
        else:
            _wake(loop, [waiter])

    def __enter__(self) -> None:
        self._thread = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._thread = None
        waiting, self._waiting = self._waiting, {}
        for loop, waiters in waiting.items():
            _wake(loop, waiters)


def _wake(loop: asyncio.AbstractEventLoop, waiters: list[asyncio.Future[None]]) -> None:
    def wake() -> None:
        for waiter in waiters:
            if not waiter.done():  # it may be cancelled
                waiter.set_result(None)

    with contextlib.suppress(RuntimeError):  # of a loop that is closed, where nobody waits
        loop.call_soon_threadsafe(wake)


_wakes = _Wakes()


def begin(
    begin_with: Callable[[Any, InferenceFuture], _core.PendingCall | None],
    inputs: Any,
    prepare: Callable[[Any], Any],
) -> InferenceFuture:
    """Begin a call that the core runs, whose inputs may have to be prepared."""
    _pump.start()
    future = InferenceFuture()
    call = begin_with(inputs, future)
    if call is None:
        call = begin_with(prepare(inputs), future)
    future._call = call  # noqa: SLF001
    return future


def start_pump() -> None:
    """Have the futures that are given to the core completed."""
    _pump.start()


def start_on(
    pool: concurrent.futures.Executor, run: Callable[[], Any], deadline: float | None
) -> InferenceFuture:
    """Begin a call on a thread of a pool."""
    future = InferenceFuture()
    latest = None if deadline is None else time.monotonic() + deadline
    pool.submit(_run, future, run, latest)
    return future


def _run(future: InferenceFuture, run: Callable[[], Any], latest: float | None) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        if latest is not None and time.monotonic() > latest:
            raise DeadlineExceededError("the deadline passed before the call began: give it longer")
        future.set_result(run())
    except BaseException as error:  # whatever it is, it is for who waits
        future.set_exception(error)


def _complete() -> None:
    while ended := _core.take_completed():
        with _wakes:
            for future, results, error in ended:
                if error is None:
                    future.set_result(results)
                else:
                    future.set_exception(error)


_pump = Pump("trtfast-completions", _complete, _core.close_completions)
