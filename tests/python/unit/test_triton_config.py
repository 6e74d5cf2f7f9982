"""What Triton is told of a model: its configuration, read back by Triton's own schema."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from tritonclient.grpc import model_config_pb2 as schema

import tiny
import trtfast
from triton_repository import (
    CLASSES,
    IMAGE,
    LOGITS,
    expected,
    files,
    plan_of,
    profiles,
    read,
)
from trtfast import triton
from trtfast.triton import config as configs


def test_all_that_is_written_of_an_engine(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    folder = triton.export(
        plan,
        tmp_path / "models",
        "classifier",
        max_batch_size=16,
        max_queue_delay=0.002,
        preferred_batch_sizes=[8, 4],
        max_queue=64,
        deadline=0.5,
        instances=3,
    )
    assert folder == tmp_path / "models" / "classifier" / "1"
    assert files(tmp_path / "models") == [
        "classifier/1/model.plan",
        "classifier/config.pbtxt",
        "classifier/labels.txt",
    ]
    assert (folder / "model.plan").read_bytes() == plan.read_bytes()
    assert (folder.parent / "labels.txt").read_text("utf-8").splitlines() == CLASSES
    warm_up = "".join(
        f'model_warmup {{ name: "zeros of {size}x3x8x8" batch_size: {size} inputs {{ key: "image" '
        "value { data_type: TYPE_FP16 dims: [3, 8, 8] zero_data: true } } }"
        for size in (1, 4, 8, 16)
    )
    assert read(folder) == expected(
        """
        name: "classifier" platform: "tensorrt_plan" backend: "tensorrt" max_batch_size: 16
        version_policy { latest { num_versions: 1 } }
        input { name: "image" data_type: TYPE_FP16 dims: [3, 8, 8] }
        output { name: "logits" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" }
        instance_group { kind: KIND_GPU count: 3 }
        dynamic_batching {
          preferred_batch_size: [4, 8] max_queue_delay_microseconds: 2000
          default_queue_policy {
            timeout_action: REJECT default_timeout_microseconds: 500000
            allow_timeout_override: true max_queue_size: 64
          }
        }
        optimization { cuda {
          graphs: true
          graph_spec { batch_size: 1 } graph_spec { batch_size: 4 }
          graph_spec { batch_size: 8 } graph_spec { batch_size: 16 }
        } }
        """
        + warm_up
    )


def test_what_is_not_said(tmp_path: Path) -> None:
    config = read(triton.export(plan_of(tmp_path, classes=None), tmp_path / "models"))
    assert config.name == "model"
    assert config.max_batch_size == 32  # the engine's largest
    assert list(config.dynamic_batching.preferred_batch_size) == []
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 1024
    assert config.dynamic_batching.default_queue_policy.default_timeout_microseconds == 0
    assert config.instance_group[0].count == 2
    assert list(config.instance_group[0].profile) == []
    assert [each.batch_size for each in config.model_warmup] == [1, 8, 32]
    assert config.output[0].label_filename == ""
    assert files(tmp_path / "models") == ["model/1/model.plan", "model/config.pbtxt"]


def test_any_number_may_wait(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    config = read(triton.export(plan, tmp_path / "models", max_queue=None, cuda_graph=False))
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 0  # no limit
    assert not config.optimization.HasField("cuda")


def test_without_batching_clients_send_whole_batches(tmp_path: Path) -> None:
    config = read(triton.export(plan_of(tmp_path), tmp_path / "models", max_batch_size=0))
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [-1, 3, 8, 8]
    assert list(config.output[0].dims) == [-1, 3]
    (warm_up,) = config.model_warmup
    assert (warm_up.batch_size, list(warm_up.inputs["image"].dims)) == (1, [8, 3, 8, 8])
    assert config.optimization.cuda.graphs
    assert len(config.optimization.cuda.graph_spec) == 0


def test_several_profiles(tmp_path: Path) -> None:
    tokens = {"name": "tokens", "dtype": "int64", "shape": [-1, -1]}
    short, long = ((1, 1), (8, 64), (16, 64)), ((1, 65), (2, 256), (4, 512))
    plan = plan_of(
        tmp_path,
        [{**tokens, "profiles": profiles(short, long)}],
        [{"name": "y", "dtype": "bfloat16", "shape": [-1, -1, 5]}],
        classes=None,
    )
    config = read(triton.export(plan, tmp_path / "models"))
    assert config.max_batch_size == 16
    assert list(config.instance_group[0].profile) == ["0", "1"]
    assert list(config.input[0].dims) == [-1]
    assert list(config.output[0].dims) == [-1, 5]
    assert config.output[0].data_type == schema.TYPE_BF16
    warmed = [(each.batch_size, *each.inputs["tokens"].dims) for each in config.model_warmup]
    assert warmed == [(1, 64), (1, 256), (2, 64), (2, 256), (8, 64), (16, 64)]
    sizes = [each.batch_size for each in config.optimization.cuda.graph_spec]
    assert sizes == [1, 2, 8, 16]


def test_buckets_are_no_range(tmp_path: Path) -> None:
    ranges = [((n, 3, 8, 8),) * 3 for n in (1, 8, 32)]
    plan = plan_of(tmp_path, [{**IMAGE, "profiles": profiles(*ranges)}])
    with pytest.raises(trtfast.InputError, match=r"1 to max_batch_size, 32.*takes batches of 1, 8"):
        triton.export(plan, tmp_path / "models")
    with pytest.raises(trtfast.InputError, match="give max_batch_size=1"):
        triton.export(plan, tmp_path / "models", max_batch_size=8)
    assert not (tmp_path / "models").exists()
    config = read(triton.export(plan, tmp_path / "models", max_batch_size=0))
    warmed = [list(each.inputs["image"].dims) for each in config.model_warmup]
    assert warmed == [[1, 3, 8, 8], [8, 3, 8, 8], [32, 3, 8, 8]]


def test_shape_tensors(tmp_path: Path) -> None:
    size = {"name": "size", "dtype": "int64", "shape": [2]}
    row = {"name": "row", "dtype": "float32", "shape": [1, 6]}
    values = profiles(((1, 6), (4, 6), (8, 6)))
    plan = plan_of(
        tmp_path,
        [row, {**size, "profiles": values}],
        [{"name": "y", "dtype": "float32", "shape": [-1, 6]}],
        classes=None,
    )
    config = read(triton.export(plan, tmp_path / "models"))
    assert [each.is_shape_tensor for each in config.input] == [False, True]
    assert config.max_batch_size == 0
    assert len(config.model_warmup) == 0  # zeros would be no shape
    assert not config.optimization.HasField("cuda")  # Triton captures none of such a model
    with pytest.raises(trtfast.InputError, match=r"first axis of \['row', 'size'\] is no batch"):
        triton.export(plan, tmp_path / "models", max_batch_size=4)


def test_a_number_for_each_row(tmp_path: Path) -> None:
    """Triton knows no tensor without dims: it has one, and gives it to the model without."""
    score = {"name": "score", "dtype": "float32", "shape": [-1]}
    plan = plan_of(
        tmp_path, [{**score, "profiles": profiles(((1,), (4,), (8,)))}], [LOGITS], classes=None
    )
    config = read(triton.export(plan, tmp_path / "models"))
    assert list(config.input[0].dims) == [1]
    assert config.input[0].HasField("reshape")
    assert list(config.input[0].reshape.shape) == []
    assert list(config.model_warmup[0].inputs["score"].dims) == [1]
    assert not config.output[0].HasField("reshape")


RANK = st.lists(st.integers(1, 9), max_size=3)


@st.composite
def batched(draw: st.DrawFn) -> tuple[list[trtfast.TensorSpec], list[trtfast.TensorSpec]]:
    count = draw(st.integers(1, 3))
    sizes = [
        sorted(draw(st.lists(st.integers(1, 40), min_size=3, max_size=3))) for _ in range(count)
    ]
    sizes[0][0] = 1

    def spec(name: str, is_input: bool) -> trtfast.TensorSpec:
        rest = tuple(draw(RANK))
        ranges = (trtfast.ShapeRange(*((n, *rest) for n in each)) for each in sizes)
        dtype = draw(st.sampled_from(["float32", "float16", "int64", "uint8", "bool"]))
        found = tuple(ranges) if is_input else ()
        return trtfast.TensorSpec(name, np.dtype(dtype), (-1, *rest), found)

    inputs = [spec(f"i{index}", True) for index in range(draw(st.integers(1, 3)))]
    return inputs, [spec("o", False)]


@given(batched(), st.lists(st.integers(1, 40), max_size=3))
def test_each_batch_up_to_the_limit_has_a_profile(
    specs: tuple[list[trtfast.TensorSpec], list[trtfast.TensorSpec]], preferred: list[int]
) -> None:
    inputs, outputs = specs
    ranges = [(each.min[0], each.max[0]) for each in inputs[0].profiles]

    def runs(size: int) -> bool:
        return any(low <= size <= high for low, high in ranges)

    largest = max(high for _, high in ranges)
    gap = next((size for size in range(1, largest) if not runs(size)), None)
    preferred = [size for size in preferred if size <= largest]
    serving = configs.Serving(None, 0, preferred, None, None, 1, True)
    if gap is not None:
        with pytest.raises(trtfast.InputError, match=rf"give max_batch_size={gap - 1}$"):
            configs.config_of("m", inputs, outputs, None, serving, is_plan=True)
        return
    made = configs.config_of("m", inputs, outputs, None, serving, is_plan=True)
    config = text_format.Parse(configs.written(made), schema.ModelConfig())
    assert config == made
    assert config.max_batch_size == largest
    for spec, entry in zip((*inputs, *outputs), (*config.input, *config.output), strict=True):
        shape = list(entry.reshape.shape) if entry.HasField("reshape") else list(entry.dims)
        assert math.prod(shape) == math.prod(entry.dims)
        assert tuple(shape) == spec.shape[1:]
    sizes = {each.batch_size for each in config.model_warmup}
    assert sizes == {each.batch_size for each in config.optimization.cuda.graph_spec}
    assert sizes >= {1, largest, *preferred, *(each.opt[0] for each in inputs[0].profiles)}
    assert max(sizes) == largest
    assert len({each.name for each in config.model_warmup}) == len(config.model_warmup)
    for each in config.model_warmup:
        assert {name: list(value.dims) for name, value in each.inputs.items()} == {
            entry.name: list(entry.dims) for entry in config.input
        }


def test_onnx_model(tmp_path: Path) -> None:
    source = tmp_path / "dense.onnx"
    onnx.save(tiny.dense(), source)
    folder = triton.export(source, tmp_path / "models", classes=["a", "b", "c", "d"])
    assert (folder / "model.onnx").read_bytes() == source.read_bytes()
    assert (folder.parent / "labels.txt").read_text() == "a\nb\nc\nd\n"
    warm_up = "".join(
        f'model_warmup {{ name: "zeros of {size}x8" batch_size: {size} inputs {{ key: "x" value '
        "{ data_type: TYPE_FP32 dims: [8] zero_data: true } } }"
        for size in (1, 32)
    )
    assert read(folder) == expected(
        """
        name: "dense" platform: "onnxruntime_onnx" backend: "onnxruntime" max_batch_size: 32
        version_policy { latest { num_versions: 1 } }
        input { name: "x" data_type: TYPE_FP32 dims: [8] }
        output { name: "y" data_type: TYPE_FP32 dims: [4] label_filename: "labels.txt" }
        instance_group { kind: KIND_CPU count: 1 }
        dynamic_batching { default_queue_policy {
          timeout_action: REJECT allow_timeout_override: true max_queue_size: 1024
        } }
        """
        + warm_up
    )


def test_onnx_model_with_dtypes_and_sizes_of_its_own(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Identity", ["x"], ["y"])]
    source = tmp_path / "text.onnx"
    text = [tiny.value(name, "n", "m", dtype=TensorProto.STRING) for name in "xy"]
    onnx.save(tiny.model_of(nodes, text[:1], text[1:]), source)
    config = read(triton.export(source, tmp_path / "models"))
    assert config.input[0].data_type == schema.TYPE_STRING
    assert list(config.input[0].dims) == [-1]
    assert len(config.model_warmup) == 0  # of what size is not known


def test_onnx_model_of_one_size(tmp_path: Path) -> None:
    source = tmp_path / "dense.onnx"
    onnx.save(tiny.dense(2, 8), source)
    config = read(triton.export(source, tmp_path / "models"))
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [2, 8]


def test_onnx_model_with_external_weights(tmp_path: Path) -> None:
    source = tmp_path / "big" / "model.onnx"
    source.parent.mkdir()
    model = tiny.dense(width=500)
    onnx.save_model(model, source, save_as_external_data=True, location="weights.bin")
    folder = triton.export(source, tmp_path / "models", "big")
    assert files(folder) == ["model.onnx", "model.onnx.data"]
    x = np.ones((2, 8), np.float32)
    (source.parent / "weights.bin").rename(tmp_path / "gone")  # it stands alone
    (y,) = onnxruntime.InferenceSession(folder / "model.onnx").run(None, {"x": x})
    (weight,) = tiny.dense(width=500).graph.initializer
    np.testing.assert_allclose(y, np.maximum(x @ onnx.numpy_helper.to_array(weight), 0), rtol=1e-5)


def test_what_is_no_onnx_model(tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    source.write_bytes(b"no model")
    with pytest.raises(trtfast.BuildError, match="cannot be read as an ONNX model"):
        triton.export(source, tmp_path / "models")
