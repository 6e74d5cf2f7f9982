"""Repositories for Triton, read back by Triton's own schema.

No TensorRT but TensorRT-RTX builds here without a GPU, so the plans of TensorRT are a header, bytes
and a passport: nothing else is read of them.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from tritonclient.grpc import model_config_pb2 as schema

import plans
import tiny
import trtfast
from command import Command
from trtfast import passport, triton
from trtfast.passport import Passport
from trtfast.triton import config as configs

CLASSES = ["espresso", "Würstchen", "cup"]
IMAGE = {"name": "image", "dtype": "float16", "shape": [-1, 3, 8, 8]}
LOGITS = {"name": "logits", "dtype": "float32", "shape": [-1, 3]}
BATCHES = ((1, 3, 8, 8), (8, 3, 8, 8), (32, 3, 8, 8))


def profiles(*ranges: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    return [dict(zip(("min", "opt", "max"), map(list, each), strict=True)) for each in ranges]


def plan_of(
    folder: Path,
    inputs: Sequence[dict[str, Any]] = ({**IMAGE, "profiles": profiles(BATCHES)},),
    outputs: Sequence[dict[str, Any]] = (LOGITS,),
    *,
    classes: list[str] | None = CLASSES,
    tag: bytes = b"ftrt",
    product: str = "TensorRT",
) -> Path:
    path = folder / "model.engine"
    data = tag + bytes(20) + bytes([10, 13, 3, 9]) + bytes(range(200))
    path.write_bytes(data)
    Passport(
        plan_sha256=passport.sha256(data),
        onnx_sha256=passport.sha256(b"onnx"),
        product=product,
        version="10.13.3.9",
        generation="trt10",
        trtfast="0.1.0",
        gpu="NVIDIA L4",
        compute_capability=89,
        options={},
        inputs=list(inputs),
        outputs=list(outputs),
        precision={},
        classes=classes,
    ).write(path)
    return path


def read(folder: Path) -> Any:
    """The configuration of the model whose version lies in a folder."""
    text = (folder.parent / "config.pbtxt").read_text("utf-8")
    return text_format.Parse(text, schema.ModelConfig())


def expected(text: str) -> Any:
    return text_format.Parse(text, schema.ModelConfig())


def files(folder: Path) -> list[str]:
    found = folder.rglob("*")
    return sorted(str(path.relative_to(folder)) for path in found if path.is_file())


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


def test_versions(tmp_path: Path) -> None:
    plan, models = plan_of(tmp_path), tmp_path / "models"
    assert triton.export(plan, models).name == "1"
    data = plan.read_bytes() + b"more"
    plan.write_bytes(data)
    known = Passport.of(plan)
    assert known is not None
    dataclasses.replace(known, plan_sha256=passport.sha256(data), classes=CLASSES[::-1]).write(plan)
    second = triton.export(plan, models, max_batch_size=4)
    assert second.name == "2"
    assert (second / "model.plan").read_bytes() == data
    assert (models / "model" / "1" / "model.plan").read_bytes() == data[:-4]
    assert read(second).max_batch_size == 4
    assert (models / "model" / "labels.txt").read_text("utf-8").splitlines() == CLASSES[::-1]
    assert triton.export(plan, models, version=7).name == "7"
    assert triton.export(plan, models).name == "8"
    assert sorted(path.name for path in (models / "model").iterdir()) == [
        *("1", "2", "7", "8"),
        *("config.pbtxt", "labels.txt"),
    ]


def test_a_version_is_never_replaced(tmp_path: Path) -> None:
    plan, models = plan_of(tmp_path), tmp_path / "models"
    folder = triton.export(plan, models, version=3)
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*")}
    with pytest.raises(trtfast.InputError, match="has a version 3: leave version out"):
        triton.export(plan, models, version=3, max_batch_size=1)
    with pytest.raises(trtfast.InputError, match="version is 0"):
        triton.export(plan, models, version=0)
    assert {path: path.stat().st_mtime_ns for path in models.rglob("*")} == before
    assert read(folder).max_batch_size == 32


def test_versions_of_a_model_take_and_give_the_same(tmp_path: Path) -> None:
    models = tmp_path / "models"
    folder = triton.export(plan_of(tmp_path), models)
    other = plan_of(tmp_path, outputs=[{**LOGITS, "dtype": "float16"}])
    with pytest.raises(trtfast.InputError, match=r"has outputs .* choose another name"):
        triton.export(other, models)
    (folder.parent / "config.pbtxt").write_text("no configuration {")
    with pytest.raises(trtfast.InputError, match=r"config\.pbtxt is no configuration of Triton's"):
        triton.export(plan_of(tmp_path), models)


@pytest.mark.parametrize("is_new", [True, False])
def test_nothing_is_left_of_what_failed(
    is_new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, models = plan_of(tmp_path), tmp_path / "models"
    if not is_new:
        triton.export(plan, models)
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*") if path.is_file()}

    def full(self: object, data: memoryview) -> None:
        raise trtfast.BuildError("disk full")

    monkeypatch.setattr("trtfast._plan.Writer.write", full)
    with pytest.raises(trtfast.BuildError):
        triton.export(plan, models)
    after = {path: path.stat().st_mtime_ns for path in models.rglob("*") if path.is_file()}
    assert after == before
    assert [path.name for path in models.iterdir()] == ([] if is_new else ["model"])


def test_others_may_read_it(tmp_path: Path) -> None:
    folder = triton.export(plan_of(tmp_path), tmp_path / "models")
    assert folder.parent.stat().st_mode & 0o777 == 0o755
    assert os.access(folder / "model.plan", os.R_OK)
    again = triton.export(plan_of(tmp_path), tmp_path / "models")
    assert again.stat().st_mode & 0o777 == 0o755


def test_plan_of_tensorrt_rtx(engine_of: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(
        trtfast.EngineIncompatibleError,
        match=r"is a plan of TensorRT-RTX .* --backend tensorrt`\), or export the ONNX model",
    ):
        triton.export(engine_of("two_in_two_out"), tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_engine_behind_a_description_of_ultralytics(tmp_path: Path) -> None:
    """The plan alone is written: Triton reads no description."""
    plan = plan_of(tmp_path)
    data = plan.read_bytes()
    plan.write_bytes(plans.of_ultralytics(data, {"task": "classify"}))
    folder = triton.export(plan, tmp_path / "models")
    assert (folder / "model.plan").read_bytes() == data


def test_plans_that_cannot_be_described(tmp_path: Path) -> None:
    models = tmp_path / "models"
    with pytest.raises(trtfast.InputError, match="there is no file"):
        triton.export(tmp_path / "none.engine", models)
    plan = plan_of(tmp_path)
    whole = plan.read_bytes()
    plan.write_bytes(b"something else")
    with pytest.raises(trtfast.EngineIncompatibleError, match="is not a TensorRT plan"):
        triton.export(plan, models)
    plan.write_bytes(whole[:-1])
    with pytest.raises(trtfast.EngineIncompatibleError, match="not the plan that its passport"):
        triton.export(plan, models)
    plan_of(tmp_path, [{"name": "x", "dtype": "float32"}])
    with pytest.raises(trtfast.EngineIncompatibleError, match="passport, is damaged"):
        triton.export(plan, models)
    passport.path_of(plan).unlink()
    with pytest.raises(trtfast.InputError, match=r"no passport, model\.engine\.json"):
        triton.export(plan, models)
    assert not models.exists()


def test_dtypes_that_triton_has_not(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, outputs=[{**LOGITS, "dtype": "float8_e4m3fn"}])
    with pytest.raises(trtfast.InputError, match="'logits' is of float8_e4m3fn"):
        triton.export(plan, tmp_path / "models")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch_size": -1}, "max_batch_size is -1"),
        ({"max_batch_size": 33}, "takes batches of 1 to 32"),
        ({"max_queue_delay": -0.1}, "max_queue_delay is"),
        ({"max_queue_delay": math.nan}, "max_queue_delay is"),
        ({"preferred_batch_sizes": [8, 33]}, r"has \[33\]: give sizes from 1 to .* 32"),
        ({"preferred_batch_sizes": [1], "max_batch_size": 0}, "needs a model that Triton batches"),
        ({"max_queue": 0}, "max_queue is 0"),
        ({"deadline": 0.0}, "deadline is 0"),
        ({"deadline": math.inf}, "deadline is inf"),
        ({"instances": 0}, "instances is 0"),
        ({"name": "a/b"}, "no name for a model"),
        ({"name": ".hidden"}, "no name for a model"),
        ({"name": ""}, "no name for a model"),
        ({"classes": ["one", "two"]}, "2 names, and no output's last axis is as long"),
        ({"classes": ["one", "two", "th\nree"]}, "cannot be a label"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(trtfast.InputError, match=message):
        triton.export(plan_of(tmp_path), tmp_path / "models", **options)
    assert not (tmp_path / "models").exists()


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


def test_without_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tritonclient.grpc", None)
    with pytest.raises(trtfast.Error, match=r'pip install "trtfast\[triton\]"'):
        triton.export(plan_of(tmp_path), tmp_path / "models")


def test_command(tmp_path: Path) -> None:
    trt = Command(tmp_path)
    plan_of(tmp_path)
    printed = trt("export-triton", "model.engine", "models", "--max-batch-size", "8").stdout
    assert "models/model/1: version 1 of model" in printed
    assert "needs a Triton with TensorRT 10.13.3.9, and NVIDIA L4" in printed
    options = ["--preferred-batch-sizes", "4,8", "--max-queue", "0"]
    told = trt.json("export-triton", "model.engine", "models", *options, "--instances", "1")
    assert told == {
        "path": "models/model/2",
        "config": "models/model/config.pbtxt",
        "tensorrt": "10.13.3.9",
        "gpu": "NVIDIA L4",
    }
    config = read(tmp_path / told["path"])
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 0
    assert config.instance_group[0].count == 1
    message = trt.fails("InputError", "export-triton", "model.engine", "models", "--version", "2")
    assert "has a version 2" in message
