"""PyTorch's module as an engine: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..binding import bind, unbind
from ..errors import InputError
from ..spec import Closing
from ..verification.references import called

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from ..spec import Array, TensorSpec

__all__ = ["TorchEngine"]


class TorchEngine(Closing):
    """A module with an engine's interface.

    Parameters
    ----------
    module : torch.nn.Module
        Copied, and not changed.
    inputs, outputs : sequence of TensorSpec
        Those of an engine that was made from it.
    device : torch.device
    dtype : torch.dtype
        What floats are computed in; they come and go in the engine's dtypes.
    compiled : bool
        By ``torch.compile(mode="reduce-overhead")``, with channels last, each shape by itself.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        device: torch.device,
        dtype: torch.dtype,
        compiled: bool = False,
    ) -> None:
        import torch

        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._device = device
        self._dtype = dtype
        self._is_compiled = compiled
        self._names = inspect.signature(module.forward).parameters.keys()
        self._format = torch.channels_last if compiled else torch.contiguous_format
        own = copy.deepcopy(module).eval().to(device)
        if dtype != torch.float32:
            own = own.to(dtype)
        if compiled:
            own = own.to(memory_format=torch.channels_last)
        self._module_bytes = sum(
            tensor.nbytes for tensor in (*own.parameters(), *own.buffers()) if tensor.is_cuda
        )
        self._module: Any = own
        if compiled:
            self._module = torch.compile(own, mode="reduce-overhead", dynamic=False)

    def infer(self, inputs: Any) -> Any:
        """Run the module, and wait for its outputs; see :meth:`trtfast.InferenceEngine.infer`."""
        arrays = self.fetch(self.run(self.stage(inputs)))
        return arrays if isinstance(inputs, Mapping) else unbind(arrays, inputs)

    def stage(self, inputs: Any) -> dict[str, torch.Tensor]:
        """Return the inputs as tensors on the device, by name."""
        bound = bind(inputs, self.inputs)
        return {name: self._tensor(array) for name, array in bound.items()}

    def run(self, tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """Return the module's outputs, which a GPU may still be at work on."""
        leaves = called(self._module, tensors, self._names)
        if len(leaves) != len(self.outputs):
            raise InputError(
                f"the module gives {len(leaves)} tensors, and the engine {len(self.outputs)}: "
                "compare an engine that was made from this module"
            )
        return leaves

    def fetch(self, leaves: Sequence[torch.Tensor]) -> dict[str, Array]:
        """Return the outputs as NumPy arrays, by name, once they are there."""
        return {
            spec.name: _array(leaf, spec) for spec, leaf in zip(self.outputs, leaves, strict=True)
        }

    def device_bytes(self, inputs: Any) -> int | None:
        """Return what the module holds on the GPU and at most needs for a call.

        None on the CPU, and of a compiled one, whose graphs have memory of their own.
        """
        import torch

        if not self.is_on_gpu or self._is_compiled:
            return None
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        self.infer(inputs)
        peak = torch.cuda.max_memory_allocated(self._device)
        return self._module_bytes + peak - before

    @property
    def is_on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self._device.type == "cuda"

    def close(self) -> None:
        """Let go of the module."""
        self._module = None

    def _tensor(self, array: Array) -> torch.Tensor:
        import torch

        # PyTorch warns of memory that it may not write.
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
        tensor = tensor.to(self._device)
        if not tensor.is_floating_point():
            return tensor
        layout = self._format if tensor.ndim == 4 else torch.contiguous_format
        return tensor.to(self._dtype, memory_format=layout)


def _array(tensor: torch.Tensor, spec: TensorSpec) -> Array:
    import torch

    if tensor.is_floating_point():
        tensor = tensor.to(torch.float64 if spec.dtype == np.float64 else torch.float32)
    return tensor.cpu().numpy().astype(spec.dtype, copy=False)
