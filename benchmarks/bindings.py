"""The tutorial's loop: NVIDIA's own Python bindings, page-locked buffers, one stream.

Copies go through CuPy's thin wrapper of the CUDA runtime, and the context specialises its kernels
eagerly, as trtfast's does: both in the loop's favour.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cupy.cuda import runtime

from measure import Contender, timed
from trtfast import backend
from workloads import Batch, Workload


class Plan:
    """A plan, deserialised by NVIDIA's bindings, that makes contexts."""

    def __init__(self, path: Path) -> None:
        library = backend.select(device=backend.require_gpu())
        parsers = Path(library.path).parent.glob("lib*onnxparser*.so*")
        for file in (library.path, *parsers):  # which the bindings look for by name
            ctypes.CDLL(str(file))
        self._trt: Any = importlib.import_module(
            "tensorrt_rtx_bindings" if library.is_rtx else "tensorrt_bindings"
        )
        self._logger = self._trt.Logger(self._trt.Logger.ERROR)
        self._runtime = self._trt.Runtime(self._logger)
        self.engine: Any = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            raise RuntimeError(f"NVIDIA's bindings cannot load {path}")
        self._config: Any = None
        if library.is_rtx:
            self._config = self.engine.create_runtime_config()
            strategy = self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
            self._config.dynamic_shapes_kernel_specialization_strategy = strategy
            # One for all contexts, so that kernels are compiled once.
            self._cache = self._config.create_runtime_cache()
            self._config.set_runtime_cache(self._cache)

    def context(self) -> Any:
        if self._config is None:
            return self.engine.create_execution_context()
        return self.engine.create_execution_context(self._config)

    def names(self) -> tuple[str, str]:
        """Return those of the only input and the only output."""
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        mode = self._trt.TensorIOMode.INPUT
        (given,) = (name for name in names if self.engine.get_tensor_mode(name) == mode)
        (taken,) = (name for name in names if name != given)
        return given, taken

    def profile_of(self, shape: tuple[int, ...]) -> int:
        """The first optimisation profile that holds a shape of the input."""
        given, _ = self.names()
        for index in range(self.engine.num_optimization_profiles):
            low, _, high = self.engine.get_tensor_profile_shape(given, index)
            if all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True)):
                return index
        raise RuntimeError(f"no profile holds {shape}")

    def dtype(self, name: str) -> np.dtype[Any]:
        return np.dtype(self._trt.nptype(self.engine.get_tensor_dtype(name)))


class Loop:
    """A context, a stream, and buffers for one shape."""

    def __init__(self, plan: Plan, shape: tuple[int, ...]) -> None:
        given, taken = plan.names()
        self._context = plan.context()
        self.stream = torch.cuda.Stream()
        self._handle = self.stream.cuda_stream
        self._context.set_optimization_profile_async(plan.profile_of(shape), self._handle)
        self.synchronize()
        if not self._context.set_input_shape(given, shape):
            raise RuntimeError(f"the engine does not take the shape {shape}")
        self.host_input, self._input = _buffers(shape, plan.dtype(given))
        out_shape = tuple(self._context.get_tensor_shape(taken))
        self.host_output, self._output = _buffers(out_shape, plan.dtype(taken))
        self._context.set_tensor_address(given, self._input.data_ptr())
        self._context.set_tensor_address(taken, self._output.data_ptr())
        self._copy_in = (
            self._input.data_ptr(),
            self.host_input.ctypes.data,
            self.host_input.nbytes,
            runtime.memcpyHostToDevice,
            self._handle,
        )
        self._copy_out = (
            self.host_output.ctypes.data,
            self._output.data_ptr(),
            self.host_output.nbytes,
            runtime.memcpyDeviceToHost,
            self._handle,
        )

    def enqueue(self) -> None:
        """Submit copy-in, execution and copy-out."""
        runtime.memcpyAsync(*self._copy_in)
        if not self._context.execute_async_v3(self._handle):
            raise RuntimeError("execute_async_v3 failed")
        runtime.memcpyAsync(*self._copy_out)

    def synchronize(self) -> None:
        runtime.streamSynchronize(self._handle)

    def infer(self, batch: Batch) -> np.ndarray[Any, Any]:
        np.copyto(self.host_input, batch)
        self.enqueue()
        self.synchronize()
        return self.host_output.copy()


class Graph:
    """What a loop enqueues, captured as one CUDA graph."""

    def __init__(self, loop: Loop, batch: Batch) -> None:
        self._loop = loop  # whose buffers it writes
        self._handle = loop.stream.cuda_stream
        wanted = loop.infer(batch)
        runtime.streamBeginCapture(self._handle, runtime.streamCaptureModeThreadLocal)
        try:
            loop.enqueue()
        finally:
            graph = runtime.streamEndCapture(self._handle)
        self._executable = runtime.graphInstantiate(graph)
        runtime.graphDestroy(graph)
        loop.host_output[:] = 0
        self.launch()
        loop.synchronize()
        if loop.host_output.tobytes() != wanted.tobytes():
            raise RuntimeError("the captured graph gives other bits than the plain run")

    def launch(self) -> None:
        runtime.graphLaunch(self._executable, self._handle)

    def close(self) -> None:
        self._loop.synchronize()
        runtime.graphExecDestroy(self._executable)


def contenders(workload: Workload, size: int, _: ExitStack) -> Iterator[Contender]:
    loop = Loop(Plan(workload.plan), workload.shape(size))
    batch = workload.batch(size)
    yield timed("bindings-loop", lambda: loop.infer(batch))


def _buffers(
    shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[np.ndarray[Any, Any], torch.Tensor]:
    """Return page-locked memory and device memory for a tensor."""
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    pinned = torch.empty(shape, dtype=kind, pin_memory=True)
    return pinned.numpy(), torch.empty(shape, dtype=kind, device="cuda")
