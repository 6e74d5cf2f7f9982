"""Ray Serve: a fleet of engines, one replica on each GPU.

    from ray import serve
    from trtfast.integrations.ray import deployment

    handle = serve.run(deployment("model.onnx", num_replicas=8).bind())
    logits = handle.remote(images).result()

Ray places, restarts, scales and routes; a replica loads, batches and runs. The extra is ``ray``.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partialmethod
from typing import TYPE_CHECKING, Any, Literal

from .. import backend as backends
from ..batcher import Batcher
from ..counts import FAILURES, TOLD, Counts
from ..errors import CudaError, Error, UnsupportedDeviceError
from ..pipeline import PLANS, load
from ..statuses import HTTP_STATUS
from . import http

try:
    from ray import serve
    from ray.serve.metrics import Gauge
    from starlette.requests import Request
except ImportError as error:
    raise Error(
        "trtfast.integrations.ray needs Ray Serve, which is not installed: "
        'pip install "trtfast[ray]"'
    ) from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ray.serve.config import AutoscalingConfig
    from starlette.responses import Response

    from ..futures import InferenceFuture
    from ..preprocess.images import Images
    from ..spec import InferenceEngine

__all__ = ["Replica", "deployment"]

_LANES = 2  # of an engine, where nothing is said


def deployment(
    model: str | os.PathLike[str],
    *,
    name: str = "trtfast",
    backend: str = "auto",
    max_batch_size: int = 32,
    max_queue_delay: float = 0.0,
    preferred_batch_sizes: Sequence[int] | None = None,
    max_queue: int = 1024,
    deadline: float | None = None,
    num_replicas: int | Literal["auto"] | None = None,
    autoscaling_config: Mapping[str, Any] | AutoscalingConfig | None = None,
    ray_actor_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> serve.Deployment:
    """Describe an engine for Ray Serve to run on many GPUs.

    Each replica has a GPU of its own. It loads a plan that fits this GPU and this TensorRT, and
    else builds it once for each kind of GPU, into the cache that the replicas of a host share, or
    of all hosts where ``TRTFAST_CACHE_DIR`` is a folder that they share. It is ready when it is
    warm, and a fault of CUDA has Ray replace it. Requests that are under way when it is stopped
    are answered.

    Parameters
    ----------
    model : path
        An ONNX model, or a plan; beside it, its passport and the model that it was built from, for
        GPUs that it does not fit. The path is the replica's.
    name : str
        Of the deployment, as Ray shows it.
    backend : "auto", "tensorrt", "tensorrt_rtx" or "reference"
        With "reference" a replica runs the ONNX model on the CPU, and takes no GPU. Nothing else
        falls back on it.
    max_batch_size : int
        The most rows that run as one batch.
    max_queue_delay : float
        Seconds that a request may wait for others to fill its batch.
    preferred_batch_sizes : sequence of int, optional
        Sizes at which a batch runs at once.
    max_queue : int
        How many requests each caller's side may hold for replicas that are busy: Ray's
        ``max_queued_requests``. One more raises ``ray.serve.exceptions.BackPressureError`` there;
        over HTTP it is status 503.
    deadline : float, optional
        Seconds from a request's arrival at a replica within which its run must begin.
    num_replicas : int or "auto", optional
    autoscaling_config : mapping or AutoscalingConfig, optional
        Ray's. Where ``target_ongoing_requests`` is not said, replicas are added as soon as their
        lanes are full of whole batches.
    ray_actor_options : mapping, optional
        Ray's. By default ``num_gpus`` is 1, and 0 for the reference.
    **options
        Those of :func:`trtfast.load`, and with it of :func:`trtfast.build` and
        :class:`trtfast.Engine`.

    Returns
    -------
    ray.serve.Deployment
        ``.bind()`` makes an application of it. Its ``max_ongoing_requests`` is a whole batch for
        each lane and one that gathers; ``.options(...)`` sets this and all else that Ray knows.
        What its handles take is told with :class:`Replica`.
    """
    lanes = options.get("lanes", _LANES)
    settings = _Settings(
        os.fspath(model),
        backend,
        options,
        {
            "max_batch_size": max_batch_size,
            "max_queue_delay": max_queue_delay,
            "preferred_batch_sizes": preferred_batch_sizes,
            "max_queue": None,  # Ray's bounds it
            "deadline": deadline,
        },
    )
    scaling: dict[str, Any] = {}
    if num_replicas is not None:
        scaling["num_replicas"] = num_replicas
    if num_replicas == "auto" or autoscaling_config is not None:
        scaling["autoscaling_config"] = _scaling(autoscaling_config, lanes * max_batch_size)
    replica = type(name, (Replica,), {"__init__": partialmethod(Replica.__init__, settings)})
    described = serve.deployment(
        name=name,
        max_ongoing_requests=(lanes + 1) * max_batch_size,
        max_queued_requests=max_queue,
        ray_actor_options={"num_gpus": int(backend != "reference"), **(ray_actor_options or {})},
        **scaling,
    )
    made: serve.Deployment = described(replica)
    return made


@dataclass(frozen=True)
class _Settings:
    model: str
    backend: str
    options: dict[str, Any]
    batching: dict[str, Any]


class Replica:
    """An engine with its batcher, as Ray Serve has one on each GPU.

    Through a handle, ``handle.remote(inputs)`` runs arrays, of one row or several,
    ``handle.infer_images.remote(images)`` images, and ``handle.stats.remote()`` is what one of the
    replicas has counted, which is among Ray's metrics too. Errors are trtfast's own. Over HTTP a
    POST has the inputs in JSON or as ``.npy``, or is an image.
    """

    def __init__(self, settings: _Settings) -> None:
        self._held = ExitStack()
        self._fault: CudaError | None = None
        engine = self._held.enter_context(_open(settings))
        self._batcher = self._held.enter_context(Batcher(engine, **settings.batching))
        self._batcher.warmup()
        # As counters they would be written with the ending _total, which Triton's names have not.
        self._gauges = {
            name: Gauge(name, told, ("reason",) if name == FAILURES else None)
            for name, told in TOLD.items()
        }

    async def __call__(self, inputs: Any, *, deadline: float | None = None) -> Any:
        """Run arrays in a batch with those of others.

        Parameters
        ----------
        inputs
            As in :meth:`trtfast.Engine.infer`; or a request of HTTP.
        deadline : float, optional
            Seconds within which the run must begin.
        """
        if isinstance(inputs, Request):
            return await self._respond(inputs)
        return await self._ended(self._batcher.infer_async(inputs, deadline=deadline))

    async def infer_images(self, images: Images, *, deadline: float | None = None) -> Any:
        """Run images in a batch with those of others, as :meth:`trtfast.Engine.infer_images`."""
        return await self._ended(self._batcher.infer_images_async(images, deadline=deadline))

    async def stats(self) -> dict[str, Any]:
        """Return what the batcher has counted, and the name of the replica."""
        replica = serve.get_replica_context().replica_id.unique_id
        return {"replica": replica, **dataclasses.asdict(self._batcher.stats())}

    def check_health(self) -> None:
        """Fail once CUDA has: after that, no call of the process can be trusted.

        Ray asks every few seconds, and is told then of what the batcher has counted.
        """
        for name, reason, value in Counts.of(self._batcher.stats()).samples():
            self._gauges[name].set(value, {"reason": reason} if reason else None)
        if self._fault is not None:
            raise self._fault

    async def _respond(self, request: Request) -> Response:
        try:
            given = await http.read(request, self._batcher.inputs)
            run = self.infer_images if given.is_image else self
            return http.response(given, await run(given.inputs), self._batcher.outputs)
        except tuple(HTTP_STATUS) as error:
            return http.refusal(error)

    async def _ended(self, future: InferenceFuture) -> Any:
        try:
            return await future
        except CudaError as error:
            self._fault = error
            raise

    def __del__(self) -> None:
        # Ray calls it once the requests under way are answered.
        self._held.close()


def _open(settings: _Settings) -> InferenceEngine:
    options = settings.options
    if settings.backend != "reference":
        # A replica that was given a GPU and is slow on the CPU instead would not be noticed.
        if reason := backends.why_no_engine(0, options.get("allow_unsupported_gpu")):
            raise UnsupportedDeviceError(
                f"{settings.model} cannot run in this replica: {reason}. Give it a GPU, with "
                "ray_actor_options, or run the ONNX model on the CPU with backend='reference'"
            )
        if settings.model.endswith(PLANS):
            options = {"rebuild": True, **options}
    return load(settings.model, backend=settings.backend, **options)


def _scaling(
    config: Mapping[str, Any] | AutoscalingConfig | None, target: int
) -> dict[str, Any] | AutoscalingConfig:
    if config is None or isinstance(config, Mapping):
        return {"target_ongoing_requests": target, **(config or {})}
    return config
