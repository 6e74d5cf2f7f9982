"""Calls in the background: their futures, and the thread that completes them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from . import _core
from ._pump import Pump
from .errors import DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["InferenceFuture", "begin", "start_on", "start_pump"]


class InferenceFuture(concurrent.futures.Future[Any]):
    """What ``infer_async`` returns: a future as the standard library's, and awaitable.

    ``result(timeout)`` waits, and ``await future`` works on any running event loop of asyncio's
    kind without blocking it. ``add_done_callback(function)`` has the function called with the
    future on a thread of trtfast's, or on that of an event loop whose coroutine waits.
    ``cancel()`` takes a call back that has not begun.
    """

    _call: _core.PendingCall | None = None
    _port: ReferenceType[_Port] | None = None  # of the loop that was to complete it
    _outcome: tuple[Any, BaseException | None] | None = None  # of the core
    _waiter: asyncio.Future[None] | None = None  # of a coroutine, as long as it is not standard
    _is_standard = False

    def __init__(self) -> None:
        """Leave what the standard library has to whoever uses it: a coroutine needs none of it."""

    def __getattr__(self, name: str) -> Any:
        """Become a future of the standard library's, of whose attributes one is asked for."""
        with _changing:
            if self._is_standard:  # since another thread has asked too, or there is no such
                return object.__getattribute__(self, name)
            super().__init__()
            self._is_standard = True
            outcome, waiter = self._outcome, self._waiter
        if outcome is not None:
            self._finish(*outcome)
        elif waiter is not None:
            self.add_done_callback(lambda _: _wake(waiter))
        return object.__getattribute__(self, name)

    def _finish(self, results: Any, error: BaseException | None) -> None:
        if error is None:
            self.set_result(results)
        else:
            self.set_exception(error)

    def _end(self, results: Any, error: BaseException | None) -> None:
        """Take what the core tells, once."""
        with _changing:
            self._outcome = results, error
            is_standard, waiter = self._is_standard, self._waiter
        if is_standard:
            self._finish(results, error)
        elif waiter is not None:
            _wake(waiter)

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

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the answer; as the standard library's."""
        self._leave_loop()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end; as the standard library's."""
        self._leave_loop()
        return super().exception(timeout)

    def _leave_loop(self) -> None:
        """Wait for no event loop, which may not run any more, to complete it."""
        if self._call is None or self.done() or self._call.tell(None):
            return
        port = None if self._port is None else self._port()
        if port is not None:  # one that is gone has handed on what it had
            port.take()

    def __await__(self) -> Generator[Any, None, Any]:
        if self._outcome is None and not (self._is_standard and self.done()):
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            self._enter(loop)
            self._wake_when_done(waiter)
            try:
                yield from waiter
            except (asyncio.CancelledError, GeneratorExit):
                self.cancel()
                self._leave_loop()  # for others, who may still wait when it does not run any more
                raise
        if self._outcome is not None and self._outcome[1] is None:
            return self._outcome[0]
        return super().result()

    def _wake_when_done(self, waiter: asyncio.Future[None]) -> None:
        with _changing:
            if self._outcome is None and self._waiter is None and not self._is_standard:
                self._waiter = waiter
                return
        self.add_done_callback(lambda _: _wake(waiter))

    def _enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop complete it, unless something else does, or did."""
        if self._call is None:
            return
        port = _port_of(loop)
        if self._port is not None and self._port() is not port:
            self._leave_loop()  # of two loops neither waits for the other
        elif port is not None and self._call.tell(port.inbox):
            self._port = ref(port)


# Of what a future is: the standard library's or not yet, ended or not. Collecting garbage under it
# may end or cancel another, so the thread that has it may take it again.
_changing = threading.RLock()


class _Port:
    """Where an event loop takes the calls that its coroutines wait for, on its own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.inbox = _core.LoopInbox()
        loop.add_reader(self.inbox.fileno(), self.take)

    def take(self) -> None:
        """Complete the futures of those that have ended."""
        _complete(self.inbox.take())


# By its id: a weak key is looked up by code in Python, at each await.
_ports: dict[int, tuple[ReferenceType[asyncio.AbstractEventLoop], _Port | None]] = {}


def _port_of(loop: asyncio.AbstractEventLoop) -> _Port | None:
    """Return the port of the loop that runs on this thread; None where it can watch no files."""
    key = id(loop)
    if (known := _ports.get(key)) is not None:
        return known[1]
    try:
        port = _Port(loop)
    except NotImplementedError:
        port = None
    _ports[key] = ref(loop, lambda _: _ports.pop(key, None)), port
    return port


def _wake(waiter: asyncio.Future[None]) -> None:
    """Wake a coroutine from any thread."""
    loop = waiter.get_loop()
    try:
        is_here = loop is asyncio.get_running_loop()
    except RuntimeError:  # there is none
        is_here = False
    if is_here:
        _set(waiter)
    else:
        with contextlib.suppress(RuntimeError):  # of a loop that is closed, where nobody waits
            loop.call_soon_threadsafe(_set, waiter)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # it may be cancelled
        waiter.set_result(None)


def begin(
    begin_with: Callable[[Any, InferenceFuture, float | None], _core.PendingCall | None],
    inputs: Any,
    prepare: Callable[[Any], Any],
    deadline: float | None,
) -> InferenceFuture:
    """Begin a call that the core runs, whose inputs may have to be prepared."""
    _pump.start()
    future = InferenceFuture()
    call = begin_with(inputs, future, deadline)
    if call is None:
        call = begin_with(prepare(inputs), future, deadline)
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


def _complete(ended: Sequence[tuple[InferenceFuture, Any, BaseException | None]]) -> None:
    for future, results, error in ended:
        future._end(results, error)  # noqa: SLF001


def _complete_all() -> None:
    while ended := _core.take_completed():
        _complete(ended)


_pump = Pump("trtfast-completions", _complete_all, _core.close_completions)
