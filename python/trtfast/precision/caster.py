"""Cast a float32 ONNX model to float16 or bfloat16.

This pass walks the nodes in order, asks ONNX's operator schemas which take half precision, and
casts where two precisions meet.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from .._onnx import (
    bodies,
    constant_value,
    describe,
    is_control_flow,
    node_names,
    schema_of,
    skeleton,
    type_parameter,
    typed_skeleton,
    used_names,
    value_names,
)
from ..errors import PrecisionError
from .constants import BFLOAT16, FLOAT, FLOAT16, SUFFIX, constant_in

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import TypeAlias

    import onnx

    _Types: TypeAlias = dict[str, onnx.TypeProto]

__all__ = ["cast"]

logger = logging.getLogger("trtfast")

_PRECISIONS = ("fp32", "fp16", "bf16")

_SCHEMA_NAME = {FLOAT16: "tensor(float16)", BFLOAT16: "tensor(bfloat16)"}
# Convolution, pooling and recurrence take bfloat16 since this opset.
_BFLOAT16_OPSET = 22

# Where a schema promises more than is so: operators that read a value's bits or fix an output's
# type, and those that TensorRT's ONNX parser cannot take in half precision, or in bfloat16.
_FLOAT_ONLY = ("BitCast", "Celu", "LinearAttention", "MeanVarianceNormalization")
_FLOAT_RATHER_THAN_BFLOAT16 = (
    *("GRU", "HardSwish", "LpNormalization", "LpPool", "Mish"),
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
)
_SHAPE_OF = ("Shape", "Size")
# The attribute that sets the type of an output which no input sets.
_TYPE_ATTRIBUTES = {
    "Bernoulli": "dtype",
    "Cast": "to",
    "DequantizeLinear": "output_dtype",
    "EyeLike": "dtype",
    "RandomNormal": "dtype",
    "RandomNormalLike": "dtype",
    "RandomUniform": "dtype",
    "RandomUniformLike": "dtype",
}


def cast(
    model: onnx.ModelProto,
    precision: str,
    *,
    keep_io: bool = True,
    keep_fp32: Collection[str] = (),
) -> onnx.ModelProto:
    """Cast a model's float32 weights and activations to half precision, for strong typing.

    These stay in float32, with Casts around them: nodes named in ``keep_fp32``; operators that ONNX
    or TensorRT's parser has in float32 only (``Range``, ``NonMaxSuppression``; in bfloat16 also
    ``HardSwish`` and ``GRU``) or that ONNX does not define (plugins); and arithmetic on shapes,
    where float16 would not hold a size above 2048 exactly. The logger ``trtfast`` lists them.
    Tensors of other types are left as they are, and values too small for the new type become zero.
    A constant of nothing but zeros and float32's lowest or largest value, as masks are made of,
    gets the lowest or largest value of the new type.

    Parameters
    ----------
    model : onnx.ModelProto
        Not changed. Its external weights must have been loaded, as ``onnx.load`` does.
    precision : {"fp32", "fp16", "bf16"}
        ``"fp32"`` gives ``model`` back.
    keep_io : bool
        Whether float32 graph inputs and outputs stay float32.
    keep_fp32 : collection of str
        Names of nodes to leave in float32; of control flow, what goes in and out.

    Returns
    -------
    onnx.ModelProto
        For ``"bf16"``, converted to opset 22 where it was older.

    Raises
    ------
    PrecisionError
        If the precision is not supported, a name in ``keep_fp32`` is no node's, a weight lies
        beyond the range of the new type, or the graph's types cannot be determined.
    """
    if precision not in _PRECISIONS:
        raise PrecisionError(
            f"a cast to {precision!r} is unknown; use one of {', '.join(_PRECISIONS)}"
        )
    if unmatched := sorted(set(keep_fp32) - node_names(model)):
        raise PrecisionError(
            f"keep_fp32 names {', '.join(map(repr, unmatched))}, which the model has no node for; "
            "list the names with [node.name for node in model.graph.node]"
        )
    if precision == "fp32":
        return model
    half = FLOAT16 if precision == "fp16" else BFLOAT16

    import onnx

    try:
        typed = typed_skeleton(model, _BFLOAT16_OPSET if half == BFLOAT16 else 0)
    except Exception as error:
        raise PrecisionError(
            f"the types of the model's values cannot be determined: {error}. bf16 also needs opset "
            f"{_BFLOAT16_OPSET}, to which the model may not convert: export it so, or use fp16"
        ) from error
    caster = _Caster(
        half=half,
        keep=frozenset(keep_fp32),
        opsets={entry.domain: entry.version for entry in typed.opset_import},
        weights={tensor.name: tensor for tensor in model.graph.initializer},
        names=value_names(typed.graph),
        used=used_names(typed.graph),
    )
    result = onnx.ModelProto()
    result.CopyFrom(typed)
    result.graph.Clear()
    caster.rewrite(typed.graph, result.graph, FLOAT if keep_io else half, None)
    # Until version 4 every initialiser had to be a graph input as well.
    result.ir_version = max(typed.ir_version, 4)
    try:
        onnx.shape_inference.infer_shapes(skeleton(result), check_type=True)
    except onnx.shape_inference.InferenceError as error:
        raise PrecisionError(f"the model cannot be cast to {precision}: {error}") from error
    if caster.left:
        logger.info("left in float32 by the cast to %s: %s", precision, ", ".join(caster.left))
    return result


@dataclass
class _Scope:
    """One graph while it is rewritten: the main graph, or the body of a control flow operator."""

    graph: onnx.GraphProto
    boundary: int  # the element type of the graph's float32 inputs and outputs, after the cast
    parent: _Scope | None
    outputs: frozenset[str]
    # Of each float32 value of the old graph, its names in the new one, by element type.
    forms: dict[str, dict[int, str]] = field(default_factory=dict)
    weights: dict[str, onnx.TensorProto] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)  # values that come from shapes alone

    def owner(self, name: str) -> _Scope | None:
        """Return the scope that defines a float32 value of the old graph, if it is one."""
        scope: _Scope | None = self
        while scope is not None and name not in scope.forms:
            scope = scope.parent
        return scope


@dataclass
class _Caster:
    half: int
    keep: frozenset[str]
    opsets: dict[str, int]
    weights: dict[str, onnx.TensorProto]  # of the main graph, with their values
    names: set[str]  # of all values, old and new
    used: set[str]  # of the old values that something reads
    left: list[str] = field(default_factory=list)

    def rewrite(
        self, old: onnx.GraphProto, new: onnx.GraphProto, boundary: int, parent: _Scope | None
    ) -> None:
        """Fill ``new``, which is empty, with ``old`` and the graphs inside it, cast."""
        new.name, new.doc_string = old.name, old.doc_string
        new.quantization_annotation.extend(old.quantization_annotation)
        new.sparse_initializer.extend(old.sparse_initializer)
        scope = _Scope(new, boundary, parent, frozenset(value.name for value in old.output))
        if parent is not None:
            scope.constants |= parent.constants
            scope.shapes |= parent.shapes
        types = {value.name: value.type for value in chain(old.input, old.output, old.value_info)}

        for tensor in old.initializer:
            source = self.weights.get(tensor.name, tensor) if parent is None else tensor
            self._constant(source, scope)
        for value in old.input:
            if value.name in scope.constants:
                continue
            new.input.append(value)
            if value.type.tensor_type.elem_type == FLOAT:
                new.input[-1].type.tensor_type.elem_type = boundary
                scope.forms[value.name] = {boundary: value.name}
        for node in old.node:
            self._node(node, scope, types)
        for value in old.output:
            new.output.append(value)
            if value.name in scope.forms:
                self._get(value.name, boundary, scope, "the graph's outputs")
                new.output[-1].type.tensor_type.elem_type = boundary
        for value in old.value_info:
            element = value.type.tensor_type.elem_type
            forms = scope.forms.get(value.name, {element: value.name})
            for form in (form for form, name in forms.items() if name == value.name):
                new.value_info.append(value)
                if form != element:
                    new.value_info[-1].type.tensor_type.elem_type = form

    def _node(self, old: onnx.NodeProto, scope: _Scope, types: _Types) -> None:
        import onnx

        constant = constant_value(old)
        if constant is not None:
            self._constant(constant, scope)
            return
        for name in old.output:
            if name in self.used and name not in types:
                raise PrecisionError(
                    f"the type of {name!r}, an output of {describe(old)}, is unknown; add it to "
                    "the model's value_info"
                )

        node = onnx.NodeProto()
        node.CopyFrom(old)
        schema = schema_of(old, self.opsets)
        takes_half = self._takes_half(old, schema, scope, types)
        # The new element type of each type parameter of the schema that a float32 input sets.
        bound: dict[str, int] = {}
        for i, name in enumerate(old.input):
            if scope.owner(name) is None:
                continue
            parameter = type_parameter(schema.inputs, i) if schema else ""
            bound[parameter] = self.half if parameter in takes_half else FLOAT
            node.input[i] = self._get(name, bound[parameter], scope, describe(old))
        boundary = self.half if is_control_flow(old) and takes_half else FLOAT
        for old_body, body in zip(bodies(old), bodies(node), strict=True):
            body.Clear()
            self.rewrite(old_body, body, boundary, scope)
        for i, name in enumerate(old.output):
            if name not in types or types[name].tensor_type.elem_type != FLOAT:
                continue
            parameter = type_parameter(schema.outputs, i) if schema else ""
            element = bound.get(parameter, FLOAT)
            if parameter in takes_half - bound.keys() and (
                is_control_flow(old) or self._set_type(node)
            ):
                element = self.half
            node.output[i] = self._place(name, element, scope)
            scope.forms[name] = {element: node.output[i]}
        if FLOAT in bound.values() and old.name not in self.keep:
            self.left.append(describe(old))
        scope.graph.node.append(node)

    def _takes_half(
        self, node: onnx.NodeProto, schema: onnx.defs.OpSchema | None, scope: _Scope, types: _Types
    ) -> set[str]:
        """Return the type parameters of the node's schema that are to be half precision."""
        if _from_shape(node, scope, types):
            scope.shapes.update(node.output)
            if node.op_type not in _SHAPE_OF:
                return set()
        if (
            schema is None
            or node.name in self.keep
            or node.op_type in _FLOAT_ONLY
            or (self.half == BFLOAT16 and node.op_type in _FLOAT_RATHER_THAN_BFLOAT16)
            # Sequences and optionals keep their type, and so does what meets them.
            or any(
                not types[name].HasField("tensor_type")
                for name in chain(node.input, node.output)
                if name in types
            )
        ):
            return set()
        return {
            constraint.type_param_str
            for constraint in schema.type_constraints
            if _SCHEMA_NAME[self.half] in constraint.allowed_type_strs
        }

    def _set_type(self, node: onnx.NodeProto) -> bool:
        """Set the attribute that gives the node's output its type, where the operator has one."""
        import onnx

        value: int | onnx.TensorProto = self.half
        if node.op_type == "ConstantOfShape":
            name = "value"
            zero = onnx.helper.make_tensor(name, FLOAT, [1], [0.0])
            fill = next((attribute.t for attribute in node.attribute), zero)
            value = constant_in(self.half, fill, name, describe(node))
        elif node.op_type in _TYPE_ATTRIBUTES:
            name = _TYPE_ATTRIBUTES[node.op_type]
        else:
            return False
        others = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend([*others, onnx.helper.make_attribute(name, value)])
        return True

    def _constant(self, tensor: onnx.TensorProto, scope: _Scope) -> None:
        scope.constants.add(tensor.name)
        if tensor.data_type == FLOAT:
            scope.weights[tensor.name] = tensor
            scope.forms[tensor.name] = {}
        else:
            scope.graph.initializer.append(tensor)

    def _get(self, name: str, element: int, scope: _Scope, consumer: str) -> str:
        """Return the new name of a float32 value in an element type; cast it if need be."""
        import onnx

        owner = scope.owner(name)
        assert owner is not None
        forms = owner.forms[name]
        if element not in forms:
            target = self._place(name, element, owner)
            if name in owner.weights:
                tensor = constant_in(element, owner.weights[name], target, consumer)
                owner.graph.initializer.append(tensor)
            else:
                source = next(iter(forms.values()))
                owner.graph.node.append(
                    onnx.helper.make_node(
                        "Cast", [source], [target], name=f"{target}_cast", to=element
                    )
                )
            forms[element] = target
        return forms[element]

    def _place(self, name: str, element: int, scope: _Scope) -> str:
        """Choose the new name of a value: its old one, unless that is or must be another type's."""
        taken = name in scope.forms.get(name, {}).values()
        reserved = name in scope.outputs and element != scope.boundary
        if not taken and not reserved:
            return name
        new = f"{name}_{SUFFIX[element]}"
        while new in self.names:
            new += "_"
        self.names.add(new)
        return new


def _from_shape(node: onnx.NodeProto, scope: _Scope, types: dict[str, onnx.TypeProto]) -> bool:
    """Tell whether the node only computes with shapes, such as the half of a height.

    A node that fills a shape with a value, such as ConstantOfShape, computes with the value.
    """
    if node.op_type in _SHAPE_OF:
        return True
    if is_control_flow(node):
        return False
    inputs = [name for name in node.input if name]
    floats = [name for name in inputs if scope.owner(name) is not None]
    gives_float = any(
        types[name].tensor_type.elem_type == FLOAT for name in node.output if name in types
    )
    if gives_float and not floats and node.op_type != "Cast":
        return False
    relevant = set(floats or inputs)
    return not relevant.isdisjoint(scope.shapes) and relevant <= scope.shapes | scope.constants
