"""trtfast, in every way in which an array may come and an answer may go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import torch

import trtfast
from measure import Contender, timed
from workloads import Workload


def contenders(workload: Workload, size: int, stack: ExitStack) -> Iterator[Contender]:
    shape, batch = workload.shape(size), workload.batch(size)
    engine = stack.enter_context(trtfast.Engine(workload.plan, wait="spin"))
    engine.warmup(shape)
    pinned, out = engine.empty_input(shape), engine.empty_output(shape)
    pinned[...] = batch
    on_device = torch.from_numpy(batch).cuda()
    torch.cuda.synchronize()
    yield timed("trtfast-numpy", lambda: engine.infer(batch))
    yield timed("trtfast-pinned", lambda: engine.infer(pinned))
    yield timed("trtfast-pinned-out", lambda: engine.infer(pinned, out=out))
    yield timed("trtfast-device", lambda: engine.infer(on_device))
    yield timed("trtfast-async", lambda: engine.infer_async(batch).result())

    blocking = stack.enter_context(trtfast.Engine(workload.plan, wait="block"))
    blocking.warmup(shape)
    yield timed("trtfast-numpy-block", lambda: blocking.infer(batch))

    plain = stack.enter_context(trtfast.Engine(workload.plan, cuda_graph=False))
    plain.warmup(shape)
    yield timed("trtfast-numpy-no-graph", lambda: plain.infer(batch))
