"""How fast contenders are, batch by batch, and where the time of their calls goes."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..binding import alone, check_profiles, image_preprocess
from ..engine import Engine
from ..errors import InputError
from ..postprocess import top_k
from ..timing import interleaved, measure
from ..verification.metrics import holds_scores
from .report import Latency, Split
from .torch_engine import TorchEngine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from ..preprocess import Preprocess
    from ..spec import Array, InferenceEngine, Runs, TensorSpec

    Image = npt.NDArray[np.uint8]

__all__ = ["batches_of", "latencies", "rows_of", "split_of"]

_BATCHES = (1, 8, 32)
_PART = 0.5  # seconds that each part of a split is measured for


def batches_of(engines: Sequence[InferenceEngine], asked: Sequence[int] | None) -> tuple[int, ...]:
    """Return the batch sizes to compare at: those asked for, or of 1, 8 and 32 what all take.

    Raises
    ------
    InputError
        If an engine does not take a batch size that was asked for.
    """
    specs = [engine.inputs for engine in engines]
    for batch in asked or ():
        if not all(_takes(batch, each) for each in specs):
            raise InputError(
                f"not all engines take a batch of {batch}: their inputs are "
                f"{'; '.join(str(each) for each in specs)}"
            )
    found = asked or [batch for batch in _BATCHES if all(_takes(batch, each) for each in specs)]
    # Else of a fixed batch size, which is that of the first engine.
    return tuple(found) or (max([1, *specs[0][0].shape[:1]]),)


def _takes(batch: int, specs: Sequence[TensorSpec]) -> bool:
    if any(spec.shape[:1] != (-1,) for spec in specs):
        return all(spec.shape[:1] in ((-1,), (batch,)) for spec in specs)
    shapes = {each.name: (batch, *each.profiles[0].opt[1:]) for each in specs if each.profiles}
    try:
        check_profiles(shapes, specs)
    except InputError:
        return False
    return True


def rows_of(inputs: Mapping[str, Array], specs: Sequence[TensorSpec], batch: int) -> Any:
    """Return inputs of so many rows, taken from these again and again, as ``infer`` takes them."""
    return alone(
        {
            spec.name: inputs[spec.name]
            if spec.shape[:1] != (-1,)
            else np.take(inputs[spec.name], range(batch), axis=0, mode="wrap")
            for spec in specs
        }
    )


def latencies(engines: Sequence[Runs], inputs: Any, seconds: float) -> list[Latency]:
    """Time calls of several engines with the same inputs, by turns.

    Parameters
    ----------
    engines : sequence of InferenceEngine
    inputs : array or mapping
    seconds : float
        For each.
    """
    calls = [partial(engine.infer, inputs) for engine in engines]
    batch = _rows(inputs)
    return [
        Latency(batch, each.median, each.p90, each.p99, each.low, each.high, each.calls)
        for each in interleaved(calls, duration=seconds)
    ]


def split_of(
    engine: Runs, inputs: Any, images: Sequence[Image], preprocess: Preprocess | None
) -> Split:
    """Return where the time of a call goes.

    Parameters
    ----------
    engine : InferenceEngine
    inputs : array or mapping
    images : sequence of uint8 array (H, W, 3)
        As many as rows, or none.
    preprocess : Preprocess or None
        How inputs are made of images.
    """
    parts: tuple[float | None, float | None, float | None] = (None, None, None)
    before = None
    if isinstance(engine, TorchEngine):
        parts = _parts_of_torch(engine, inputs)
        if images and preprocess is not None:
            before = _median(partial(preprocess, images))
    elif isinstance(engine, Engine):
        parts = _parts_of_engine(engine, inputs)
        _, compute, copy_out = parts
        if images and preprocess is not None and compute is not None and copy_out is not None:
            image_preprocess(preprocess, engine.inputs)
            before = max(0.0, _median(partial(engine.infer_images, images)) - compute - copy_out)
    outputs = engine.infer(inputs)
    after = None
    if isinstance(outputs, np.ndarray) and holds_scores(outputs):
        after = _median(partial(top_k, outputs, 5))
    return Split(_rows(inputs), before, *parts, after)


def _parts_of_torch(
    engine: TorchEngine, inputs: Any
) -> tuple[float | None, float | None, float | None]:
    if not engine.is_on_gpu:
        return None, _median(partial(engine.infer, inputs)), None
    from torch.cuda import synchronize

    times: list[tuple[float, float, float]] = []
    end = time.perf_counter() + _PART
    while len(times) < 10 or time.perf_counter() < end:
        start = time.perf_counter()
        tensors = engine.stage(inputs)
        synchronize()
        staged = time.perf_counter()
        leaves = engine.run(tensors)
        synchronize()
        ran = time.perf_counter()
        engine.fetch(leaves)
        times.append((staged - start, ran - staged, time.perf_counter() - ran))
    copy_in, compute, copy_out = np.median(times, axis=0)
    return float(copy_in), float(compute), float(copy_out)


def _parts_of_engine(
    engine: Engine, inputs: Any
) -> tuple[float | None, float | None, float | None]:
    """Tell the copies by what a call takes longer with them than without.

    PyTorch is what puts arrays on the GPU; without it, nothing is told.
    """
    try:
        import torch
    except ImportError:
        return None, None, None
    if not torch.cuda.is_available():
        return None, None, None
    shapes = {name: a.shape for name, a in _by_name(inputs, engine).items()}
    ready, results = engine.empty_input(shapes), engine.empty_output(shapes)
    for name, array in _by_name(inputs, engine).items():
        _by_name(ready, engine)[name][...] = array
    device = torch.device("cuda", engine.device)
    try:
        on_gpu = alone(
            {n: torch.from_numpy(a).to(device) for n, a in _by_name(ready, engine).items()}
        )
        results_on_gpu = alone(
            {
                n: torch.from_numpy(a).to(device)
                for n, a in _by_name(results, engine, outputs=True).items()
            }
        )
    except TypeError:  # a dtype that PyTorch does not take from NumPy, as bfloat16
        return None, None, None
    torch.cuda.synchronize(device)
    pageable, pinned, without_in, bare = (
        timing.median
        for timing in interleaved(
            [
                partial(engine.infer, inputs),
                partial(engine.infer, ready, out=results),
                partial(engine.infer, on_gpu, out=results),
                partial(engine.infer, on_gpu, out=results_on_gpu),
            ],
            duration=_PART,
        )
    )
    # What page-locked memory saves are the copies on the host, in the ratio of their bytes.
    host = max(0.0, pageable - pinned)
    bytes_in = sum(a.nbytes for a in _by_name(ready, engine).values())
    bytes_out = sum(a.nbytes for a in _by_name(results, engine, outputs=True).values())
    share = bytes_in / (bytes_in + bytes_out)
    return (
        max(0.0, pinned - without_in) + host * share,
        bare,
        max(0.0, without_in - bare) + host * (1 - share),
    )


def _by_name(arrays: Any, engine: Engine, *, outputs: bool = False) -> dict[str, Any]:
    specs = engine.outputs if outputs else engine.inputs
    return arrays if isinstance(arrays, dict) else {specs[0].name: arrays}


def _rows(inputs: Any) -> int:
    first = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs
    return len(first) if first.ndim else 1


def _median(call: Any) -> float:
    return measure(call, warm_up=0.1, duration=_PART).median
