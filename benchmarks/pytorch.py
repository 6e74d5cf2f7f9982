"""PyTorch, eager and compiled, from a NumPy array to a NumPy array as trtfast is.

Inputs are cast on the GPU, and settings are PyTorch's own. torch.compile gets the module with its
channels last, and each batch size as a static shape: both in its favour.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import torch

from measure import Contender, timed
from workloads import Batch, Workload


def contenders(workload: Workload, size: int, stack: ExitStack) -> Iterator[Contender]:
    batch = workload.batch(size)
    # Recordings of graphs for a batch size that is done with would keep their memory.
    stack.callback(torch.compiler.reset)
    half = None
    for name, dtype in (("fp32", torch.float32), ("fp16", torch.float16)):
        module = copy.deepcopy(workload.module).cuda().to(dtype).eval()
        yield timed(f"torch-{name}", _call(module, batch, dtype, torch.contiguous_format))
        half = copy.deepcopy(module).to(memory_format=torch.channels_last)
        yield timed(f"torch-{name}-channels-last", _call(half, batch, dtype, torch.channels_last))
    compiled = torch.compile(half, mode="reduce-overhead", dynamic=False)
    yield timed(
        "torch-fp16-reduce-overhead",
        _call(compiled, batch, torch.float16, torch.channels_last),
    )


def _call(
    module: Callable[[torch.Tensor], torch.Tensor],
    batch: Batch,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
) -> Callable[[], object]:
    def call() -> object:
        with torch.inference_mode():
            on_gpu = torch.from_numpy(batch).to("cuda").to(dtype, memory_format=memory_format)
            return module(on_gpu).float().cpu().numpy()

    return call
