"""Whether tests run where TensorRT-RTX has faults that are known."""

from __future__ import annotations

from trtfast import backend


def is_hopper_on_rtx() -> bool:
    """Whether float32 convolutions vary from run to run here, and float8 is refused."""
    gpu = backend.gpu()
    return gpu is not None and gpu.compute_capability == 90 and backend.select(device=gpu).is_rtx
