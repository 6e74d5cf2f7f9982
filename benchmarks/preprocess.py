"""Preprocessing of images on the GPU: the kernels against memory, and whole calls against peers.

``measure_kernels`` takes the kernels' own time from the profiler, for images that are on the GPU,
and sets it beside the time in which the GPU copies as many bytes. ``measure`` goes from pageable
uint8 arrays to logits on the host, by ``infer_images`` and by what one would write without it.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

import trtfast
from measure import Contender, Row, failure, round_robin, summary, timed
from trtfast.errors import InputError
from trtfast.preprocess import Preprocess
from workloads import Workload

Size = tuple[int, int]  # height, width
Method = Literal["linear", "area", "pil_bilinear"]
Image = np.ndarray[Any, np.dtype[np.uint8]]

SIZES: tuple[Size, ...] = ((480, 640), (1080, 1920))
METHODS: tuple[Method, ...] = ("linear", "area", "pil_bilinear")
BATCHES = (1, 8, 32, 128)
TARGET: Size = (224, 224)
THREADS = 16

_KERNELS = ("preprocess_kernel", "linear_kernel", "stretch", "find_extremes", "forget_extremes")
_HALF = 2  # bytes of a float16
_ROUNDS = 6
_GIB = 2**30
_EVICTED = 2**28  # bytes, some times what any GPU's L2 holds
_COPIES = 4  # between two events, so that their own time is no part of it
_AGREEMENT = 1e-2  # of the largest logit


def bytes_moved(method: Method, size: Size, count: int, target: Size = TARGET) -> int:
    """Return what has to be read of uint8 RGB images, and written in float16.

    Linear looks at two rows for each of the result; the others look at every pixel.
    """
    height, width = size
    rows = min(height, 2 * target[0]) if method == "linear" else height
    return count * 3 * (rows * width + _HALF * target[0] * target[1])


# ---- The kernels alone ----


def measure_kernels(calls: int) -> Iterator[Row]:
    """Measure the kernels in turns, ``calls`` each time; all batch sizes, whatever the model."""
    copy = _device_copy()
    torch.cuda.empty_cache()
    yield copy
    with profile(activities=[ProfilerActivity.CUDA]):  # the first starts CUPTI, and may miss some
        torch.zeros(1, device="cuda")
        torch.cuda.synchronize()
    for size in SIZES:
        for count in BATCHES:
            try:
                yield from _kernels(size, count, calls, copy["bandwidth"])
            except Exception:
                yield failure(f"kernels/{_label(size)}/batch{count}")
            torch.cuda.empty_cache()


def _kernels(size: Size, count: int, calls: int, bandwidth: float) -> Iterator[Row]:
    images = [
        torch.randint(0, 256, (*size, 3), dtype=torch.uint8, device="cuda") for _ in range(count)
    ]
    prefix = {method: f"kernels/{method}/{_label(size)}/batch{count}" for method in METHODS}
    specs: dict[Method, Preprocess] = {}
    for method in METHODS:
        try:
            spec = Preprocess(TARGET, interpolation=method)
            spec.on_gpu(images, dtype="float16")
            specs[method] = spec
        except Exception:  # noqa: PERF203
            yield failure(f"{prefix[method]}/trtfast")
    if not specs:
        return
    for method, rounds in _profiled(specs, images, calls).items():
        moved = bytes_moved(method, size, count)
        yield {"id": f"{prefix[method]}/floor", "median": moved / bandwidth, "bytes": moved}
        row = summary([value for taken in rounds for value in taken])
        yield {
            "id": f"{prefix[method]}/trtfast",
            **row,
            "rounds": [float(np.median(taken)) for taken in rounds],
            "bytes": moved,
            "bandwidth": moved / row["median"],
        }


def _profiled(
    specs: dict[Method, Preprocess], images: Sequence[torch.Tensor], calls: int
) -> dict[Method, list[list[float]]]:
    """Return the kernels' seconds of each call, in each round of each method."""
    evicting = torch.zeros(_EVICTED // 4, dtype=torch.int32, device="cuda")

    def call(spec: Preprocess) -> None:
        # What the call before has left in L2 would make a kernel quicker than memory is. It is read
        # and not written, since the kernel would wait for what is written back.
        evicting.max()
        spec.on_gpu(images, dtype="float16")

    turns = [method for _ in range(_ROUNDS + 1) for method in specs]
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for method in turns:
            for _ in range(calls):
                call(specs[method])
        torch.cuda.synchronize()
    times = per_call(_durations(profiler.events()), len(turns) * calls)
    found: dict[Method, list[list[float]]] = {method: [] for method in specs}
    for turn, method in enumerate(turns):
        found[method].append(times[turn * calls : (turn + 1) * calls])
    return {method: rounds[1:] for method, rounds in found.items()}  # the first warms up


def _durations(events: Any) -> list[float]:
    """Return the seconds of each kernel of ours, in the order in which they began."""
    kernels = sorted(
        (event.time_range.start, event.time_range.elapsed_us() * 1e-6)
        for event in events
        if event.device_type.name == "CUDA" and any(name in event.name for name in _KERNELS)
    )
    return [seconds for _, seconds in kernels]


def per_call(durations: Sequence[float], calls: int) -> list[float]:
    """Add up the kernels of each call, of which all have the same number, one after another."""
    each, rest = divmod(len(durations), calls)
    if each == 0 or rest:
        raise RuntimeError(f"the profiler saw {len(durations)} kernels of {calls} calls")
    return [sum(durations[first : first + each]) for first in range(0, len(durations), each)]


def _device_copy() -> Row:
    """Measure memory by a copy on the GPU, which reads and writes 1 GiB."""
    source, target = (torch.zeros(_GIB, dtype=torch.uint8, device="cuda") for _ in range(2))
    sample = _copying(lambda: target.copy_(source))
    sample(0.2)
    row = summary(sample(0.2))
    moved = 2 * _GIB
    return {
        "id": "kernels/device-copy",
        **row,
        "bytes": moved,
        "bandwidth": moved / row["median"],
    }


def _copying(copy: Callable[[], object]) -> Callable[[float], list[float]]:
    """Make a sample of the GPU's time for a copy, in a row of them."""
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def sample(duration: float) -> list[float]:
        times: list[float] = []
        end = time.perf_counter() + duration
        while not times or time.perf_counter() < end:
            first.record()
            for _ in range(_COPIES):
                copy()
            last.record()
            last.synchronize()
            times.append(first.elapsed_time(last) * 1e-3 / _COPIES)
        return times

    return sample


# ---- From pageable arrays to logits ----


@dataclass(frozen=True)
class _Case:
    """Images on the host, and an engine for them.

    All peers that give it host memory share ``pinned``, so that they share a captured graph.
    """

    engine: trtfast.Engine
    spec: Preprocess
    images: list[Image]
    pinned: Any

    @property
    def bytes(self) -> int:
        return sum(image.nbytes for image in self.images)


def measure(workload: Workload, size: int, seconds: float) -> Iterator[Row]:
    """Measure whole calls with a batch of images of each size."""
    shape, spec = workload.shape(size), Preprocess(workload.size)
    with trtfast.Engine(workload.plan, wait="spin", preprocess=spec) as engine:
        try:
            engine.warmup(shape)
        except InputError as error:
            print(f"  not measured, for the engine has no such batch: {error}", flush=True)
            return
        pinned = engine.empty_input(shape)
        pinned[...] = workload.batch(size)
        for image_size in SIZES:
            prefix = f"{workload.name}/{_label(image_size)}/batch{size}"
            try:
                images = np.random.default_rng(0).integers(
                    0, 256, (size, *image_size, 3), dtype=np.uint8
                )
                case = _Case(engine, spec, list(images), pinned)
                yield from _measure_case(prefix, case, seconds)
            except Exception:
                yield failure(prefix)


def _measure_case(prefix: str, case: _Case, seconds: float) -> Iterator[Row]:
    lost: list[Row] = []
    with ExitStack() as stack:

        def contenders() -> Iterator[Contender]:
            for name, make in (
                ("trtfast", _trtfast),
                ("transfer-floor", _transfer),
                ("cpu", _on_cpu),
                ("torchvision-gpu", _torchvision),
            ):
                try:
                    yield from make(case, stack)
                except Exception:  # noqa: PERF203
                    lost.append(failure(f"{prefix}/{name}"))

        rows, failures = round_robin(prefix, contenders(), seconds)
    for row in rows:
        if row["id"].endswith("/transfer-floor"):
            row |= {"bytes": case.bytes, "bandwidth": case.bytes / row["median"]}
        yield row
    yield from (*failures, *lost)
    try:
        yield {"id": f"{prefix}/agreement", "difference": _difference(case)}
    except Exception:
        yield failure(f"{prefix}/agreement")


def _trtfast(case: _Case, _: ExitStack) -> Iterator[Contender]:
    yield timed("infer-images", lambda: case.engine.infer_images(case.images))
    yield timed("engine-pinned", lambda: case.engine.infer(case.pinned))


def _transfer(case: _Case, _: ExitStack) -> Iterator[Contender]:
    """The pixels' way to the GPU, from page-locked memory: all have to go it."""
    pinned = torch.zeros(case.bytes, dtype=torch.uint8, pin_memory=True)
    on_gpu = torch.empty_like(pinned, device="cuda")
    sample = _copying(lambda: on_gpu.copy_(pinned, non_blocking=True))
    yield Contender("transfer-floor", sample, is_wall=False)


def _on_cpu(case: _Case, stack: ExitStack) -> Iterator[Contender]:
    """albumentations where it is installed, else its arithmetic as trtfast has it."""
    import cv2

    # OpenCV's own threads would be more than the one, or fight with the sixteen.
    stack.callback(cv2.setNumThreads, cv2.getNumThreads())
    cv2.setNumThreads(1)
    is_installed = importlib.util.find_spec("albumentations") is not None
    name = "albumentations" if is_installed else "albumentations-arithmetic"
    make = _albumentations if is_installed else _arithmetic
    # One for each thread, for nobody promises that one may be shared.
    transforms = [make(case.spec) for _ in range(THREADS)]

    def fill(worker: int, workers: int) -> None:
        transform = transforms[worker]
        for index in range(worker, len(case.images), workers):
            case.pinned[index] = transform(case.images[index])

    def on_one() -> object:
        fill(0, 1)
        return case.engine.infer(case.pinned)

    pool = stack.enter_context(ThreadPoolExecutor(THREADS))

    def on_many() -> object:
        for done in [pool.submit(fill, worker, THREADS) for worker in range(THREADS)]:
            done.result()
        return case.engine.infer(case.pinned)

    yield timed(f"{name}-1core", on_one)
    yield timed(f"{name}-{THREADS}threads", on_many)


def _albumentations(spec: Preprocess) -> Callable[[Image], Any]:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network
    import albumentations
    from albumentations.pytorch import ToTensorV2

    transform = albumentations.Compose(
        [
            albumentations.Resize(*spec.size),
            albumentations.Normalize(mean=spec.mean, std=spec.std),
            ToTensorV2(),
        ]
    )
    return lambda image: transform(image=image)["image"].numpy()


def _arithmetic(spec: Preprocess) -> Callable[[Image], Any]:
    return lambda image: spec(image)[0]


def _torchvision(case: _Case, _: ExitStack) -> Iterator[Contender]:
    """Pixels as bytes to the GPU, and torchvision's transforms there."""
    from torchvision.transforms.v2 import functional

    shape = (len(case.images), *case.images[0].shape)
    pinned = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
    images = [torch.from_numpy(image) for image in case.images]
    # In one place, for the engine to have a graph of it, and in its layout and dtype.
    given = torch.empty(case.pinned.shape, dtype=torch.from_numpy(case.pinned).dtype, device="cuda")
    mean, std, size = list(case.spec.mean), list(case.spec.std), list(case.spec.size)

    def call() -> object:
        with torch.inference_mode():
            for target, image in zip(pinned, images, strict=True):
                target.copy_(image)
            pixels = pinned.to("cuda", non_blocking=True).permute(0, 3, 1, 2)
            pixels = functional.resize(pixels, size, antialias=True)
            values = functional.to_dtype(pixels, torch.float32, scale=True)
            given.copy_(functional.normalize(values, mean, std))
        return case.engine.infer(given).copy_to_host()

    yield timed("torchvision-gpu", call)


def _difference(case: _Case) -> float:
    """Compare the logits with those from trtfast's arithmetic on the CPU; raise if they differ."""
    case.pinned[...] = case.spec(case.images)
    wanted = np.asarray(case.engine.infer(case.pinned), np.float32)
    given = np.asarray(case.engine.infer_images(case.images), np.float32)
    difference = float(np.abs(given - wanted).max() / np.abs(wanted).max())
    if not difference <= _AGREEMENT:
        raise RuntimeError(f"infer_images differs by {difference:.3g} of the largest logit")
    return difference


def _label(size: Size) -> str:
    return "x".join(map(str, size))
