"""The error of each layer: what its outputs are off by, beside what its inputs were off by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .._onnx import constant_value, typed_skeleton
from ..reference import ReferenceEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import onnx

    from ..spec import Array, InferenceEngine
    from .candidates import Candidate

__all__ = ["NodeError", "layer_errors"]

# Each output more keeps TensorRT from fusing there, so that other layers are looked at than those
# of the engine: few at a time change it less.
_MARKS = 64
_FLOAT = 1  # TensorProto.DataType


@dataclass(frozen=True)
class NodeError:
    """How much error an ONNX node adds.

    Attributes
    ----------
    name, op : str
        The node's name, which may be empty, and its operator.
    outputs : tuple of str
        Its float32 outputs.
    error : float
        Of its outputs, the largest ``sqrt(sum (given - wanted)**2 / sum wanted**2)``; infinite
        where a value is NaN or infinite that should not be.
    entering : float
        The same of its inputs.
    producers : tuple of str
        The names of the nodes that give its inputs.
    """

    name: str
    op: str
    outputs: tuple[str, ...]
    error: float
    entering: float
    producers: tuple[str, ...]

    @property
    def growth(self) -> float:
        """How much of the error is new: 0 where its inputs are all wrong already."""
        return self.error - self.entering if np.isfinite(self.entering) else 0.0


def layer_errors(
    model: onnx.ModelProto,
    candidate: Candidate,
    keep_fp32: Collection[str],
    keep_fp16: Collection[str],
    samples: Sequence[dict[str, Array]],
) -> list[NodeError]:
    """Compare each float32 tensor of the main graph with what a candidate computes for it.

    Parameters
    ----------
    model : onnx.ModelProto
        In float32, its functions inlined.
    candidate : Candidate
    keep_fp32, keep_fp16 : collection of str
        The names of the nodes that stay in float32, and of those that are not quantised.
    samples : sequence of dict from input name to array

    Returns
    -------
    list of NodeError
        In the graph's order.
    """
    graph = typed_skeleton(model, 0).graph
    values = {value.name: value for value in (*graph.value_info, *graph.output)}
    nodes = [node for node in graph.node if constant_value(node) is None]
    names = [
        name
        for node in nodes
        for name in node.output
        if name in values and values[name].type.tensor_type.elem_type == _FLOAT
    ]
    errors: dict[str, float] = {}
    for start in range(0, len(names), _MARKS):
        part = names[start : start + _MARKS]
        marked = _marked(model, [values[name] for name in part])
        make = partial(candidate, marked, keep_fp32, keep_fp16)
        errors |= _tensor_errors(marked, part, make, samples)
    makers = {name: node.name for node in nodes for name in node.output}
    return [
        NodeError(
            node.name,
            node.op_type,
            outputs,
            error=max(errors[name] for name in outputs),
            entering=max((errors.get(name, 0.0) for name in node.input), default=0.0),
            producers=tuple(filter(None, (makers.get(name) for name in node.input))),
        )
        for node in nodes
        if (outputs := tuple(name for name in node.output if name in errors))
    ]


def _marked(model: onnx.ModelProto, values: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    known = {value.name for value in result.graph.output}
    result.graph.output.extend(value for value in values if value.name not in known)
    return result


def _tensor_errors(
    marked: onnx.ModelProto,
    names: Sequence[str],
    make: Callable[[], InferenceEngine],
    samples: Sequence[dict[str, Array]],
) -> dict[str, float]:
    signal, noise = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    with ReferenceEngine(marked) as reference, make() as engine:
        for inputs in samples:
            wanted, given = reference.infer(inputs), engine.infer(inputs)
            for name in names:
                exact = wanted[name].astype(np.float64)
                found = given[name].astype(np.float64)
                counted = np.isfinite(exact)
                with np.errstate(invalid="ignore", over="ignore"):
                    difference = found[counted] - exact[counted]
                    difference[~np.isfinite(difference)] = np.inf
                    noise[name] += float(np.dot(difference, difference))
                signal[name] += float(np.dot(exact[counted], exact[counted]))
    return {name: _ratio(noise[name], signal[name]) for name in names}


def _ratio(noise: float, signal: float) -> float:
    if noise == 0:
        return 0.0
    return float(np.sqrt(noise / signal)) if signal > 0 else np.inf
