"""A server's life: it listens, opens its models, serves, and drains."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import Error
from .metrics import registry_of
from .model import ServedModel
from .repository import Models, Plane
from .rest import Rest
from .rpc import Rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .model import Opened

__all__ = ["Addresses", "Limits", "serve"]

logger = logging.getLogger("trtfast")

_BACKLOG = 2048  # connections that the kernel keeps until they are accepted


@dataclass(frozen=True)
class Addresses:
    """Where a server listens."""

    host: str
    http_port: int
    grpc_port: int


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes
    ----------
    max_request_bytes : int
        A longer request is refused, over HTTP and gRPC.
    drain : float
        Seconds that requests under way have, when the server ends.
    """

    max_request_bytes: int
    drain: float


async def serve(
    models: Mapping[str, Callable[[], Opened]],
    at: Addresses,
    limits: Limits,
    *,
    on_listening: Callable[[Addresses], None],
    on_ready: Callable[[], None],
) -> None:
    """Serve models until SIGTERM or SIGINT, then answer what is under way.

    It listens at once, so that it can be asked whether it is ready, and is so when all models are
    open and warm. A second signal ends it without waiting.

    Parameters
    ----------
    models : mapping from name to callable
        Each opens the model's file and returns it warm; it is called again to load a newer file.
    at : Addresses
        Port 0 is any.
    limits : Limits
    on_listening, on_ready : callable
        Told of where the server listens, and that all models are ready.

    Raises
    ------
    Error
        If nothing can be served at an address, or a model cannot be opened.
    """
    plane = Plane([ServedModel(name, opened) for name, opened in models.items()])
    repository = Models(plane)
    rpc = Rpc(plane, repository, max_request_bytes=limits.max_request_bytes)
    with _bound(at.host, at.http_port) as listener:
        grpc_port = _bind(rpc, at)
        rest = Rest(
            plane,
            repository,
            registry_of(plane.counts),
            listener,
            max_request_bytes=limits.max_request_bytes,
            grace=limits.drain,
        )
        ending = _first_signal()
        await rpc.start()
        rest.start()
        on_listening(Addresses(at.host, listener.getsockname()[1], grpc_port))
        opening = asyncio.create_task(_open(plane, on_ready))
        try:
            await asyncio.wait({opening, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                opening.result()
                await ending
        finally:
            plane.draining = True
            logger.info("answering what is under way")
            await asyncio.gather(rest.drain(), rpc.drain(limits.drain))
            await asyncio.gather(opening, return_exceptions=True)
            await asyncio.gather(*(model.end() for model in plane.models.values()))


async def _open(plane: Plane, on_ready: Callable[[], None]) -> None:
    # One by one: TensorRT would load them so in any case, and the first error is the one to tell.
    for model in plane.models.values():
        if plane.draining:
            return
        await model.swap()
    on_ready()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise _cannot_serve(host, port, error) from error


def _bind(rpc: Rpc, at: Addresses) -> int:
    try:
        return rpc.bind(at.host, at.grpc_port)
    except OSError as error:
        raise _cannot_serve(at.host, at.grpc_port, error) from error


def _cannot_serve(host: str, port: int, error: OSError) -> Error:
    return Error(f"nothing can be served at {host}, port {port} ({error}): choose another")


def _first_signal() -> asyncio.Future[None]:
    """Return what is done at the first signal to end; a second one has its usual effect."""
    loop = asyncio.get_running_loop()
    ending: asyncio.Future[None] = loop.create_future()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def on_signal() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)
        ending.set_result(None)

    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    return ending
