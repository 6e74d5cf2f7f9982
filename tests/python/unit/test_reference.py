from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from trtfast.errors import ClosedError, Error, InputError
from trtfast.reference import ReferenceEngine
from trtfast.spec import InferenceEngine, TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, Any]],
    outputs: dict[str, tuple[int, Any]],
    weights: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *value) for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, *value) for name, value in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    return made


WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def linear() -> onnx.ModelProto:
    """y = x @ WEIGHT, with a dynamic batch."""
    return model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": (FLOAT, ["batch", 3])},
        {"y": (FLOAT, ["batch", 4])},
        {"w": WEIGHT},
    )


def two_by_two() -> onnx.ModelProto:
    """sum = a + b, product = a * b."""
    return model(
        [
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("Mul", ["a", "b"], ["product"]),
        ],
        {"a": (FLOAT, ["n"]), "b": (FLOAT, ["n"])},
        {"sum": (FLOAT, ["n"]), "product": (FLOAT, ["n"])},
    )


def square(dtype: int) -> onnx.ModelProto:
    """y = x * x, worked out in float32 but with the dtype outside."""
    return model(
        [
            helper.make_node("Cast", ["x"], ["f"], to=FLOAT),
            helper.make_node("Mul", ["f", "f"], ["g"]),
            helper.make_node("Cast", ["g"], ["y"], to=dtype),
        ],
        {"x": (dtype, ["n", 3])},
        {"y": (dtype, ["n", 3])},
    )


LINEAR = ReferenceEngine(linear())


# ---- what it is ---------------------------------------------------------------------------------


def test_specs_and_protocol() -> None:
    with ReferenceEngine(linear()) as engine:
        assert isinstance(engine, InferenceEngine)
        assert engine.inputs == (TensorSpec("x", np.dtype(np.float32), (-1, 3)),)
        assert engine.outputs == (TensorSpec("y", np.dtype(np.float32), (-1, 4)),)


@pytest.mark.parametrize("form", ["proto", "bytes", "path", "str"])
def test_model_may_be_path_bytes_or_proto(tmp_path: Path, form: str) -> None:
    proto = linear()
    path = tmp_path / "modèle.onnx"
    onnx.save(proto, path)
    source: Any = {
        "proto": proto,
        "bytes": proto.SerializeToString(),
        "path": path,
        "str": str(path),
    }[form]
    x = np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(ReferenceEngine(source).infer(x), WEIGHT)


def test_external_data_is_found_beside_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(linear(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").stat().st_size >= WEIGHT.nbytes
    np.testing.assert_array_equal(ReferenceEngine(path).infer(np.eye(3, dtype=np.float32)), WEIGHT)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InputError, match=r"model\.onnx"):
        ReferenceEngine(path)


# ---- infer --------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    batch=st.integers(0, 5),
    steps=st.tuples(st.sampled_from([1, 2, -1]), st.sampled_from([1, 2, -1, -2])),
    transpose=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_layout_gives_the_right_answer(
    batch: int, steps: tuple[int, int], transpose: bool, seed: int
) -> None:
    base = np.random.default_rng(seed).integers(-9, 9, (batch * 2, 6)).astype(np.float32)
    if transpose:
        base = np.asfortranarray(base)
    x = base[:: steps[0], :: steps[1]][:batch, :3]
    got = LINEAR.infer(x)
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, np.array(x.tolist(), np.float32).reshape(-1, 3) @ WEIGHT)


def test_forms_of_inputs_and_outputs() -> None:
    engine = ReferenceEngine(two_by_two())
    a, b = np.array([1, 2], np.float32), np.array([3, 5], np.float32)
    for inputs in ((a, b), [a, b]):
        got = engine.infer(inputs)
        assert isinstance(got, tuple)
        np.testing.assert_array_equal(got[0], [4, 7])
        np.testing.assert_array_equal(got[1], [3, 10])
    named = engine.infer({"b": b, "a": a - 1})
    assert isinstance(named, dict)
    assert list(named) == ["sum", "product"]
    np.testing.assert_array_equal(named["product"], [0, 5])
    x = np.eye(3, dtype=np.float32)
    one = LINEAR.infer({"x": x})
    assert isinstance(one, dict)
    np.testing.assert_array_equal(one["y"], WEIGHT)
    np.testing.assert_array_equal(LINEAR.infer((x,)), WEIGHT)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((1, 3)), r"float64.*\.astype\(np\.float32\)"),
        (np.zeros((1, 3), object), r"object.*\.astype\(np\.float32\)"),
        (np.zeros((1, 4), np.float32), r"\(1, 4\); expected \(-1, 3\)"),
        (np.zeros(3, np.float32), "rank 1"),
        ({"z": np.zeros((1, 3), np.float32)}, "unknown inputs 'z' and missing inputs 'x'"),
        ([[1.0, 2.0, 3.0]], "is list"),
        ((np.zeros((1, 3), np.float32),) * 2, "got 2 input arrays"),
    ],
)
def test_wrong_inputs_are_refused(inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LINEAR.infer(inputs)


def test_failure_inside_the_model_is_an_error_with_its_text(
    capfd: pytest.CaptureFixture[str],
) -> None:
    engine = ReferenceEngine(two_by_two())
    with pytest.raises(Error, match=r"ONNX Runtime failed.*(Add|Mul) node") as caught:
        engine.infer((np.zeros(2, np.float32), np.zeros(3, np.float32)))
    assert not isinstance(caught.value, InputError)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("onnx_dtype", "dtype"),
    [
        (TensorProto.FLOAT16, np.float16),
        (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
        (TensorProto.FLOAT8E4M3FN, ml_dtypes.float8_e4m3fn),
        (TensorProto.FLOAT8E5M2, ml_dtypes.float8_e5m2),
        (TensorProto.DOUBLE, np.float64),
        (TensorProto.INT8, np.int8),
        (TensorProto.INT32, np.int32),
        (TensorProto.INT64, np.int64),
        (TensorProto.UINT8, np.uint8),
        (TensorProto.UINT16, np.uint16),
        (TensorProto.BOOL, np.bool_),
    ],
)
@pytest.mark.parametrize("batch", [2, 0])
def test_every_dtype(onnx_dtype: int, dtype: Any, batch: int) -> None:
    engine = ReferenceEngine(square(onnx_dtype))
    assert engine.inputs[0].dtype == engine.outputs[0].dtype == np.dtype(dtype)
    x = np.array([[0, 1, 2], [1, 3, 4]])[:batch].astype(dtype)
    got = engine.infer(x)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.dtype(dtype)
    expected = (x.astype(np.float32) ** 2).astype(dtype)
    np.testing.assert_array_equal(got.astype(np.float32), expected.astype(np.float32))


def test_scalars_and_many_ranks() -> None:
    engine = ReferenceEngine(
        model(
            [helper.make_node("Add", ["x", "s"], ["y"]), helper.make_node("Neg", ["s"], ["t"])],
            {"x": (FLOAT, [1, None, 2]), "s": (FLOAT, [])},
            {"y": (FLOAT, [1, None, 2]), "t": (FLOAT, [])},
        )
    )
    assert [spec.shape for spec in engine.inputs] == [(1, -1, 2), ()]
    y, t = engine.infer((np.ones((1, 3, 2), np.float32), np.array(2, np.float32)))
    np.testing.assert_array_equal(y, np.full((1, 3, 2), 3, np.float32))
    assert isinstance(t, np.ndarray)
    assert (t.shape, float(t)) == ((), -2.0)


def test_outputs_belong_to_the_caller() -> None:
    constant = np.arange(3, dtype=np.float32)
    engine = ReferenceEngine(
        model(
            [helper.make_node("Identity", ["x"], ["y"])],
            {"x": (FLOAT, [3])},
            {"y": (FLOAT, [3]), "w": (FLOAT, [3])},
            {"w": constant},
        )
    )
    x = np.array([5, 6, 7], np.float32)
    for _ in range(2):
        y, w = engine.infer(x)
        np.testing.assert_array_equal(y, [5, 6, 7])
        np.testing.assert_array_equal(w, constant)
        y[:] = w[:] = -1  # type: ignore[index]
    np.testing.assert_array_equal(x, [5, 6, 7])
    engine.close()
    np.testing.assert_array_equal(y, [-1, -1, -1])


# ---- closing ------------------------------------------------------------------------------------


def test_closed_engine_refuses() -> None:
    engine = ReferenceEngine(linear())
    with engine as entered:
        assert entered is engine
    engine.close()
    with pytest.raises(ClosedError, match="closed"):
        engine.infer(np.zeros((1, 3), np.float32))
    assert engine.inputs[0].name == "x"


def test_threads_share_an_engine_and_one_may_close_it() -> None:
    engine = ReferenceEngine(linear())
    started = threading.Barrier(4)

    def work(seed: int) -> int:
        x = np.full((2, 3), seed, np.float32)
        started.wait()
        done = 0
        try:
            while True:
                np.testing.assert_array_equal(engine.infer(x), x @ WEIGHT)
                done += 1
                if seed == 0 and done == 50:
                    engine.close()
        except ClosedError:
            return done

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(work, range(4))) >= 50


# ---- what cannot be loaded ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["half", "garbage", "empty"])
def test_damaged_files_are_refused_by_name(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = linear().SerializeToString()
    data = {"half": whole[: len(whole) // 2], "garbage": b"garbage" * 30, "empty": b""}[kind]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"model\.onnx: ONNX Runtime cannot load"):
        ReferenceEngine(path)
    with pytest.raises(InputError, match=f"ONNX model of {len(data)} bytes"):
        ReferenceEngine(data)
    assert capfd.readouterr() == ("", "")


def test_missing_files_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(InputError, match=f"{path.name}: there is no such file"):
            ReferenceEngine(path)


def test_model_with_text_is_refused() -> None:
    text = model(
        [helper.make_node("Identity", ["words"], ["y"])],
        {"words": (TensorProto.STRING, [1])},
        {"y": (TensorProto.STRING, [1])},
    )
    with pytest.raises(InputError, match=r"'words' is tensor\(string\)"):
        ReferenceEngine(text)


def test_without_onnxruntime_the_pip_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Error, match=r'pip install "trtfast\[reference\]"'):
        ReferenceEngine(linear())
