"""What a model's values reach on real samples: a float32 run that is watched.

Quantisation takes its scales from it, and "mixed" the nodes that float16 cannot hold.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

from .._onnx import (
    bodies,
    constants,
    graph_node_names,
    is_control_flow,
    renewed,
    unique,
    value_names,
)
from ..errors import PrecisionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import onnx

    from ..spec import Array

__all__ = ["Calibration", "measure", "normalised", "quantisable"]

logger = logging.getLogger("trtfast")

# QuantizeLinear takes float16, and float8 exists, since this opset.
_OPSET = 19
_FLOAT = 1  # TensorProto.FLOAT

# What other inputs than the samples bring is unknown: a value may grow by this factor.
_MARGIN = 4
LARGEST = 65504 / _MARGIN
# Below float16's smallest normal number bits are lost, below 6e-8 the value.
SMALLEST = 2.0**-14

# A step of a tensor core adds up 32 products of int8 or float8; with half of that it may still pay.
_CHANNELS = 16

# Operators that add up many values: over which axes, and of what, the largest partial sum is found.
_SUMS = ("ReduceMean", "ReduceSum", "GlobalAveragePool")
_SQUARES = (
    *("GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization"),
    *("RMSNormalization", "ReduceL2", "ReduceSumSquare"),
)


@dataclass(frozen=True)
class Calibration:
    """What samples were found to need of a model's precision; made by :func:`trtfast.calibrate`.

    Attributes
    ----------
    runs : int
        How many runs of the model it comes from.
    ranges : mapping from str to float
        Of each value that a node which can be quantised reads, the largest magnitude.
    beyond_fp16 : tuple of str
        Names of the nodes that need values, or sums on the way, which float16 does not hold.
    """

    runs: int
    ranges: Mapping[str, float]
    beyond_fp16: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_dict` takes, for JSON."""
        return {
            "runs": self.runs,
            "ranges": dict(self.ranges),
            "beyond_fp16": list(self.beyond_fp16),
        }

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> Calibration:
        """Return the calibration that :meth:`to_dict` told of."""
        return cls(known["runs"], dict(known["ranges"]), tuple(known["beyond_fp16"]))


def normalised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the form of a model that calibration and quantisation have in common.

    Raises
    ------
    PrecisionError
        If the model does not convert to the opset that they need.
    """
    try:
        return renewed(model, _OPSET)
    except Exception as error:
        raise PrecisionError(
            f"the model does not convert to opset {_OPSET}, which quantisation and calibration "
            f"need: {error}. Export it with that opset or a newer one, or use fp16"
        ) from error


def quantisable(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, str, str]]:
    """Give the nodes that int8 and float8 are for, with the names of their input and weight.

    They are convolutions and products with a weight that is constant. Where two activations are
    multiplied, as in attention, quantisation costs more accuracy than it is worth. So it does in
    convolutions that add up few channels, as the first one of an image's three and depthwise ones,
    which tensor cores do not speed up either.
    """
    weights = {
        name: tensor for name, tensor in constants(graph).items() if tensor.data_type == _FLOAT
    }
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.domain in ("", "ai.onnx"):
            activation, weight = node.input[:2]
            if weight not in weights or activation in weights:
                continue
            if node.op_type != "Conv" or weights[weight].dims[1] >= _CHANNELS:
                yield node, activation, weight


def measure(model: onnx.ModelProto, samples: Iterable[Mapping[str, Array]]) -> Calibration:
    """Run a float32 model on samples, and tell what its values reach.

    Parameters
    ----------
    model : onnx.ModelProto
        Not changed. Values inside the bodies of control flow are not watched: such a node counts
        as one that float16 does not hold.
    samples : iterable of mapping from input name to array
        As :func:`trtfast.samples.samples_of` gives them.

    Raises
    ------
    PrecisionError
        If float32 itself does not hold the model's values.
    """
    import numpy as np

    from ..reference import running

    model = normalised(model)
    watched = _Watched(model)
    reached: dict[str, float] = {}
    count = 0
    with running(watched.model) as engine:
        for count, sample in enumerate(samples, 1):
            for name, value in engine.infer(sample).items():
                magnitude = float(abs(np.float32(value)))
                if np.isnan(magnitude):
                    raise PrecisionError(
                        f"{watched.probes[name][1]!r} of the float32 model is NaN on sample "
                        f"{count - 1}: no precision can mend that; check the model and its input"
                    )
                reached[name] = max(reached.get(name, 0.0), magnitude)
    beyond = watched.beyond(reached)
    for node, reason in beyond.items():
        logger.info("float16 does not hold %s: %s", node, reason)
    values = watched.values(reached)
    ranges = {name: values.get(name, 0.0) for _, name, _ in quantisable(model.graph)}
    return Calibration(count, ranges, tuple(beyond))


class _Watched:
    """A model with outputs that tell the extremes of its values.

    ``probes`` has, of each such output, which kind it is and of what.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnx

        self._graph = onnx.shape_inference.infer_shapes(model).graph
        self._constants = constants(model.graph)
        self._names = value_names(model.graph)
        self.probes: dict[str, tuple[str, str]] = {}
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        del self.model.graph.output[:]
        types = {
            value.name: value.type.tensor_type
            for value in (*self._graph.input, *self._graph.value_info, *self._graph.output)
        }
        self._floats = {name for name, tensor in types.items() if tensor.elem_type == _FLOAT}
        self._ranks = {
            name: len(tensor.shape.dim)
            for name, tensor in types.items()
            if tensor.HasField("shape")
        }
        made = chain(
            (value.name for value in model.graph.input),
            chain.from_iterable(node.output for node in model.graph.node),
        )
        for name in made:  # in order, so that what is wrong is found where it begins
            if name in self._floats and name not in self._constants:
                self._probe("ReduceMax", "value", name, name)
                self._probe("ReduceMin", "value", name, name)
        for node in model.graph.node:
            self._probe_sums(node)

    def values(self, reached: Mapping[str, float]) -> dict[str, float]:
        """Return the largest magnitude of each value."""
        return self._largest("value", reached)

    def beyond(self, reached: Mapping[str, float]) -> dict[str, str]:
        """Return the nodes that float16 does not hold, each with the reason."""
        import numpy as np
        from onnx import numpy_helper

        values, sums = self.values(reached), self._largest("sum", reached)
        for name, tensor in self._constants.items():
            if tensor.data_type == _FLOAT:
                array = np.abs(numpy_helper.to_array(tensor))
                values[name] = float(array[np.isfinite(array)].max(initial=0.0))
        found: dict[str, str] = {}
        for node in self._graph.node:
            # A bias may be small: the output tells of the sum.
            biases = node.input[2:] if node.op_type in ("Conv", "ConvTranspose", "Gemm") else ()
            reasons = [
                _reason(name, values[name])
                for name in (*node.input, *node.output)
                if name in values and name not in biases
            ]
            if (total := self._total(node, sums, values)) > LARGEST:
                reasons.append(f"it adds up to as much as {total:.3g}")
            if is_control_flow(node):
                reasons.append("what happens inside it is not watched")
                inside = (name for body in bodies(node) for name in graph_node_names(body))
                found.update(dict.fromkeys(inside, reasons[-1]))
            if reason := next(filter(None, reasons), ""):
                found[node.name] = reason
        return found

    def _total(
        self, node: onnx.NodeProto, sums: Mapping[str, float], values: Mapping[str, float]
    ) -> float:
        """Return the most that a node's sums can reach on their way."""
        if node.op_type == "AveragePool":
            (kernel,) = (list(a.ints) for a in node.attribute if a.name == "kernel_shape")
            return float(prod(kernel) * values.get(node.input[0], 0.0))
        return sums.get(node.name, 0.0)

    def _largest(self, kind: str, reached: Mapping[str, float]) -> dict[str, float]:
        largest: dict[str, float] = {}
        for probe, (its_kind, subject) in self.probes.items():
            magnitude = reached.get(probe, 0.0)
            # Infinity is the same in float16, as in a mask of attention.
            if its_kind == kind and magnitude != float("inf"):
                largest[subject] = max(largest.get(subject, 0.0), magnitude)
        return largest

    def _probe_sums(self, node: onnx.NodeProto) -> None:
        """Watch what a node adds up, in any order: the sum of the magnitudes, or of the squares."""
        if node.op_type not in (*_SUMS, *_SQUARES) or node.input[0] not in self._floats:
            return
        attributes = {entry.name: entry for entry in node.attribute}
        rank = self._ranks.get(node.input[0])
        axes: list[int] | str | None
        if node.op_type.startswith("Reduce"):
            axes = node.input[1] if len(node.input) > 1 else None
        elif rank is None:
            return
        elif node.op_type in ("GlobalAveragePool", "InstanceNormalization"):
            axes = list(range(2, rank))
        else:
            axis = attributes["axis"].i if "axis" in attributes else -1
            first = axis % rank
            axes = [first] if node.op_type == "LpNormalization" else list(range(first, rank))
        if node.op_type == "GroupNormalization":  # of all groups together
            axes = list(range(1, rank or 1))
        kind = "ReduceSumSquare" if node.op_type in _SQUARES else "ReduceL1"
        total = self._add(kind, node.input[0], axes)
        self._probe("ReduceMax", "sum", total, node.name)

    def _add(self, kind: str, value: str, axes: list[int] | str | None) -> str:
        import numpy as np
        from onnx import helper, numpy_helper

        output = unique(f"{value}_{kind}", self._names)
        inputs = [value]
        if isinstance(axes, list):
            name = unique(f"{output}_axes", self._names)
            self.model.graph.initializer.append(numpy_helper.from_array(np.array(axes), name))
            inputs.append(name)
        elif axes:
            inputs.append(axes)
        self.model.graph.node.append(helper.make_node(kind, inputs, [output], keepdims=0))
        return output

    def _probe(self, kind: str, what: str, value: str, subject: str) -> None:
        from onnx import helper

        output = self._add(kind, value, None)
        self.model.graph.output.append(helper.make_tensor_value_info(output, _FLOAT, []))
        self.probes[output] = (what, subject)


def _reason(name: str, magnitude: float) -> str:
    if magnitude > LARGEST:
        return f"{name!r} reaches {magnitude:.3g}"
    if 0 < magnitude < SMALLEST:
        return f"{name!r} is {magnitude:.3g} at the most"
    return ""
