"""The protocol over gRPC: KServe's, and what Triton's has beside it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from grpc_interceptor import AsyncExceptionToStatusInterceptor
from kserve import InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as kserve_messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from kserve.protocol.grpc.servicer import InferenceServicer

from ..errors import ClosedError
from . import messages
from .model import VERSION, check_version
from .statuses import status_of
from .tensors import packed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .repository import Models, Plane

__all__ = ["Rpc"]

_IN_STREAM = 1024  # requests of one stream that are under way; the next waits to be read

_TICK = 0.05  # seconds between looks at whether all is answered
_PATIENCE = 1.0  # seconds for clients to take leave, when all is answered


class Rpc:
    """The server of gRPC.

    Parameters
    ----------
    plane, repository
    max_request_bytes : int
        A longer message is refused.
    """

    def __init__(self, plane: Plane, repository: Models, *, max_request_bytes: int) -> None:
        self._service = _Service(plane, repository)
        self._server = grpc.aio.server(
            interceptors=(_Statuses(),),
            options=(
                ("grpc.max_receive_message_length", max_request_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # or a second server would share the port in silence
            ),
        )
        add_GRPCInferenceServiceServicer_to_server(self._service, self._server)
        # Of two handlers of one name, the last is asked.
        methods = _of_triton(self._service)
        self._server.add_registered_method_handlers("inference.GRPCInferenceService", methods)

    def bind(self, host: str, port: int) -> int:
        """Bind a port, and return it; 0 is any.

        Raises
        ------
        OSError
            If it cannot be bound.
        """
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            return int(self._server.add_insecure_port(at))
        except RuntimeError as error:
            raise OSError("it is taken, or not of this machine") from error

    async def start(self) -> None:
        """Begin to serve."""
        await self._server.start()

    async def drain(self, grace: float) -> None:
        """Take no more requests, and wait until all is answered, for some seconds at most."""
        self._service.end_streams()
        stopping = asyncio.create_task(self._server.stop(grace))
        while self._service.under_way and not stopping.done():
            await asyncio.wait({stopping}, timeout=_TICK)
        # A client that hangs does not say that it has seen the end, for which gRPC waits longer.
        await asyncio.wait({stopping}, timeout=_PATIENCE)
        await self._server.stop(None)
        await stopping


class _Service(InferenceServicer):  # the methods' names are the protocol's
    def __init__(self, plane: Plane, repository: Models) -> None:
        super().__init__(plane, repository)
        self._plane = plane
        self._repository = repository
        self._readers: set[asyncio.Task[None]] = set()
        self.under_way = 0

    async def ModelInfer(self, request: Any, context: object) -> Any:  # noqa: ARG002, N802
        self.under_way += 1
        try:
            return await self._answer(request)
        finally:
            self.under_way -= 1

    async def _answer(self, request: Any) -> Any:
        self.validate_grpc_request(request)
        asked = InferRequest.from_grpc(request)
        model = await self._plane.get_model(request.model_name)
        response, _ = await model(asked)
        return kserve_messages.ModelInferResponse(
            model_name=response.model_name,
            model_version=response.model_version,
            id=response.id,
            outputs=[
                {"name": each.name, "datatype": each.datatype, "shape": each.shape}
                for each in response.outputs
            ],
            raw_output_contents=[packed(each.data) for each in response.outputs],
        )

    async def ModelStreamInfer(  # noqa: N802
        self, requests: AsyncIterator[Any], context: object
    ) -> AsyncIterator[Any]:
        """Run the requests of a stream as they come, and answer them in their order.

        Where the server ends first, the stream ends with a status: a client may have sent more
        than was read.
        """
        begun: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue()
        room = asyncio.Semaphore(_IN_STREAM)

        async def read() -> None:
            async for request in requests:
                await room.acquire()
                begun.put_nowait(asyncio.create_task(self._streamed(request, context)))

        reader = asyncio.create_task(read())
        reader.add_done_callback(lambda _: begun.put_nowait(None))
        self._readers.add(reader)
        if self._plane.draining:
            reader.cancel()
        task = None
        try:
            while (task := await begun.get()) is not None:
                yield await task
                room.release()
            if reader.cancelled():
                raise ClosedError("the server ends: send what is not answered to another")
        finally:
            self._readers.discard(reader)
            reader.cancel()
            while task is not None:  # the client has left
                task.cancel()
                task = None if begun.empty() else begun.get_nowait()

    async def _streamed(self, request: Any, context: Any) -> Any:
        try:
            response = await self.ModelInfer(request, context)
        except Exception as error:
            told = status_of(error).message
            return messages.Streamed(error_message=told, infer_response={"id": request.id})
        return messages.Streamed(infer_response=response)

    def end_streams(self) -> None:
        """Read no more requests from streams; they end when what was read is answered."""
        for reader in self._readers:
            reader.cancel()

    async def ModelReady(self, request: Any, context: object) -> Any:  # noqa: N802
        check_version(request.name, request.version)
        return await super().ModelReady(request, context)

    async def ModelMetadata(self, request: Any, context: object) -> Any:  # noqa: N802
        check_version(request.name, request.version)
        answer = await super().ModelMetadata(request, context)
        answer.versions.append(VERSION)  # which KServe leaves out
        return answer

    async def RepositoryIndex(self, request: Any, _: Any) -> Any:  # noqa: N802
        found = await self._repository.index(request.ready)
        return messages.Index(
            models=[
                {
                    "name": each["name"],
                    "version": VERSION,
                    "state": "READY" if each["state"] == "Ready" else "UNAVAILABLE",
                    "reason": each["reason"],
                }
                for each in found
            ]
        )

    async def RepositoryModelLoad(self, request: Any, _: Any) -> Any:  # noqa: N802
        await self._repository.load(request.model_name, [each.key for each in request.parameters])
        return messages.Nothing()

    async def RepositoryModelUnload(self, request: Any, _: Any) -> Any:  # noqa: N802
        await self._repository.unload(request.model_name)
        return messages.Nothing()


def _of_triton(service: _Service) -> dict[str, grpc.RpcMethodHandler]:
    """Return the methods of Triton's that KServe has not, or with other messages."""

    def method(call: Any, request: Any) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(
            call, request.FromString, lambda answer: answer.SerializeToString()
        )

    return {
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
            service.ModelStreamInfer,
            kserve_messages.ModelInferRequest.FromString,
            messages.Streamed.SerializeToString,
        ),
        "RepositoryIndex": method(service.RepositoryIndex, messages.IndexRequest),
        "RepositoryModelLoad": method(service.RepositoryModelLoad, messages.Change),
        "RepositoryModelUnload": method(service.RepositoryModelUnload, messages.Change),
    }


class _Statuses(AsyncExceptionToStatusInterceptor):
    async def handle_exception(
        self,
        ex: Exception,
        request_or_iterator: object,  # noqa: ARG002 - as the library calls it
        context: Any,
        method_name: str,  # noqa: ARG002
    ) -> NoReturn:
        status = status_of(ex)
        await context.abort(status.grpc, status.message)
        raise ex  # not reached: abort raises
