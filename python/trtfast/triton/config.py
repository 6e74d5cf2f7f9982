"""What ``config.pbtxt`` tells Triton of a model, by Triton's own protobuf schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import Error, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from ..spec import Shape, TensorSpec

__all__ = ["LABELS", "Serving", "config_of", "parsed", "written"]

LABELS = "labels.txt"

# What Triton's backends know. TensorRT's has no other types that an engine may take or give.
_TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "bfloat16": "TYPE_BF16",
    "float32": "TYPE_FP32",
}
_TYPES_OF_ONNX = _TYPES | {
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int16": "TYPE_INT16",
    "float64": "TYPE_FP64",
    "object": "TYPE_STRING",
}

_LARGEST_OF_ONNX = 32  # as of an engine that is built without shapes
_AGES = 1e9  # seconds


@dataclass(frozen=True)
class Serving:
    """How Triton is to run a model: the options of :func:`trtfast.triton.export`.

    Raises
    ------
    InputError
        If one is out of its range.
    """

    max_batch_size: int | None
    max_queue_delay: float
    preferred_batch_sizes: Sequence[int]
    max_queue: int | None
    deadline: float | None
    instances: int
    cuda_graph: bool

    def __post_init__(self) -> None:
        for name, least, what in (
            ("max_batch_size", 0, "0 or more, or None"),
            ("max_queue", 1, "1 or more, or None for any number"),
            ("instances", 1, "1 or more"),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value < 2**31:
                raise InputError(f"{name} is {value}: give {what}")
        if not 0 <= self.max_queue_delay < _AGES:
            raise InputError(f"max_queue_delay is {self.max_queue_delay}: give 0 seconds or more")
        if self.deadline is not None and not 0 < self.deadline < _AGES:
            raise InputError(f"deadline is {self.deadline}: give more than 0 seconds, or None")


def config_of(
    name: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    classes: Sequence[str] | None,
    serving: Serving,
    *,
    is_plan: bool,
) -> ModelConfig:
    """Make the configuration of a model.

    Parameters
    ----------
    name : str
    inputs, outputs : sequence of TensorSpec
        With their profiles, where it is a plan.
    classes : sequence of str, optional
        Names of an output's last axis.
    serving : Serving
        Its ``max_batch_size`` is set here where it is None.
    is_plan : bool
        Else it is an ONNX model.

    Raises
    ------
    Error
        If Triton's client is not installed.
    InputError
        If Triton has no such dtype, or cannot batch the model so.
    """
    schema = _schema()
    limit = _batch_limit(inputs, outputs, serving.max_batch_size, is_plan=is_plan)
    _check_preferred(serving.preferred_batch_sizes, limit)
    config: ModelConfig = schema.ModelConfig(
        name=name,
        platform="tensorrt_plan" if is_plan else "onnxruntime_onnx",
        backend="tensorrt" if is_plan else "onnxruntime",
        max_batch_size=limit,
    )
    config.version_policy.latest.num_versions = 1
    types = _TYPES if is_plan else _TYPES_OF_ONNX
    for spec in inputs:
        entry = config.input.add()
        _describe(entry, spec, limit, types)
        entry.is_shape_tensor = _is_shape_tensor(spec)
    for spec in outputs:
        entry = config.output.add()
        _describe(entry, spec, limit, types)
        if classes and spec.shape and spec.shape[-1] == len(classes):
            entry.label_filename = LABELS

    group = config.instance_group.add(count=serving.instances)
    group.kind = group.KIND_GPU if is_plan else group.KIND_CPU
    if (profiles := _count_profiles(inputs)) > 1:  # Triton would use the first alone
        group.profile.extend(map(str, range(profiles)))
    if limit:
        _batch(config.dynamic_batching, serving)

    calls = list(_calls(inputs, limit, serving.preferred_batch_sizes))
    for size, shapes in calls:
        _warm_up(config, types, inputs, size, shapes)
    if is_plan and serving.cuda_graph and not any(map(_is_shape_tensor, inputs)):
        config.optimization.cuda.graphs = True
        # Without shapes, each profile's graph is of those that it is fastest at.
        for size in sorted({size for size, _ in calls}) if limit else ():
            config.optimization.cuda.graph_spec.add(batch_size=size)
    return config


def written(config: ModelConfig) -> str:
    """Return a configuration as ``config.pbtxt`` has it."""
    from google.protobuf import text_format

    text: str = text_format.MessageToString(config, as_utf8=True)
    return text


def parsed(text: str, name: str) -> ModelConfig:
    """Read ``config.pbtxt``.

    Parameters
    ----------
    text : str
    name : str
        What messages call it.

    Raises
    ------
    InputError
        If it is damaged.
    """
    from google.protobuf import text_format

    config: ModelConfig = _schema().ModelConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise InputError(
            f"{name} is no configuration of Triton's ({error}): repair it, or choose another name"
        ) from error
    return config


def _schema() -> Any:
    try:
        from tritonclient.grpc import model_config_pb2
    except ImportError as error:
        raise Error('Triton\'s schema is not installed: pip install "trtfast[triton]"') from error
    return model_config_pb2


def _is_shape_tensor(spec: TensorSpec) -> bool:
    """Whether it is an input whose values have profiles, and not its sizes."""
    return bool(spec.profiles) and -1 not in spec.shape


def _count_profiles(inputs: Sequence[TensorSpec]) -> int:
    return max((len(spec.profiles) for spec in inputs), default=0)


def _batches(inputs: Sequence[TensorSpec]) -> list[tuple[int, int]]:
    """Return the least and the most rows that each profile takes."""
    dynamic = [spec.profiles for spec in inputs if -1 in spec.shape]
    return [
        (max(each.min[0] for each in ranges), min(each.max[0] for each in ranges))
        for ranges in zip(*dynamic, strict=True)
    ]


def _batch_limit(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    asked: int | None,
    *,
    is_plan: bool,
) -> int:
    """Return the largest batch that Triton may make: all up to it have to run, for it pads none."""
    unbatched = [spec.name for spec in (*inputs, *outputs) if spec.shape[:1] != (-1,)]
    if unbatched:
        if asked:
            raise InputError(
                f"max_batch_size is {asked}, but the first axis of {unbatched} is no batch: give "
                "max_batch_size=0, or build the model with a dynamic batch"
            )
        return 0
    if not is_plan:
        return _LARGEST_OF_ONNX if asked is None else asked
    if asked == 0:
        return 0
    ranges = sorted(_batches(inputs))
    limit = 0
    for low, high in ranges:
        if low <= limit + 1:
            limit = max(limit, high)
    largest = max(high for _, high in ranges)
    if asked is not None and asked <= limit:
        return asked
    if asked is None and limit == largest:
        return limit
    runs = ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in ranges)
    wanted = largest if asked is None else asked
    raise InputError(
        f"Triton makes batches of each size from 1 to max_batch_size, {wanted}, and this engine "
        f"takes batches of {runs}: build it with a profile from 1 row to {wanted}, as by "
        f"`trtfast build` without --batch, or give max_batch_size={limit}"
        + (", which leaves batches to the clients" if limit == 0 else "")
    )


def _check_preferred(sizes: Sequence[int], limit: int) -> None:
    if wrong := [size for size in sizes if not 1 <= size <= limit]:
        raise InputError(
            f"preferred_batch_sizes has {wrong}: give sizes from 1 to max_batch_size, {limit}"
            if limit
            else "preferred_batch_sizes needs a model that Triton batches, with max_batch_size > 0"
        )


def _describe(entry: Any, spec: TensorSpec, limit: int, types: dict[str, str]) -> None:
    """Set the name, the dtype and the dims of an input or output; the batch is no part of them."""
    if spec.dtype.name not in types:
        raise InputError(
            f"{spec.name!r} is of {spec.dtype.name}, which Triton has no type for: build the model "
            f"so that it takes and gives one of {', '.join(types)}"
        )
    entry.name = spec.name
    entry.data_type = _schema().DataType.Value(types[spec.dtype.name])
    dims = spec.shape[1:] if limit else spec.shape
    entry.dims.extend(dims or (1,))  # Triton knows no tensor without dims,
    if not dims:
        entry.reshape.SetInParent()  # but gives it to the model so


def _batch(policy: Any, serving: Serving) -> None:
    policy.preferred_batch_size.extend(sorted(set(serving.preferred_batch_sizes)))
    policy.max_queue_delay_microseconds = _microseconds(serving.max_queue_delay)
    queue = policy.default_queue_policy
    queue.timeout_action = queue.REJECT
    queue.allow_timeout_override = True
    queue.max_queue_size = serving.max_queue or 0
    if serving.deadline is not None:
        queue.default_timeout_microseconds = max(1, _microseconds(serving.deadline))


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _calls(
    inputs: Sequence[TensorSpec], limit: int, preferred: Sequence[int]
) -> Iterator[tuple[int, dict[str, Shape]]]:
    """Give the calls to make ready for: of each size, with the best shapes of each profile.

    The sizes are 1, those that the profiles are fastest at, those preferred, and the largest; 0,
    and the shapes whole, where Triton makes no batches. None where shapes are not known, or the
    model takes shape tensors, whose values would have to be known.
    """
    if any(map(_is_shape_tensor, inputs)):
        return
    dynamic = [spec for spec in inputs if spec.profiles]
    best = [
        {spec.name: spec.profiles[index].opt for spec in dynamic}
        for index in range(_count_profiles(inputs))
    ] or [{}]
    given: set[tuple[int, tuple[Shape, ...]]] = set()
    fastest = {shape[0] for each in best for shape in each.values()}
    sizes = sorted({1, limit, *preferred, *fastest}) if limit else [0]
    ranges = _batches(inputs) if dynamic and limit else []
    for size in sizes:
        for index, each in enumerate(best):
            shapes = {spec.name: each.get(spec.name, spec.shape) for spec in inputs}
            if limit:
                shapes = {name: shape[1:] for name, shape in shapes.items()}
            is_in = not ranges or ranges[index][0] <= size <= ranges[index][1]
            is_known = all(-1 not in shape for shape in shapes.values())
            key = (size, tuple(shapes.values()))
            if is_in and is_known and size <= limit and key not in given:
                given.add(key)
                yield size, shapes


def _warm_up(
    config: ModelConfig,
    types: dict[str, str],
    inputs: Sequence[TensorSpec],
    size: int,
    shapes: dict[str, Shape],
) -> None:
    """Add a call with zeros, which Triton makes before it says that the model is ready."""
    told = ", ".join("x".join(map(str, (*([size] if size else []), *s))) for s in shapes.values())
    # Triton skips what has batch size 0, and does not count it where it makes no batches.
    warm_up = config.model_warmup.add(name=f"zeros of {told}", batch_size=size or 1)
    for spec in inputs:
        entry = warm_up.inputs[spec.name]
        entry.data_type = _schema().DataType.Value(types[spec.dtype.name])
        entry.dims.extend(shapes[spec.name] or (1,))
        entry.zero_data = True
