"""The protocol over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from kserve.protocol.rest.v2_endpoints import V2Endpoints, register_v2_endpoints
from prometheus_client import exposition

from ..errors import InputError
from . import codec
from .model import VERSION
from .statuses import KINDS, status_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from fastapi import Request
    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .repository import Models, Plane

__all__ = ["Rest"]

_PATIENCE = 1.0  # seconds for the rest of a request to arrive, once the server drains

_UNWATCHED = 0.005  # seconds that a request waits before anybody looks whether its client is there

_KEEP_ALIVE = 65  # seconds; longer than proxies and pools of clients keep what they do not use


class Rest:
    """The server of HTTP, on a socket that is bound.

    Parameters
    ----------
    plane, repository
    registry : CollectorRegistry
        What ``/metrics`` tells.
    listener : socket
    max_request_bytes : int
        A longer body is refused.
    grace : float
        Seconds to answer what is under way, when the server ends.
    """

    def __init__(
        self,
        plane: Plane,
        repository: Models,
        registry: CollectorRegistry,
        listener: socket.socket,
        *,
        max_request_bytes: int,
        grace: float,
    ) -> None:
        self._requests = _Requests(_app(plane, repository, registry), max_request_bytes)
        self._listener = listener
        config = uvicorn.Config(
            self._requests,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=_KEEP_ALIVE,
            # For clients that do not even read that their request was given up.
            timeout_graceful_shutdown=math.ceil(grace + 2 * _PATIENCE),
        )
        self._server = _Server(config)
        self._grace = grace
        self._served: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve."""
        self._served = asyncio.create_task(self._server.serve(sockets=[self._listener]))

    async def drain(self) -> None:
        """Take no more connections, and wait until all is answered."""
        if self._served is None:
            return
        self._server.should_exit = True
        patience = min(_PATIENCE, self._grace)
        await asyncio.wait({self._served}, timeout=patience)
        self._requests.give_up_arriving()
        await asyncio.wait({self._served}, timeout=self._grace - patience)
        self._requests.give_up_all()
        await self._served


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are for the whole server, which has gRPC as well


class _Requests:
    """Refuses bodies that are too long, and gives up requests when the server ends."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._under_way: set[asyncio.Task[Any]] = set()
        self._arriving: set[asyncio.Task[Any]] = set()
        self._given_up: dict[asyncio.Task[Any], tuple[int, str]] = {}

    def give_up_arriving(self) -> None:
        """Answer the requests that have not arrived yet."""
        self._give_up(self._arriving, 408, "the request did not arrive before the server ended")

    def give_up_all(self) -> None:
        """Answer all requests that are not answered yet, and take them back."""
        self._give_up(self._under_way, 503, "the server ended before it could answer")

    def _give_up(self, tasks: set[asyncio.Task[Any]], status: int, told: str) -> None:
        for task in tasks - self._given_up.keys():
            self._given_up[task] = status, told
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        length = dict(scope["headers"]).get(b"content-length", b"0")
        received = 0
        has_arrived = False

        async def counted() -> Message:
            nonlocal received, has_arrived
            if has_arrived:  # all that can come is that the client leaves
                return await receive()
            self._arriving.add(task)
            try:
                message = await receive()
            finally:
                self._arriving.discard(task)
            if message["type"] == "http.disconnect":
                raise _ClientLeft
            has_arrived = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self._most:
                raise _TooLong
            return message

        self._under_way.add(task)
        try:
            if int(length) > self._most:
                raise _TooLong
            await self._app(scope, counted, send)
        except _TooLong:
            told = f"the request is longer than {self._most} bytes: send fewer rows at a time"
            await _refusal(413, told)(scope, receive, send)
        except _ClientLeft:
            pass  # there is nobody to answer
        except asyncio.CancelledError:
            if task not in self._given_up:
                raise
            await _refusal(*self._given_up[task])(scope, receive, send)
        finally:
            self._under_way.discard(task)


class _TooLong(BaseException):
    """A body is too long; no handler of an application's answers it."""


class _ClientLeft(BaseException):
    """The connection of a request was closed before it was answered."""


class _Watched:
    """What a request's task does within is cancelled when the client leaves.

    A task that watches costs twice what a timer does, so only requests that wait get one.

    Parameters
    ----------
    receive : Receive
        Of a request that has arrived.

    Raises
    ------
    _ClientLeft
        Where the task was cancelled so.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._has_left = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._timer = asyncio.get_running_loop().call_later(_UNWATCHED, self._watch, task)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._has_left and kind is asyncio.CancelledError:
            raise _ClientLeft

    def _watch(self, task: asyncio.Task[Any]) -> None:
        self._watcher = asyncio.create_task(self._cancel_when_left(task))

    async def _cancel_when_left(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._has_left = True
        task.cancel()


def _app(plane: Plane, repository: Models, registry: CollectorRegistry) -> FastAPI:
    """Return KServe's endpoints, with its own for what KServe's do not, or do otherwise."""
    app = FastAPI(title="trtfast", docs_url=None, redoc_url=None, openapi_url=None)

    async def infer(request: Request) -> Response:
        if request.headers.get("content-encoding", "identity") != "identity":
            raise InputError("the request is compressed: send it plain")
        name = request.path_params["name"]
        model = await plane.get_model(name)
        body = await request.body()
        asked = codec.read(body, request.headers.get(codec.HEADER_LENGTH), name)
        with _Watched(request.receive):
            answer, _ = await model(asked)
        content, headers = codec.written(asked, answer)
        return Response(content, headers=headers)

    async def load(request: Request) -> Response:
        parameters = await _parameters(request)
        await repository.load(request.path_params["name"], parameters)
        return JSONResponse({})

    async def unload(request: Request) -> Response:
        await repository.unload(request.path_params["name"])
        return JSONResponse({})

    async def index(_: Request) -> Response:
        models = await repository.index()
        return JSONResponse([_indexed(model) for model in models])

    async def metrics(request: Request) -> Response:
        encoder, kind = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(registry), media_type=kind)

    app.add_route("/v2/models/{name}/infer", infer, methods=["POST"])
    app.add_route(f"/v2/models/{{name}}/versions/{VERSION}/infer", infer, methods=["POST"])
    app.add_route("/v2/repository/models/{name}/load", load, methods=["POST"])
    app.add_route("/v2/repository/models/{name}/unload", unload, methods=["POST"])
    app.add_route("/v2/repository/index", index, methods=["POST"])
    app.add_route("/metrics", metrics)
    endpoints, one = V2Endpoints(plane, repository), f"/v2/models/{{model_name}}/versions/{VERSION}"
    app.add_api_route(one, endpoints.model_metadata)
    app.add_api_route(f"{one}/ready", endpoints.model_ready)
    register_v2_endpoints(app, plane, repository)
    for kind in (*KINDS, Exception):  # what is told only by the last is a fault of the server's
        app.add_exception_handler(kind, _told)
    return app


async def _told(_: Request, error: Exception) -> Response:
    status = status_of(error)
    return JSONResponse({"error": status.message}, status.http)


async def _parameters(request: Request) -> list[str]:
    """Return the names of the parameters that a request gives."""
    body = await request.body()
    try:
        return list((json.loads(body or b"{}")).get("parameters") or {})
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"the request is no JSON object: {error}") from error


def _indexed(model: dict[str, str]) -> dict[str, str]:
    state = "READY" if model["state"] == "Ready" else "UNAVAILABLE"
    return {"name": model["name"], "version": VERSION, "state": state, "reason": model["reason"]}


def _refusal(status: int, told: str) -> JSONResponse:
    return JSONResponse({"error": told}, status, headers={"connection": "close"})
