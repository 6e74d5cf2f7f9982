"""A service: an image comes in, its classes go out.

    trtfast export efficientnet_lite0
    python examples/service.py efficientnet_lite0.onnx --names names.txt
    curl --data-binary @cup.jpg 'http://127.0.0.1:8000/classify?k=3'

On a GPU the model becomes an engine, which the cache keeps; elsewhere it runs on the CPU.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import trtfast
from trtfast.statuses import HTTP_STATUS

PREPROCESS = trtfast.Preprocess()  # to 224x224, with ImageNet's mean and deviation


def make_app(
    batcher: trtfast.Batcher, names: Sequence[str] | None, deadline: float = 5.0
) -> FastAPI:
    """Return the service of a batcher, which it closes at its end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        batcher.close()  # answers the requests that wait

    async def refuse(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, HTTP_STATUS[type(error)])

    app = FastAPI(title="trtfast", lifespan=lifespan)
    for kind in HTTP_STATUS:
        app.add_exception_handler(kind, refuse)

    @app.post("/classify")
    async def classify(request: Request, k: int = 3) -> list[trtfast.Classification]:
        image = await request.body()  # decoded on a thread of the batcher's
        logits = await batcher.infer_images_async([image], deadline=deadline)
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
    with trtfast.load(asked.model, preprocess=PREPROCESS, wait="block") as engine:
        # Requests that come within 2 ms of each other, or while all lanes are busy, are one batch.
        batcher = trtfast.Batcher(engine, 32, max_queue_delay=0.002, max_queue=64)
        batcher.warmup()
        uvicorn.run(make_app(batcher, names), port=asked.port)


if __name__ == "__main__":
    main()
