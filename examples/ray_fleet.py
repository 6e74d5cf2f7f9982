"""A fleet: the service of service.py on Ray, with an engine on each GPU.

    trtfast export efficientnet_lite0
    python examples/ray_fleet.py efficientnet_lite0.onnx --names names.txt
    curl --data-binary @cup.jpg 'http://127.0.0.1:8000/classify?k=3'

On a cluster it begins with `ray start`, and the model lies where each host has it. Without a GPU it
runs on the CPU.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from fastapi import FastAPI, HTTPException, Request
from ray import serve
from ray.serve.handle import DeploymentHandle

import trtfast
from trtfast.integrations.ray import deployment

app = FastAPI(title="trtfast")


@serve.deployment(num_replicas=2, max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.5})
@serve.ingress(app)
class Classifier:
    """Speaks HTTP, on CPUs; the engines' replicas decode, prepare and batch what it passes on."""

    def __init__(self, engines: "DeploymentHandle[Any]", names: Sequence[str] | None) -> None:
        self._engines = engines
        self._names = names

    @app.post("/classify")
    async def classify(self, request: Request, k: int = 3) -> list[trtfast.Classification]:
        """Name the classes of the image that is the body."""
        image = await request.body()
        try:
            logits = await self._engines.infer_images.remote([image], deadline=5.0)
            found: list[trtfast.Classification] = trtfast.top_k(logits[0], k, classes=self._names)
        except trtfast.InputError as error:
            raise HTTPException(400, str(error)) from error
        except trtfast.DeadlineExceededError as error:
            raise HTTPException(504, str(error)) from error
        return found  # where too many wait, Ray itself answers 503


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description="Classify images over HTTP, on many GPUs.")
    parser.add_argument("model", type=Path, help="an ONNX model or an engine")
    parser.add_argument("--names", type=Path, help="the classes, one a line or in JSON")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args()
    names = trtfast.class_names(asked.names) if asked.names else None
    ray.init()
    gpus = int(ray.cluster_resources().get("GPU", 0))
    engines = deployment(
        asked.model.resolve(),
        backend="auto" if gpus else "reference",
        max_queue_delay=0.002,
        num_replicas=max(gpus, 1),
        preprocess=trtfast.Preprocess(),  # to 224x224, with ImageNet's mean and deviation
    )
    serve.start(http_options={"host": "127.0.0.1", "port": asked.port})
    application = Classifier.bind(engines.bind(), names)  # type: ignore[attr-defined]
    serve.run(application, blocking=True)


if __name__ == "__main__":
    main()
