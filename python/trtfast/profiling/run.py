"""Where the time of an engine goes, layer by layer."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from .. import backend as backends
from .. import inspector, model, rebuild
from ..binding import arrange
from ..engine import Engine
from ..errors import BuildError, InputError
from ..inspector import BITS, InspectedLayer
from ..reference import ReferenceEngine
from .attribution import attribute, is_product
from .inputs import arrays_of
from .nodes import nodes_of, total
from .report import LayerProfile, ProfileReport
from .roofline import Roof
from .shapes import best_shapes, profile_of, with_shapes

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import onnx

    from ..report import LayerTime
    from .nodes import Node

__all__ = ["profile", "summarised"]


def profile(
    engine: Engine | ReferenceEngine,
    inputs: Any = None,
    *,
    runs: int = 10,
    onnx: str | os.PathLike[str] | onnx.ModelProto | None = None,
) -> ProfileReport:
    """Time each layer of an engine, and tell what it computes, moves and could reach.

    Times are measured. Bytes follow from the engine's inspector, operations from the ONNX model,
    and both from the shapes that ran; peaks from the GPU's clocks and widths. What cannot be known
    is None.

    Parameters
    ----------
    engine : Engine or ReferenceEngine
        Of the latter each ONNX node is a layer, and there is no roof.
    inputs : array, sequence of arrays, or mapping from name to array, optional
        As ``infer`` takes them; by default made up, of the best shapes of the first profile.
    runs : int
        How many runs the times are the mean of, 1 or more; one before them is not counted.
    onnx : path or onnx.ModelProto, optional
        The model that the engine was built from, for the operations; by default the file beside
        the plan, with the ending ``.onnx``, if its hash is the passport's.

    Returns
    -------
    ProfileReport

    Raises
    ------
    InputError
        If inputs are wrong, have to be given, or the engine was not built from this model.
    BuildError
        If ``onnx`` cannot be read.
    ClosedError, OutOfMemoryError, CudaError, Error
        As the engine's own ``profile`` does.
    """
    if not isinstance(engine, (Engine, ReferenceEngine)):
        raise InputError(
            f"engine is {type(engine).__name__}; expected a trtfast.Engine or ReferenceEngine, "
            "which tell of their layers"
        )
    source = _source(engine, onnx)
    inputs = arrays_of(engine.inputs) if inputs is None else inputs
    times = engine.profile(inputs, runs=runs)
    shapes = {
        name: tuple(int(size) for size in array.shape)
        for name, array in arrange(inputs, engine.inputs).items()
    }
    nodes = None if source is None else nodes_of(source, shapes)
    if isinstance(engine, ReferenceEngine):
        layers = _written(times, nodes or {}, source)
        return summarised(layers, times, nodes, engine="ReferenceEngine", inputs=shapes, runs=runs)
    known = {layer.name: layer for layer in inspector.layers(engine.inspect())}
    ran = [known.get(time.name, InspectedLayer(time.name)) for time in times]
    best = best_shapes(engine.inputs, profile_of(ran))
    gpu = backends.require_gpu(engine.device)
    tf32 = engine.passport.precision.get("tf32") if engine.passport is not None else None
    return summarised(
        with_shapes(ran, best, shapes, source),
        times,
        nodes,
        engine=engine.tensorrt,
        gpu=gpu.name,
        inputs=shapes,
        runs=runs,
        roof=Roof.of(gpu, tf32=tf32),
    )


def summarised(
    layers: Sequence[InspectedLayer],
    times: Sequence[LayerTime],
    nodes: Mapping[str, Node] | None,
    *,
    engine: str,
    inputs: dict[str, tuple[int, ...]],
    runs: int,
    gpu: str | None = None,
    roof: Roof | None = None,
) -> ProfileReport:
    """Put together what is known of the layers that ran.

    Parameters
    ----------
    layers : sequence of InspectedLayer
        With the shapes that ran, in the order of ``times``.
    times : sequence of LayerTime
    nodes : mapping from name to Node, optional
        Those of the ONNX model, if it is known.
    engine, inputs, runs, gpu, roof
        As of :class:`ProfileReport`.
    """
    whole = sum(time.milliseconds for time in times)
    found = []
    for layer, time, flops in zip(layers, times, attribute(layers, nodes), strict=True):
        dtype = _computed_in(layer, flops)
        found.append(
            LayerProfile(
                name=layer.name,
                nodes=layer.nodes,
                kind=layer.kind,
                dtype=dtype,
                shapes=tuple(tensor.shape for tensor in layer.outputs),
                milliseconds=time.milliseconds,
                share=time.milliseconds / whole if whole else 0.0,
                bytes=layer.nbytes,
                flops=flops,
                position=roof.position(time.milliseconds, layer.nbytes, flops, dtype)
                if roof is not None
                else None,
            )
        )
    flops = None if nodes is None else total(nodes.values())
    return ProfileReport(engine, gpu, inputs, runs, tuple(found), flops, roof)


def _computed_in(layer: InspectedLayer, flops: int | None) -> str | None:
    """Return a layer's dtype: of a product the narrowest it takes, as it may sum up in a wider."""
    # A mask is no factor.
    taken = [tensor.dtype for tensor in layer.inputs if tensor.dtype in BITS.keys() - {"bool"}]
    if taken and (flops or is_product(layer)):
        return min(taken, key=lambda dtype: BITS[dtype])
    return layer.dtype or None


def _source(
    engine: Engine | ReferenceEngine, given: str | os.PathLike[str] | onnx.ModelProto | None
) -> onnx.ModelProto | None:
    """Return the model that an engine was built from, if it is given or beside the plan."""
    if given is None and importlib.util.find_spec("onnx") is None:
        return None
    if isinstance(engine, ReferenceEngine):
        if given is not None:
            raise InputError("a reference engine has its own model: leave onnx= out")
        if isinstance(engine.source, bytes):
            from onnx import load_model_from_string

            return load_model_from_string(engine.source)
        return model.read(engine.source)[0]  # type: ignore[arg-type]
    if given is None:
        return _beside(engine)
    source, path = model.read(given)
    name = "this model" if path is None else str(path)
    if engine.passport is not None and not rebuild.is_source(source, engine.passport):
        raise InputError(
            f"{name} is not the model that the engine was built from, whose hash its passport has: "
            "give that one, or leave onnx= out to profile without operations"
        )
    wanted = [spec.name for spec in engine.inputs]
    if (names := [spec.name for spec in model.specs(source)[0]]) != wanted:
        raise InputError(
            f"{name} is not the model that the engine was built from: it takes {names}, and the "
            f"engine {wanted}"
        )
    return source


def _beside(engine: Engine) -> onnx.ModelProto | None:
    if engine.path is None or engine.passport is None:
        return None
    path = rebuild.beside(engine.path)
    if not path.is_file():
        return None
    try:
        source, _ = model.read(path)
    except BuildError:  # nobody named it
        return None
    return source if rebuild.is_source(source, engine.passport) else None


def _written(
    times: Sequence[LayerTime], nodes: Mapping[str, Node], source: onnx.ModelProto | None
) -> list[InspectedLayer]:
    """Return the nodes that ONNX Runtime timed as layers."""
    # What it calls nodes without a name; here they have that of their first output.
    names = {
        f"{node.op_type}_{index}": next(iter(node.output), "")
        for index, node in enumerate(source.graph.node if source is not None else ())
        if not node.name
    }
    return [_as_layer(time.name, nodes.get(names.get(time.name, time.name))) for time in times]


def _as_layer(name: str, node: Node | None) -> InspectedLayer:
    if node is None:
        return InspectedLayer(name)
    return InspectedLayer(
        name=name,
        kind=node.kind,
        inputs=tuple(tensor for tensor in node.inputs if tensor.name not in node.constants),
        constants=tuple(tensor for tensor in node.inputs if tensor.name in node.constants),
        outputs=node.outputs,
        nodes=(node.name,),
    )
