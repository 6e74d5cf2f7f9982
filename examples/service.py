"""A service: an image comes in, its classes go out.

    trtfast export efficientnet_lite0
    python examples/service.py efficientnet_lite0.onnx --names names.txt
    curl --data-binary @cup.jpg 'http://127.0.0.1:8000/classify?k=3'

On a GPU the model becomes an engine, which the cache keeps; elsewhere it runs on the CPU.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import trtfast

PREPROCESS = trtfast.Preprocess()  # to 224x224, with ImageNet's mean and deviation
STATUS: dict[type[Exception], int] = {
    trtfast.InputError: 400,
    trtfast.QueueFullError: 429,
    trtfast.DeadlineExceededError: 429,
}


def prepare(data: bytes) -> npt.NDArray[np.float32]:
    """Return an image file as a batch of one."""
    return PREPROCESS(PREPROCESS.read(data)[0])


def make_app(
    engine: trtfast.InferenceEngine, names: Sequence[str] | None, deadline: float = 5.0
) -> FastAPI:
    """Return the service of an engine, which it closes at its end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()  # waits for the calls that have begun

    async def refuse(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, STATUS[type(error)])

    app = FastAPI(title="trtfast", lifespan=lifespan)
    for kind in STATUS:
        app.add_exception_handler(kind, refuse)

    @app.post("/classify")
    async def classify(request: Request, k: int = 3) -> list[trtfast.Classification]:
        batch = await asyncio.to_thread(prepare, await request.body())
        logits = await engine.infer_async(batch, deadline=deadline)  # the event loop goes on
        found: list[trtfast.Classification] = trtfast.top_k(logits[0], k, classes=names)
        return found

    return app


def main() -> None:
    """Serve until a signal; requests under way are answered."""
    parser = argparse.ArgumentParser(description="Classify images over HTTP.")
    parser.add_argument("model", type=Path, help="an ONNX model or an engine")
    parser.add_argument("--names", type=Path, help="the classes, one a line or in JSON")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args()
    names = trtfast.class_names(asked.names) if asked.names else None
    engine = trtfast.load(asked.model, lanes=4, max_queue=64, wait="block")
    uvicorn.run(make_app(engine, names), port=asked.port)


if __name__ == "__main__":
    main()
