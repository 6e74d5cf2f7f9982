"""What an engine is held against: a PyTorch module, an ONNX file, an engine, recorded outputs."""

from __future__ import annotations

import inspect
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

from ..arrays import ENDINGS, read_arrays
from ..errors import InputError
from ..reference import ReferenceEngine
from ..spec import InferenceEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import onnx
    import torch

    from ..spec import Array, Outputs

    Reference: TypeAlias = (
        torch.nn.Module
        | str
        | os.PathLike[str]
        | onnx.ModelProto
        | InferenceEngine
        | Mapping[str, Array]
        | Iterable[Outputs]
    )

__all__ = ["Reference", "Yardstick", "called", "opened"]


class Yardstick(ABC):
    """Gives the outputs that are wanted of each sample.

    Attributes
    ----------
    name : str
        What the report calls it.
    """

    name: str

    @abstractmethod
    def outputs(self, inputs: Mapping[str, Array], given: Mapping[str, Array]) -> dict[str, Array]:
        """Return what is wanted of the next sample, by the engine's names.

        Parameters
        ----------
        inputs, given : mapping from name to array
            What the engine took and gave.
        """

    def finish(self) -> None:  # noqa: B027 - most have nothing left
        """Raise InputError if there were fewer samples than the reference has outputs of."""


@contextmanager
def opened(reference: Reference) -> Iterator[Yardstick]:
    """Make a reference ready; what is opened here is closed at the end.

    Raises
    ------
    InputError
        If it is none of those that :func:`trtfast.verify` takes, or a file cannot be read.
    """
    if isinstance(reference, (str, os.PathLike)):
        path = Path(reference)
        if path.suffix in ENDINGS:
            yield _Rows(read_arrays(path), str(path))
            return
        if path.suffix != ".onnx":
            raise InputError(f"reference {path}: the ending must be .onnx, .npz or .npy")
        with ReferenceEngine(path) as engine:
            yield _Engine(engine, f"{path} on the CPU")
    elif _is_module(reference):
        with _exactly(reference):
            yield _Module(reference)
    elif isinstance(reference, InferenceEngine):
        yield _Engine(reference, type(reference).__name__)
    elif isinstance(reference, (Mapping, np.ndarray)):
        yield _Rows(reference, "recorded outputs")
    elif isinstance(reference, Iterable):
        yield _Recorded(iter(reference))
    elif hasattr(reference, "graph"):  # onnx may not be installed to ask for its class
        model: Any = reference
        with ReferenceEngine(model) as engine:
            yield _Engine(engine, "the ONNX model on the CPU")
    else:
        raise InputError(
            f"reference is {type(reference).__name__}; expected a torch.nn.Module, an ONNX model, "
            "an engine, or recorded outputs"
        )


class _Engine(Yardstick):
    def __init__(self, engine: InferenceEngine, name: str) -> None:
        self._engine = engine
        self.name = name

    def outputs(self, inputs: Mapping[str, Array], given: Mapping[str, Array]) -> dict[str, Array]:
        feeds = _matched(inputs, [spec.name for spec in self._engine.inputs], "inputs")
        return _matched(self._engine.infer(feeds), given, "outputs")


class _Module(Yardstick):
    """A PyTorch module, on whichever device it is."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._parameters = inspect.signature(module.forward).parameters
        like = next((tensor for tensor in module.parameters() if tensor.is_floating_point()), None)
        self._device = None if like is None else like.device
        self._dtype = None if like is None else like.dtype
        self.name = f"{type(module).__name__} in PyTorch, {self._device or 'cpu'}"

    def outputs(self, inputs: Mapping[str, Array], given: Mapping[str, Array]) -> dict[str, Array]:
        from .._exported import to_numpy

        tensors = {name: self._tensor(array) for name, array in inputs.items()}
        found = called(self._module, tensors, self._parameters)
        return _numbered([to_numpy(leaf) for leaf in found], given)

    def _tensor(self, array: Array) -> torch.Tensor:
        import torch

        if array.dtype.kind in "iub":
            return torch.tensor(array, device=self._device)
        # The module computes in its own type, whatever the engine takes.
        return torch.tensor(array.astype(np.float64)).to(self._device, self._dtype or torch.float32)


def called(
    module: Callable[..., Any], tensors: Mapping[str, torch.Tensor], parameters: Collection[str]
) -> list[torch.Tensor]:
    """Return the tensors that a module gives, in order, in whatever it gives them.

    Parameters
    ----------
    module : callable
    tensors : mapping from input name to tensor
        Given by name where the module has parameters of these names, else in order.
    parameters : collection of str
        Of the module's ``forward``.
    """
    import torch
    from torch.utils._pytree import tree_leaves

    with torch.inference_mode():
        by_name = all(name in parameters for name in tensors)
        found = module(**tensors) if by_name else module(*tensors.values())
    return [leaf for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)]


class _Rows(Yardstick):
    """Outputs that were recorded in one array each, of which a sample has the next rows."""

    def __init__(self, arrays: Array | Mapping[str, Array], name: str) -> None:
        self._arrays = dict(arrays) if isinstance(arrays, Mapping) else {"output": arrays}
        self.name = name

    def outputs(
        self,
        inputs: Mapping[str, Array],  # noqa: ARG002 - what was recorded needs none
        given: Mapping[str, Array],
    ) -> dict[str, Array]:
        self._arrays = _matched(self._arrays, given, "outputs")
        found: dict[str, Array] = {}
        for name, array in given.items():
            rows = len(array) if array.ndim else 1
            left = self._arrays[name]
            if len(left) < rows:
                raise InputError(
                    f"{self.name} has too few rows of '{name}': {len(left)} are left, and the next "
                    f"sample has {rows}. Record it on these samples"
                )
            found[name] = left[:rows] if array.ndim else left[0]
            self._arrays[name] = left[rows:]
        return found

    def finish(self) -> None:
        left = {name: len(array) for name, array in self._arrays.items() if len(array)}
        if left:
            raise InputError(f"{self.name} has rows for which there are no samples: {left}")


class _Recorded(Yardstick):
    """Outputs that were recorded for each sample."""

    name = "recorded outputs"

    def __init__(self, outputs: Iterator[Outputs]) -> None:
        self._outputs = outputs

    def outputs(
        self,
        inputs: Mapping[str, Array],  # noqa: ARG002 - what was recorded needs none
        given: Mapping[str, Array],
    ) -> dict[str, Array]:
        try:
            found = next(self._outputs)
        except StopIteration:
            raise InputError("there are fewer recorded outputs than samples") from None
        if isinstance(found, Mapping):
            return _matched(found, given, "outputs")
        return _numbered(found if isinstance(found, (tuple, list)) else (found,), given)

    def finish(self) -> None:
        if next(self._outputs, None) is not None:
            raise InputError("there are more recorded outputs than samples")


def _is_module(reference: Reference) -> TypeGuard[torch.nn.Module]:
    torch = sys.modules.get("torch")  # else there can be none
    return torch is not None and isinstance(reference, torch.nn.Module)


@contextmanager
def _exactly(module: torch.nn.Module) -> Iterator[None]:
    """Have a module in evaluation mode, and its convolutions on a GPU in float32, not in TF32."""
    import torch

    from ..export import evaluation_mode

    cudnn: Any = torch.backends.cudnn
    allowed = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        with evaluation_mode(module):
            yield
    finally:
        cudnn.allow_tf32 = allowed


def _numbered(arrays: Sequence[Array], names: Iterable[str]) -> dict[str, Array]:
    """Return arrays that have no names by the engine's."""
    return _matched({f"output {i}": array for i, array in enumerate(arrays)}, names, "outputs")


def _matched(arrays: Mapping[str, Array], names: Iterable[str], what: str) -> dict[str, Array]:
    """Return arrays by the engine's names: those of the same names, else in order."""
    wanted = list(names)
    if arrays.keys() == set(wanted):
        return {name: arrays[name] for name in wanted}
    if len(arrays) != len(wanted):
        raise InputError(
            f"the engine's {what} are {wanted}, and the reference's {list(arrays)}: give the "
            "reference of the same model, or an engine and a reference with the same names"
        )
    return dict(zip(wanted, arrays.values(), strict=True))
