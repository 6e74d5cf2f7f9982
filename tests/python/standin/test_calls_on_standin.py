"""Calls of every kind give the right values, and wrong ones say what is wrong."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import trtfast
from fake_gpu import PAIR, TWICE, FakeGpu, Lent, Shared, Strict, answer, build, rows

LATE = pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])


@pytest.mark.parametrize("release", FakeGpu.RELEASES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cuda_graph": False},
        {"wait": "block"},
        {"activation_memory": "shared"},
        {"pad_to_bucket": True},
        {"device": 1, "lanes": 3},
    ],
    ids=str,
)
@LATE
def test_every_kind_of_call(gpu: FakeGpu, release: str, options: Any, late: bool) -> None:
    with trtfast.Engine(build(gpu.libraries[release]), **options) as engine:
        gpu.set_late(late)
        for seed, count in enumerate((1, 4, 4, 7, 200, 4)):
            batch = rows(count, seed)
            wanted = answer(batch)
            out = np.full_like(batch, np.nan)
            assert engine.infer(batch, out=out) is out
            given = {
                "array": engine.infer(batch),
                "tuple": engine.infer((batch,)),
                "list": engine.infer([batch]),
                "dict": engine.infer({"x": batch})["y"],
                "out": out,
                "cast": engine.infer(batch.astype(np.float16)),
                "strided": engine.infer(batch[::-1])[::-1],
                "future": engine.infer_async(batch).result(60),
                "future of a cast": engine.infer_async(batch.astype(np.int16)).result(60),
            }
            for kind, array in given.items():
                assert array.dtype == np.float32, kind
                np.testing.assert_array_equal(array, wanted, err_msg=kind)


@LATE
def test_several_inputs_and_outputs(gpu: FakeGpu, late: bool) -> None:
    with trtfast.Engine(build(gpu.libraries["11.1"], PAIR)) as engine:
        gpu.set_late(late)
        a, b = rows(5, 1), rows(5, 2)
        for _ in range(3):
            total, twice = engine.infer((a, b))
            np.testing.assert_array_equal(total, a + b)
            np.testing.assert_array_equal(twice, 2 * a)
            named = engine.infer_async({"b": b, "a": a}).result(60)
            assert list(named) == ["sum", "twice"]
            np.testing.assert_array_equal(named["sum"], a + b)
            given, out = engine.empty_input({"a": (5, 2), "b": (5, 2)}), engine.empty_output()
            assert list(given) == ["a", "b"]
            assert {name: array.shape for name, array in out.items()} == {
                "sum": (4, 2),
                "twice": (4, 2),
            }
            given["a"][...], given["b"][...] = a, b
            out = {"twice": np.empty_like(a), "sum": np.empty_like(a)}
            assert engine.infer(given, out=out).keys() == out.keys()
            np.testing.assert_array_equal(out["sum"], a + b)
            np.testing.assert_array_equal(out["twice"], 2 * a)


@LATE
def test_page_locked_arrays(gpu: FakeGpu, engine: trtfast.Engine, late: bool) -> None:
    gpu.set_late(late)
    given, out = engine.empty_input((5, 2)), engine.empty_output((5, 2))
    for array in (given, out):
        assert (array.shape, array.dtype) == ((5, 2), np.float32)
        assert not array.any()
    for seed in range(4):
        given[...] = rows(5, seed)
        out[...] = np.nan
        assert engine.infer(given, out=out) is out
        np.testing.assert_array_equal(out, answer(given))
        np.testing.assert_array_equal(engine.infer(given), out)
    assert engine.empty_input().shape == engine.empty_output().shape == (4, 2)  # the best shape


@pytest.mark.parametrize("count", [5, 20_000])
def test_new_memory_at_an_address_that_a_graph_knows(gpu: FakeGpu, count: int) -> None:
    with trtfast.Engine(build(gpu.libraries["11.1"], TWICE, (1, 4, 20_000)), lanes=1) as engine:
        for seed in range(20):  # each lets go of its arrays, so their addresses come again
            batch = rows(count, seed)
            out = engine.empty_output((count, 2))
            engine.infer(batch, out=out)
            np.testing.assert_array_equal(out, answer(batch))
            given = engine.infer(gpu.array(batch))
            np.testing.assert_array_equal(given.copy_to_host(), answer(batch))


def test_page_locked_arrays_outlive_their_engine(plan: bytes) -> None:
    with trtfast.Engine(plan) as engine:
        given = engine.empty_input((5, 2))
    del engine
    gc.collect()
    given[...] = rows(5)
    np.testing.assert_array_equal(given, rows(5))


@pytest.mark.parametrize("device", [0, 1])
@pytest.mark.parametrize(
    "share",
    [lambda array: array, lambda array: Shared(array.__cuda_array_interface__, array)],
    ids=["DLPack", "array interface"],
)
@LATE
def test_arrays_on_the_gpu(
    gpu: FakeGpu, plan: bytes, device: int, share: Callable[[Any], Any], late: bool
) -> None:
    with trtfast.Engine(plan, device=device) as engine:
        gpu.set_late(late)
        for seed in range(3):
            batch = rows(5, seed)
            first = engine.infer(gpu.array(batch, device=device))
            assert isinstance(first, trtfast.DeviceArray)
            assert (first.shape, first.dtype, first.nbytes) == ((5, 2), np.float32, 40)
            assert first.device == device
            second = engine.infer(share(first))
            third = engine.infer_async({"x": share(second)}).result(60)["y"]
            np.testing.assert_array_equal(third.copy_to_host(), answer(answer(answer(batch))))
            engine.infer(batch, out=share(third))  # from the host to the GPU
            np.testing.assert_array_equal(third.copy_to_host(), answer(batch))
            np.testing.assert_array_equal(first.copy_to_host(), answer(batch))


def test_arrays_that_only_the_current_gpu_lends(gpu: FakeGpu, plan: bytes) -> None:
    with trtfast.Engine(plan, device=0) as near, trtfast.Engine(plan, device=1) as far:
        array = far.infer(gpu.array(rows(5), device=1))
        given = far.infer(Strict(array, gpu))
        np.testing.assert_array_equal(given.copy_to_host(), answer(answer(rows(5))))
        assert gpu.current_device() == 0
        with pytest.raises(trtfast.InputError, match="is on GPU 1, and the engine on GPU 0"):
            near.infer(Strict(array, gpu))


def test_arrays_of_the_gpu_outlive_their_engine(gpu: FakeGpu, plan: bytes) -> None:
    with trtfast.Engine(plan) as engine:
        given = engine.infer(gpu.array(rows(5)))
    del engine
    gc.collect()
    np.testing.assert_array_equal(given.copy_to_host(), answer(rows(5)))


def test_an_array_whose_producer_is_not_done_is_waited_for(
    gpu: FakeGpu, engine: trtfast.Engine
) -> None:
    with gpu.gate() as gate:
        future = engine.infer_async(gate.held(rows(5)))
        gate.wait()
        assert not future.done()
        with pytest.raises(TimeoutError):
            future.result(0.001)
        gate.open()
        np.testing.assert_array_equal(future.result(60).copy_to_host(), answer(rows(5)))


@pytest.mark.parametrize(
    ("shape", "dtype", "device", "message"),
    [
        ((5, 3), np.float32, 0, r"input 'x' must be float32 \(-1, 2\), not float32 \(5, 3\)"),
        ((5, 2), np.float64, 0, "'x' is float64 on the device; expected float32: cast it"),
        ((5, 2), ">f4", 0, "'x' is >f4 on the device; expected float32: cast it there"),
        ((5, 2), np.float32, 1, "is on GPU 1, and the engine on GPU 0: move it there"),
        ((201, 2), np.float32, 0, "profile"),
    ],
)
def test_arrays_on_the_gpu_that_do_not_fit(
    gpu: FakeGpu, engine: trtfast.Engine, shape: Any, dtype: Any, device: int, message: str
) -> None:
    wrong = gpu.array(np.ones(shape, dtype), device=device)
    with pytest.raises(trtfast.InputError, match=message):
        engine.infer(wrong)
    with pytest.raises(trtfast.InputError, match=message):
        engine.infer_async(wrong).result(60)
    np.testing.assert_array_equal(engine.infer(rows(5)), answer(rows(5)))


@pytest.mark.parametrize(
    ("code", "bits", "lanes", "name"),
    [
        (2, 64, 1, "float64"),
        (1, 16, 1, "uint16"),
        (4, 16, 1, "bfloat16"),
        (5, 64, 1, "complex64"),
        (6, 8, 1, "bool"),
        (10, 8, 1, "float8_e4m3fn"),
        (2, 32, 4, "float32 x 4"),
        (99, 12, 1, "of 12 bits and DLPack's type 99"),
    ],
)
def test_a_wrong_dtype_through_dlpack_is_named(
    engine: trtfast.Engine, code: int, bits: int, lanes: int, name: str
) -> None:
    wrong = Lent(code, bits, lanes)
    with pytest.raises(trtfast.InputError) as caught:
        engine.infer(wrong)
    assert str(caught.value) == (
        f"input 'x' is {name} on the device; expected float32: cast it there"
    )


def test_strides_on_the_gpu_are_refused(gpu: FakeGpu, engine: trtfast.Engine) -> None:
    whole = gpu.array(rows(5))
    turned = Shared({**whole.__cuda_array_interface__, "strides": (4, 20)}, whole)
    with pytest.raises(trtfast.InputError, match="is not contiguous on the device"):
        engine.infer(turned)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones((5, 3), np.float32), r"shape \(5, 3\); expected \(-1, 2\)"),
        (np.ones(5, np.float32), "rank 1, .*expected rank 2"),
        (np.ones((5, 2)), r"float64; expected float32: convert with .astype\(np.float32\)"),
        (np.ones((201, 2), np.float32), r"no optimisation profile of this engine fits x\(201, 2\)"),
        ({"z": rows(5)}, "unknown inputs 'z' and missing inputs 'x'"),
        ((rows(5), rows(5)), "got 2 input arrays"),
        ([[1.0, 2.0]], "input 'x' is list; expected a NumPy array"),
    ],
)
def test_inputs_that_do_not_fit(engine: trtfast.Engine, inputs: Any, message: str) -> None:
    with pytest.raises(trtfast.InputError, match=message):
        engine.infer(inputs)
    with pytest.raises(trtfast.InputError, match=message):
        engine.infer_async(inputs).result(60)
    np.testing.assert_array_equal(engine.infer(rows(5)), answer(rows(5)))


def _frozen() -> np.ndarray:
    array = np.empty((5, 2), np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((4, 2), np.float32), r"'y' .*\(5, 2\)"),
        (np.empty((5, 2)), "output 'y' must be a writable, C-contiguous array of float32"),
        (np.empty((2, 5), np.float32).T, "output 'y' must be a writable, C-contiguous array"),
        (_frozen(), "output 'y' must be a writable"),
        ({"z": np.empty((5, 2), np.float32)}, "give an array for each of the engine's 1 outputs"),
        ([np.empty((5, 2), np.float32)] * 2, "give an array for each of the engine's 1 outputs"),
        ("text", "output 'y' is str; expected a NumPy array"),
    ],
)
def test_out_that_does_not_fit(engine: trtfast.Engine, out: Any, message: str) -> None:
    with pytest.raises(trtfast.InputError, match=message):
        engine.infer(rows(5), out=out)
    np.testing.assert_array_equal(engine.infer(rows(5)), answer(rows(5)))


def test_shapes_of_empty_arrays_are_checked(engine: trtfast.Engine) -> None:
    with pytest.raises(trtfast.InputError, match=r"shape \(5, 3\)"):
        engine.empty_input((5, 3))
    with pytest.raises(trtfast.InputError, match="no optimisation profile"):
        engine.empty_output((201, 2))


def test_a_bad_deadline_is_refused(engine: trtfast.Engine) -> None:
    for wrong in (-1.0, float("nan")):
        with pytest.raises(trtfast.InputError, match="deadline must be seconds from now"):
            engine.infer(rows(5), deadline=wrong)


def test_a_call_of_cuda_that_fails_is_told_and_leaves_the_engine_well(
    gpu: FakeGpu, engine: trtfast.Engine
) -> None:
    engine.infer(rows(5))
    gpu.fail("launch")
    with pytest.raises(trtfast.Error):
        engine.infer(rows(6))
    np.testing.assert_array_equal(engine.infer(rows(6)), answer(rows(6)))
    assert engine.stats().failures == 1
