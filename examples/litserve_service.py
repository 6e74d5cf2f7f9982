"""LitServe in ten lines: it speaks HTTP, and the Batcher batches.

trtfast export efficientnet_lite0
MODEL=efficientnet_lite0.onnx python examples/litserve_service.py
base64 -w0 cup.jpg | jq -R '{image: .}' | curl --json @- http://127.0.0.1:8000/predict

LitServe's own batching stays off.
"""

from __future__ import annotations

import base64
import os
from typing import Any

import litserve
from fastapi import HTTPException

import trtfast
from trtfast.statuses import HTTP_STATUS


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """Its handlers are coroutines, so that many requests of a worker wait for one batch."""

    def setup(self, device: str) -> None:  # noqa: ARG002, D102
        engine = trtfast.load(os.environ["MODEL"], preprocess=trtfast.Preprocess())
        self.batcher = trtfast.Batcher(engine, max_batch_size=32, max_queue_delay=0.002)
        self.batcher.warmup()

    async def decode_request(self, request: dict[str, str]) -> bytes:  # noqa: D102
        return base64.b64decode(request["image"])

    async def predict(self, image: bytes) -> Any:  # noqa: D102
        try:
            return await self.batcher.infer_images_async([image])
        except tuple(HTTP_STATUS) as error:
            raise HTTPException(HTTP_STATUS[type(error)], str(error)) from error

    async def encode_response(self, logits: Any) -> Any:  # noqa: D102
        return [vars(found) for found in trtfast.top_k(logits[0], k=3)]


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(enable_async=True))
    server.run("127.0.0.1", int(os.environ.get("PORT", "8000")), generate_client_file=False)
