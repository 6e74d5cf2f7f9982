"""Batching inside the process: single requests in, batches on the GPU, to each caller his rows."""

from __future__ import annotations

import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np

from . import _core, binding, futures
from .engine import Engine
from .errors import ClosedError, InputError, QueueFullError
from .futures import InferenceFuture
from .report import BatcherStats
from .spec import Closing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .preprocess import Preprocess
    from .preprocess.images import Images
    from .spec import Array, InferenceEngine, Outputs, TensorSpec

__all__ = ["Batcher"]


class Batcher(Closing):
    """Gathers the requests of many callers into batches of an engine.

    Requests come from any number of threads, and from asyncio. Their rows go from the callers'
    arrays straight into the page-locked memory of a lane, and the answers' rows from there to each
    caller. While all lanes are busy the next batch grows; a lane that is free takes what waits, up
    to its share of all. Requests whose shapes differ in more than rows are batched apart.

    Parameters
    ----------
    engine : InferenceEngine
        An :class:`Engine`, or a :class:`ReferenceEngine`, for the same on the CPU. Each input and
        each output has the batch as its first axis; where that is fixed, each request is a whole
        batch. It may be called directly as well, and stays open when the batcher is closed. With
        its ``wait="spin"`` a thread looks for the next request for 2 ms before it sleeps.
    max_batch_size : int, optional
        Rows that a batch has at most; by default the engine's largest batch. With fewer rows known,
        as below, a batch has a lane's share of them, for the next lane to have as many.
    max_queue_delay : float
        Seconds that a request may wait for others where a lane is free: until there are the rows of
        a batch; or, where there were requests just now, a lane's share of all that are known: that
        wait, that run, and that were answered within four times these seconds, whose callers may
        come back. With 0, the default, no lane is kept idle, and batches form only while all are
        busy.
    preferred_batch_sizes : sequence of int, optional
        Numbers of rows at which a batch is run without waiting for more; what waits is cut to the
        largest of them that it fills. With an engine of ``pad_to_bucket=True`` and a warmup, all
        batches run as graphs of these sizes.
    max_queue : int, optional
        Requests that may wait; one more raises QueueFullError. None for any number.
    deadline : float, optional
        Seconds within which the batch of a request must begin, unless the request says otherwise.

    Raises
    ------
    InputError
        If the engine cannot run batches, or an argument is wrong.
    """

    def __init__(
        self,
        engine: InferenceEngine,
        max_batch_size: int | None = None,
        max_queue_delay: float = 0.0,
        *,
        preferred_batch_sizes: Sequence[int] | None = None,
        max_queue: int | None = 1024,
        deadline: float | None = None,
    ) -> None:
        self._engine = engine
        self._accepted = tuple(map(binding.padded, engine.inputs))
        self._sizes = tuple(sorted(set(preferred_batch_sizes or ())))
        self._deadline = _checked("deadline", deadline)
        self._max_queue = max_queue
        self._reading = 0  # requests whose images are being decoded, or wait to be
        self._reading_lock = threading.Lock()
        self._max_batch_size = _batch_size(engine, max_batch_size)
        core = engine._core if isinstance(engine, Engine) else None  # noqa: SLF001 - its own module
        self._core = _core.Batcher(
            core,
            None if core is not None else _callable(engine),
            inputs=[(spec.name, spec.dtype, list(spec.shape)) for spec in engine.inputs],
            outputs=[(spec.name, spec.dtype, list(spec.shape)) for spec in engine.outputs],
            max_batch_size=self._max_batch_size,
            max_queue_delay=_checked("max_queue_delay", max_queue_delay) or 0.0,
            preferred=list(self._sizes),
            max_queue=max_queue,
            lanes=engine._options.lanes if isinstance(engine, Engine) else 1,  # noqa: SLF001
            spin=isinstance(engine, Engine) and engine._options.wait == "spin",  # noqa: SLF001
        )
        # Its threads must have ended before the interpreter does.
        self._closing = weakref.finalize(self, self._core.close)

    @property
    def engine(self) -> InferenceEngine:
        """The engine that runs the batches."""
        return self._engine

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The engine's inputs."""
        return self._engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The engine's outputs."""
        return self._engine.outputs

    @property
    def preprocess(self) -> Preprocess | None:
        """How :meth:`infer_images` prepares images; None if that is not known."""
        return cast("Preprocess | None", getattr(self._engine, "preprocess", None))

    @property
    def max_batch_size(self) -> int:
        """Rows that a batch has at most."""
        return self._max_batch_size

    @overload
    def infer(
        self, inputs: Mapping[str, Array], *, deadline: float | None = None
    ) -> dict[str, Array]: ...
    @overload
    def infer(self, inputs: Any, *, deadline: float | None = None) -> Any: ...
    def infer(self, inputs: Any, *, deadline: float | None = None) -> Any:
        """Run a request in a batch, and wait for it; safe from several threads.

        Parameters
        ----------
        inputs : array, sequence of arrays in the order of ``inputs``, or mapping from name to array
            NumPy arrays with the same number of rows, 1 to :attr:`max_batch_size`. They must stay
            as they are meanwhile.
        deadline : float, optional
            Seconds from now within which its batch must begin; by default the batcher's.

        Returns
        -------
        dict for a mapping; else the array of a single output, or a tuple
            New NumPy arrays with the request's rows.

        Raises
        ------
        InputError
            If a name, dtype, rank or shape is wrong, or there are too many rows. Only this request
            fails.
        QueueFullError
            If ``max_queue`` requests wait already.
        DeadlineExceededError
            If the deadline passed before its batch began.
        ClosedError
            After :meth:`close` of the batcher or of the engine.
        OutOfMemoryError, CudaError, Error
            If its batch failed.
        """
        deadline = self._deadline if deadline is None else deadline
        results = self._core.infer(inputs, deadline)
        if results is None:
            results = self._core.infer(self._prepare(inputs), deadline)
        return results

    def infer_async(self, inputs: Any, *, deadline: float | None = None) -> InferenceFuture:
        """Begin a request and return at once; safe from several threads.

        Parameters
        ----------
        inputs, deadline
            As in :meth:`infer`.

        Returns
        -------
        InferenceFuture
            Its ``result(timeout)`` is what :meth:`infer` returns, or raises; it can be awaited, and
            be cancelled while the request waits.

        Raises
        ------
        InputError, QueueFullError, ClosedError
        """
        deadline = self._deadline if deadline is None else deadline
        return futures.begin(self._core.infer_async, inputs, self._prepare, deadline)

    @overload
    def infer_images(self, images: Images, *, on_error: Literal["raise"] = "raise") -> Any: ...
    @overload
    def infer_images(
        self, images: Images, *, on_error: Literal["skip"]
    ) -> tuple[Any, dict[int, InputError]]: ...
    def infer_images(self, images: Images, *, on_error: Literal["raise", "skip"] = "raise") -> Any:
        """Run images in batches with those of others; safe from several threads.

        Parameters
        ----------
        images, on_error
            As in :meth:`Engine.infer_images`, but for arrays on the GPU.

        Returns
        -------
        As :meth:`Engine.infer_images` does

        Raises
        ------
        InputError
            If the engine has no preprocessing or takes no images, or for the first image that is
            wrong, unless it is skipped. Only this request fails.
        QueueFullError, DeadlineExceededError, ClosedError, OutOfMemoryError, CudaError
            As :meth:`infer` does.
        Error
            If an image has to be decoded, and OpenCV is not installed.
        """
        from .preprocess import gpu

        preprocess = binding.image_preprocess(self.preprocess, self.inputs)

        def run(good: list[Any]) -> Outputs:
            if not isinstance(self._engine, Engine):
                return self.infer(_tensor(preprocess, good, self.inputs))  # type: ignore[no-any-return]
            outputs: Outputs = self._core.infer_images(
                *gpu.arrange(preprocess, good), self._deadline
            )
            return outputs

        largest = self._max_batch_size
        return gpu.run_in_parts(preprocess, images, largest, on_error, run, self.outputs)

    def infer_images_async(
        self, images: Images, *, deadline: float | None = None
    ) -> InferenceFuture:
        """Begin a request with images and return at once; safe from several threads.

        Files and encoded bytes are decoded on threads of the batcher's.

        Parameters
        ----------
        images
            As in :meth:`infer_images`, 1 to :attr:`max_batch_size` of them.
        deadline : float, optional
            As in :meth:`infer`.

        Returns
        -------
        InferenceFuture
            Its ``result(timeout)`` is what :meth:`infer_images` returns, or raises, also for images
            that are wrong. It can be cancelled until they are decoded.

        Raises
        ------
        InputError
            If the engine has no preprocessing or takes no images.
        QueueFullError
            If ``max_queue`` requests wait to be decoded already.
        ClosedError
        """
        preprocess = binding.image_preprocess(self.preprocess, self.inputs)
        wait = self._deadline if deadline is None else deadline
        latest = None if wait is None else time.monotonic() + wait
        future = InferenceFuture()
        with self._reading_lock:
            if self._max_queue is not None and self._reading >= self._max_queue:
                raise QueueFullError(
                    f"max_queue={self._max_queue} requests wait to be decoded already: try again "
                    "later, or give decoded images"
                )
            self._reading += 1
        try:
            self._decoders.submit(self._read_and_begin, preprocess, images, future, latest)
        except RuntimeError as error:  # of a pool that is shut
            self._read()
            raise ClosedError("the batcher is closed: make another") from error
        return future

    def warmup(self) -> None:
        """Run and capture the engine's lanes for the sizes of batches, so that no request has to.

        Of the preferred sizes and the largest batch; without preferred ones, of the powers of two
        up to that. What else is dynamic is as in the best shapes of the first profile.
        """
        sizes = self._sizes or tuple(1 << n for n in range(self._max_batch_size.bit_length()))
        if self.inputs[0].shape[0] >= 0:
            sizes = ()
        sets = [binding.with_batch(self.inputs, size) for size in {*sizes, self._max_batch_size}]
        if isinstance(self._engine, Engine):
            self._engine.warmup(sets)
            return
        for shapes in sets:
            wanted = binding.shapes_of(shapes, self._accepted)
            if all(size >= 0 for shape in wanted.values() for size in shape):
                self._engine.infer({s.name: np.zeros(wanted[s.name], s.dtype) for s in self.inputs})

    def stats(self) -> BatcherStats:
        """Return what was counted since it was made or :meth:`reset_stats`."""
        return BatcherStats.of(self._core.stats())

    def reset_stats(self) -> None:
        """Count from zero again."""
        self._core.reset_stats()

    def close(self) -> None:
        """Refuse new requests, and return when those that wait are answered. May be called again.

        The engine stays open.
        """
        if "_decoders" in vars(self):
            self._decoders.shutdown()
        self._closing()

    @cached_property
    def _decoders(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(min(8, os.cpu_count() or 1), "trtfast-decode")

    def _read_and_begin(
        self, preprocess: Preprocess, images: Images, future: InferenceFuture, latest: float | None
    ) -> None:
        from .preprocess import gpu

        begins = future.set_running_or_notify_cancel()
        try:
            if not begins:
                return
            good, _ = preprocess.read(images, on_error="raise")
            deadline = None if latest is None else max(latest - time.monotonic(), 0.0)
            futures.start_pump()
            if isinstance(self._engine, Engine):
                arranged = gpu.arrange(preprocess, good)
                self._core.infer_images_async(*arranged, future, deadline)
            else:
                tensor = _tensor(preprocess, good, self.inputs)
                self._core.infer_async(tensor, future, deadline)
        except BaseException as error:  # whatever it is, it is for who waits
            future.set_exception(error)
        finally:
            self._read()

    def _read(self) -> None:
        with self._reading_lock:
            self._reading -= 1

    def _prepare(self, inputs: Any) -> Any:
        """Return inputs as the core takes them, cast and copied; or tell their fault."""
        return binding.prepared(inputs, self._accepted)


def _checked(name: str, seconds: float | None) -> float | None:
    if seconds is not None and not 0 <= seconds < 1e6:
        raise InputError(f"{name} is {seconds}; expected seconds, 0 or more")
    return seconds


def _batch_size(engine: InferenceEngine, asked: int | None) -> int:
    """Return the rows that a batch may have, of an engine that can run batches.

    Raises
    ------
    InputError
        If it cannot, or not so large ones.
    """
    rows = {spec.shape[:1] for spec in (*engine.inputs, *engine.outputs)}
    fixed = next(iter(rows))[0] if len(rows) == 1 and () not in rows else 0
    if not fixed:
        shapes = ", ".join(f"{s.name} {s.shape}" for s in (*engine.inputs, *engine.outputs))
        raise InputError(
            "a batcher needs the batch as the first axis of every input and output, and these are "
            f"{shapes}: export the model with dynamic={{...}} and build it with max_shapes"
        )
    bounded = [spec for spec in engine.inputs if spec.profiles]
    largest = fixed if fixed > 0 else min(map(binding.largest_batch, bounded), default=None)
    if asked is None:
        return largest or 32  # the reference takes any number
    if asked < 1 or (largest and asked > largest) or (fixed > 0 and asked != fixed):
        raise InputError(
            f"max_batch_size is {asked}; expected 1 to {largest or 'any number'}, the engine's "
            "largest batch: build it with larger max_shapes for more"
        )
    return asked


def _callable(engine: InferenceEngine) -> Callable[[list[Array]], list[Array]]:
    """Return how the core runs a batch on an engine that is not its own."""
    names = [spec.name for spec in engine.inputs]

    def run(arrays: list[Array]) -> list[Array]:
        return list(engine.infer(dict(zip(names, arrays, strict=True))).values())

    return run


def _tensor(preprocess: Preprocess, images: list[Any], specs: Sequence[TensorSpec]) -> Array:
    return preprocess(images).astype(specs[0].dtype, copy=False)
