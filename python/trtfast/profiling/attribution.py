"""Which layer computes which convolution or matrix product of the ONNX model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..inspector import InspectedLayer
    from .nodes import Node

__all__ = ["attribute", "is_product"]

# As TensorRT calls its kinds: CaskConvolution, CaskGemmMatrixMultiply, correlation, gemm, ...
_KINDS = re.compile(r"conv(?!ert)|correlation|gemm|matmul|matrixmultiply|fullyconnected", re.I)
# And kernels made for the model, by the operations in them: __myl_FcAddRelu_…, _gemm_mha_v2_…
_KERNELS = re.compile(r"__myl_\w*?(?:Fc|Conv|Gemm|MatMul|Mha)(?![a-z])|_gemm_|_mha_")
_ENDING = re.compile(r"_myl\d+_\d+$")  # of its names, to keep them apart
_MADE = ("kgen", "runtime_fusion", "myelin")


def is_product(layer: InspectedLayer) -> bool:
    """Whether TensorRT calls a layer a convolution or a matrix product."""
    if layer.kind is None:
        return False
    if layer.kind.lower() in _MADE:
        return _KERNELS.match(layer.name) is not None
    return _KINDS.search(layer.kind) is not None


def attribute(
    layers: Sequence[InspectedLayer], nodes: Mapping[str, Node] | None
) -> list[int | None]:
    """Return how many operations each layer computes.

    Layers name the ONNX nodes that they were made of, and one that only casts or pads for a
    convolution, or adds its bias, names it too. So each convolution and product counts in one
    layer: of those that name it, the one that TensorRT calls a convolution or product; of several
    such, the one that bears the node's name, else the first. Where there is none such, in the only
    one that names it.

    Parameters
    ----------
    layers : sequence of InspectedLayer
        That ran.
    nodes : mapping from name to Node, optional

    Returns
    -------
    list of int or None
        0 for a layer that computes none; None where it is not known.
    """
    if nodes is None:
        return [None] * len(layers)
    naming: dict[str, list[int]] = {}
    for index, layer in enumerate(layers):
        for name in layer.nodes:
            naming.setdefault(name, []).append(index)
    flops: list[int | None] = [0] * len(layers)
    homeless = False
    for name, node in nodes.items():
        if node.flops == 0:
            continue
        owner = _owner(name, naming.get(name, []), layers)
        if owner is None:
            homeless = True
            for index in naming.get(name, []):
                flops[index] = None
        elif node.flops is None or flops[owner] is None:
            flops[owner] = None
        else:
            flops[owner] = (flops[owner] or 0) + node.flops
    if homeless:  # in some layer that names no node, or is called a product and has none
        for index, layer in enumerate(layers):
            names_none = nodes.keys().isdisjoint(layer.nodes)
            if flops[index] == 0 and (names_none or is_product(layer)):
                flops[index] = None
    return flops


def _owner(name: str, candidates: Sequence[int], layers: Sequence[InspectedLayer]) -> int | None:
    products = [index for index in candidates if is_product(layers[index])]
    if products:
        bearing = (index for index in products if _bears(layers[index].name, name))
        return next(bearing, products[0])
    return candidates[0] if len(candidates) == 1 else None


def _bears(layer: str, node: str) -> bool:
    """Whether a node's name is in that of a layer, and not as the beginning of another's."""
    return re.search(rf"(?<![\w./]){re.escape(node)}(?![\w./])", _ENDING.sub("", layer)) is not None
