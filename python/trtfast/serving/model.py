"""A model that is served: its requests, and its exchange for a newer one."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kserve import InferResponse
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady
from kserve.model import InferenceModel
from kserve.protocol.infer_type import to_http_parameters

from ..counts import Counts
from ..errors import InputError
from . import tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kserve import InferOutput, InferRequest

    from ..batcher import Batcher
    from ..futures import InferenceFuture
    from ..spec import Array, InferenceEngine, TensorSpec

__all__ = ["VERSION", "Opened", "ServedModel", "check_version"]

logger = logging.getLogger("trtfast")

VERSION = "1"
"""Of each model: KServe's server has no versions, and clients of Triton expect one."""


@dataclass(frozen=True)
class Opened:
    """An engine with its batcher, warm, and the names of its classes."""

    engine: InferenceEngine
    batcher: Batcher
    classes: Sequence[str] | None

    def close(self) -> Counts:
        """Answer what waits, release all, and return what was counted."""
        self.batcher.close()
        counted = Counts.of(self.batcher.stats())
        self.engine.close()
        return counted


class ServedModel(InferenceModel):
    """A model by its name, ready once an engine of it is warm.

    Requests, and the exchange of the engine, happen on the event loop. What takes long, opening and
    closing, happens on other threads.

    Parameters
    ----------
    name : str
    open_engine : callable
        Opens the model's file and returns it warm.
    """

    def __init__(self, name: str, open_engine: Callable[[], Opened]) -> None:
        super().__init__(name)
        self._open = open_engine
        self._current: Opened | None = None
        self._leaving: Opened | None = None
        self._before = Counts()
        self._changing = asyncio.Lock()

    async def swap(self) -> None:
        """Open the model's file, and let its engine take the place of the one before.

        The new engine is loaded and warmed beside the old one, which serves until then, and ends
        when it has answered what it was given. If anything fails, the old one stays.

        Raises
        ------
        Error
            As opening does.
        """
        async with self._changing:
            opened = await asyncio.to_thread(self._open)
            # No await between: each request finds the one or the other, and is answered by it.
            before, self._current = self._current, opened
            self.ready = True
            logger.info("model %s is ready", self.name)
            await self._retire(before)

    async def end(self) -> None:
        """Take no more requests, answer those that wait, and release the engine."""
        async with self._changing:
            self.ready = False
            before, self._current = self._current, None
            await self._retire(before)

    async def _retire(self, opened: Opened | None) -> None:
        if opened is None:
            return
        self._leaving = opened
        counted = await asyncio.to_thread(opened.close)
        self._leaving, self._before = None, self._before + counted

    def counts(self) -> Counts:
        """Return what all engines of the model have counted, one after the other."""
        counted = self._before
        for opened in (self._leaving, self._current):
            if opened is not None:
                counted += Counts.of(opened.batcher.stats())
        return counted

    def get_input_types(self) -> list[dict[str, Any]]:
        """Describe the inputs, for the model's metadata."""
        return tensors.described(self._opened().batcher.inputs)

    def get_output_types(self) -> list[dict[str, Any]]:
        """Describe the outputs, for the model's metadata."""
        return tensors.described(self._opened().batcher.outputs)

    async def __call__(
        self,
        body: InferRequest,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002 - as KServe calls it
        verb: object = None,  # noqa: ARG002
    ) -> tuple[InferResponse, dict[str, str]]:
        """Answer a request.

        Raises
        ------
        Error, KServe's errors
        """
        check_version(self.name, body.model_version)
        opened = self._opened()
        wanted = _wanted_of(body, opened.batcher.outputs)
        found = await _begun(body, opened.batcher)
        outputs = [_output(name, found[name], count, opened) for name, count in wanted.items()]
        response = InferResponse(body.id, self.name, outputs, model_version=VERSION)
        return response, {}

    def _opened(self) -> Opened:
        if self._current is None:
            raise ModelNotReady(self.name)
        return self._current


def check_version(name: str, version: str | None) -> None:
    """Raise ModelNotFound unless a request asks for the one version, or for none."""
    if version not in (None, "", VERSION):
        raise ModelNotFound(f"{name} and version {version}")


async def _begun(request: InferRequest, batcher: Batcher) -> dict[str, Array]:
    """Give a request to the batcher before anything is awaited, and wait for its outputs."""
    deadline = _deadline_of(request)
    is_images = len(request.inputs) == 1 and request.inputs[0].datatype == "BYTES"
    if not is_images:
        inputs = tensors.arrays_of(request, batcher.inputs)
        found: dict[str, Array] = await batcher.infer_async(inputs, deadline=deadline)
        return found
    return _by_name(await _begun_images(request, batcher, deadline), batcher.outputs)


def _begun_images(
    request: InferRequest, batcher: Batcher, deadline: float | None
) -> InferenceFuture:
    (tensor,) = request.inputs
    if batcher.preprocess is None or tensor.name != batcher.inputs[0].name:
        raise InputError(
            f"input {tensor.name!r} is BYTES: expected image files for "
            f"{batcher.inputs[0].name!r}, of a model that was built with a Preprocess"
        )
    images = tensors.array_of(tensor).reshape(-1).tolist()
    if not images:
        raise InputError(f"input {tensor.name!r} holds no image")
    return batcher.infer_images_async(images, deadline=deadline)


def _by_name(found: Any, outputs: Sequence[TensorSpec]) -> dict[str, Array]:
    arrays = found if isinstance(found, tuple) else (found,)
    return {spec.name: array for spec, array in zip(outputs, arrays, strict=True)}


def _deadline_of(request: InferRequest) -> float | None:
    """Return the seconds that a request gives itself: its parameter is in microseconds."""
    timeout = _parameters(request.parameters).get("timeout")
    if timeout is None:
        return None
    if not isinstance(timeout, int) or isinstance(timeout, bool) or timeout < 0:
        raise InputError(f"timeout is {timeout!r}: expected microseconds, 0 or more")
    return timeout / 1e6 if timeout else None


def _wanted_of(request: InferRequest, outputs: Sequence[TensorSpec]) -> dict[str, int | None]:
    """Return the outputs that a request asks for, with how many classes of each, if it says so."""
    names = [spec.name for spec in outputs]
    if not request.request_outputs:
        return dict.fromkeys(names)
    wanted: dict[str, int | None] = {}
    for each in request.request_outputs:
        if each.name not in names:
            raise InvalidInput(f"the model has no output {each.name!r}, but {', '.join(names)}")
        count = _parameters(each.parameters).get("classification")
        if count is not None and (not isinstance(count, int) or isinstance(count, bool)):
            raise InputError(f"classification is {count!r}: expected a number of classes")
        wanted[each.name] = count
    return wanted


def _parameters(given: Any) -> dict[str, Any]:
    """Return parameters of HTTP as they are, and those of gRPC like them."""
    if not given or isinstance(given, dict):
        return given or {}
    return dict(to_http_parameters(given))


def _output(name: str, array: Array, count: int | None, opened: Opened) -> InferOutput:
    if count:
        array = tensors.classified(array, count, opened.classes)
    return tensors.output(name, array)
