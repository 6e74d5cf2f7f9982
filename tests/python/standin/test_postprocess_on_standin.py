"""Softmax, sigmoid and top_k of arrays on the GPU, whose kernels run the same arithmetic here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import pytest

import trtfast
from fake_gpu import FakeGpu, build
from trtfast import _core

ToDevice: TypeAlias = Callable[..., trtfast.DeviceArray]

LATE = pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
DTYPES = pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
SHAPES = pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 7), (5, 1000), (2, 9001)])


def passing(dtype: str, rank: int) -> bytes:
    """Return a model that gives back what it is given; `key` decides where."""
    shape = ",".join(["-1"] * rank)
    return (
        f"input key float32 {shape}\ninput x {dtype} {shape}\n"
        f"output kept float32 {shape}\noutput y {dtype} {shape}\n"
        "op keep kept = copy key\nop pass y = copy x\n"
    ).encode()


@pytest.fixture
def to_device(gpu: FakeGpu) -> Iterator[ToDevice]:
    """Return what an engine gives that was asked for these values, on the GPU."""
    with ExitStack() as stack:

        def give(values: np.ndarray, **options: Any) -> trtfast.DeviceArray:
            model = passing(values.dtype.name, values.ndim)
            most = tuple(max(2, size) for size in values.shape)
            bounds = ((0,) * values.ndim, most, most)
            device = options.pop("device", 0)
            engine = stack.enter_context(
                trtfast.Engine(build(gpu.libraries["11.1"], model, bounds), device=device)
            )
            key = gpu.array(np.ones((1,) * values.ndim, np.float32), device=device)
            x = gpu.array(values, device=device) if "stream" in options else values
            return engine.infer({"key": key, "x": x}, **options)["y"]  # type: ignore[return-value]

        yield give


def logits(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Return values of which some are equal, and one is infinitely small."""
    values = np.random.default_rng(0).normal(0, 3, shape).astype(np.float16)
    if values.size > 1:
        values.flat[1] = -np.inf if shape[-1] > 1 else 0
    return values.astype(dtype)


@DTYPES
@SHAPES
@LATE
def test_values_are_those_of_the_host(
    gpu: FakeGpu, to_device: ToDevice, dtype: Any, shape: tuple[int, ...], late: bool
) -> None:
    gpu.set_late(late)
    values = logits(shape, dtype)
    array = to_device(values)

    probabilities = trtfast.softmax(array)
    assert isinstance(probabilities, trtfast.DeviceArray)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, shape)
    np.testing.assert_allclose(probabilities.copy_to_host(), trtfast.softmax(values), rtol=1e-5)

    each = trtfast.sigmoid(array)
    assert (each.dtype, each.shape) == (np.float32, shape)
    np.testing.assert_allclose(each.copy_to_host(), trtfast.sigmoid(values), rtol=1e-6)
    yes = trtfast.sigmoid(array, 0.5)
    assert (yes.dtype, yes.shape, yes.nbytes) == (np.bool_, shape, values.size)
    np.testing.assert_array_equal(yes.copy_to_host(), trtfast.sigmoid(values, 0.5))

    np.testing.assert_array_equal(array.copy_to_host(), values)


def assert_same(got: Any, wanted: Any) -> None:
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        assert [(item.index, item.label) for item in one] == [
            (item.index, item.label) for item in other
        ]
        np.testing.assert_allclose(
            [item.confidence for item in one], [item.confidence for item in other], rtol=1e-5
        )


@DTYPES
@SHAPES
@pytest.mark.parametrize("k", [1, 5, 128, 129, None])
@LATE
def test_best_classes_are_those_of_the_host(
    gpu: FakeGpu,
    to_device: ToDevice,
    dtype: Any,
    shape: tuple[int, ...],
    k: int | None,
    late: bool,
) -> None:
    gpu.set_late(late)
    values = logits(shape, dtype)
    names = [f"class {position}" for position in range(shape[-1])]
    got = trtfast.top_k(to_device(values), k, 1e-4, names)
    assert_same(got, trtfast.top_k(values, k, 1e-4, names))


def test_equals_go_by_index(to_device: ToDevice) -> None:
    values = np.array([[1, 5, 1, 5, -np.inf, 1, -0.0, 0, -300, -200]], np.float32)
    got = trtfast.top_k(to_device(values), k=10)
    assert [item.index for item in got[0]] == [1, 3, 0, 2, 5, 6, 7, 9, 8, 4]  # type: ignore[union-attr]
    assert_same(got, trtfast.top_k(values, k=10))
    assert_same(
        trtfast.top_k(to_device(np.zeros((2, 300), np.float16)), k=7),
        trtfast.top_k(np.zeros((2, 300)), k=7),
    )


def test_every_half_is_read_right(to_device: ToDevice) -> None:
    every = np.arange(2**16, dtype=np.uint16)
    for dtype in (np.float16, ml_dtypes.bfloat16):
        values = every.view(dtype)
        values = values[~np.isnan(values.astype(np.float32))]
        got = trtfast.sigmoid(to_device(values)).copy_to_host()
        np.testing.assert_allclose(got, trtfast.sigmoid(values), rtol=1e-6, atol=1e-44)


def test_shapes_of_other_ranks(to_device: ToDevice) -> None:
    row = logits((5,))
    np.testing.assert_allclose(
        trtfast.softmax(to_device(row)).copy_to_host(), trtfast.softmax(row), rtol=1e-6
    )
    assert_same([trtfast.top_k(to_device(row))], [trtfast.top_k(row)])
    cube = logits((2, 3, 4))
    for axis in (-1, 2):
        got = trtfast.softmax(to_device(cube), axis).copy_to_host()
        np.testing.assert_allclose(got, trtfast.softmax(cube), rtol=1e-6)
    with pytest.raises(trtfast.InputError, match=r"\(2, 3, 4\); expected \(C,\) or \(N, C\)"):
        trtfast.top_k(to_device(cube))
    with pytest.raises(trtfast.InputError, match=r"axis is 1; expected the last of \(2, 3, 4\)"):
        trtfast.softmax(to_device(cube), axis=1)


@LATE
def test_no_rows(gpu: FakeGpu, to_device: ToDevice, late: bool) -> None:
    gpu.set_late(late)
    nothing = to_device(np.zeros((0, 3), np.float32))
    assert trtfast.softmax(nothing).copy_to_host().shape == (0, 3)
    assert trtfast.sigmoid(nothing, 0.5).copy_to_host().shape == (0, 3)
    assert trtfast.top_k(nothing) == []
    no_classes = to_device(np.zeros((2, 0), np.float32))
    for function in (trtfast.softmax, trtfast.top_k):
        with pytest.raises(trtfast.InputError, match=r"\(2, 0\); expected at least one value"):
            function(no_classes)
    assert trtfast.sigmoid(no_classes).copy_to_host().shape == (2, 0)


@DTYPES
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0, np.nan, 1], "NaN"),
        ([np.nan, 1, 2], "NaN"),
        ([1, np.inf, -np.nan], "NaN"),
        ([0, np.inf, 1], r"\+inf"),
        ([-np.inf] * 3, "row of -inf"),
    ],
)
def test_what_has_no_softmax_is_refused(
    to_device: ToDevice, dtype: Any, row: list[float], message: str
) -> None:
    array = to_device(np.array([[0, 1, 2], row], dtype))
    for function in (trtfast.softmax, trtfast.top_k):
        with pytest.raises(trtfast.InputError, match=message):
            function(array)
    if message == "NaN":
        with pytest.raises(trtfast.InputError, match="NaN"):
            trtfast.sigmoid(array, 0.5)
    else:
        np.testing.assert_array_equal(
            trtfast.sigmoid(array, 0.5).copy_to_host(), trtfast.sigmoid([[0, 1, 2], row], 0.5)
        )


def test_nan_anywhere_in_a_long_array_is_found(to_device: ToDevice) -> None:
    for at in (0, 4095, 4096, 9999):
        values = np.zeros(10_000, np.float32)
        values[at] = np.nan
        with pytest.raises(trtfast.InputError, match="NaN"):
            trtfast.sigmoid(to_device(values))


def test_other_dtypes_are_refused(to_device: ToDevice) -> None:
    array = to_device(np.zeros((2, 3), np.int32))
    for function in (trtfast.softmax, trtfast.sigmoid, trtfast.top_k):
        with pytest.raises(trtfast.InputError, match="int32; expected float16, bfloat16 or"):
            function(array)


def test_the_core_checks_k_by_itself(to_device: ToDevice) -> None:
    array = to_device(np.zeros((2, 3), np.float32))
    for k in (0, -1, 4):
        with pytest.raises(trtfast.InputError, match=f"k is {k}, of 3 classes"):
            _core.top_k(array, k)


# ---- The order of streams -----------------------------------------------------------------------


@LATE
def test_work_is_on_the_callers_stream_and_not_waited_for(
    gpu: FakeGpu, to_device: ToDevice, late: bool
) -> None:
    gpu.set_late(late)
    values = logits((4, 30))
    with gpu.stream() as stream:
        array = to_device(values, stream=stream.handle)
        probabilities, yes = trtfast.softmax(array), trtfast.sigmoid(array, 0.5)
        for made in (probabilities, yes):
            interface = made.__cuda_array_interface__
            assert interface["stream"] == stream.handle
        assert_same(trtfast.top_k(array), trtfast.top_k(values))  # this one is
        np.testing.assert_allclose(probabilities.copy_to_host(), trtfast.softmax(values), rtol=1e-6)
        np.testing.assert_array_equal(yes.copy_to_host(), trtfast.sigmoid(values, 0.5))
        del array, probabilities, yes, made


def test_what_is_not_waited_for_cannot_be_refused(gpu: FakeGpu, to_device: ToDevice) -> None:
    rows = [[0, np.nan, 1], [0, np.inf, 1], [-np.inf] * 3, [0, 0, -np.inf]]
    with gpu.stream() as stream:
        array = to_device(np.array(rows, np.float32), stream=stream.handle)
        got = trtfast.softmax(array).copy_to_host()
        assert np.isnan(got[:3]).all()
        np.testing.assert_array_equal(got[3], [0.5, 0.5, 0])
        np.testing.assert_array_equal(trtfast.sigmoid(array).copy_to_host()[:2, 1], [np.nan, 1])
        assert not trtfast.sigmoid(array, 0.0).copy_to_host()[0, 1]
        with pytest.raises(trtfast.InputError, match="NaN"):
            trtfast.top_k(array)
        del array


def test_an_array_that_another_stream_used_is_freed_after_the_work(
    gpu: FakeGpu, to_device: ToDevice
) -> None:
    gpu.set_late(True)
    values = logits((4, 30))
    with gpu.stream() as other, gpu.stream() as stream:
        array = to_device(values, stream=stream.handle)
        array.__dlpack__(stream=other.handle)  # now `other` is the one that frees it
        got = trtfast.softmax(array)
        del array
        other.wait()
        np.testing.assert_allclose(got.copy_to_host(), trtfast.softmax(values), rtol=1e-6)
        del got


def test_arrays_of_another_gpu(to_device: ToDevice) -> None:
    values = logits((4, 30))
    array = to_device(values, device=1)
    probabilities = trtfast.softmax(array)
    assert (probabilities.device, trtfast.sigmoid(array).device) == (1, 1)
    np.testing.assert_allclose(probabilities.copy_to_host(), trtfast.softmax(values), rtol=1e-6)
    assert_same(trtfast.top_k(array), trtfast.top_k(values))


def test_nothing_is_kept(gpu: FakeGpu, to_device: ToDevice) -> None:
    array = to_device(logits((4, 30)))

    def call() -> None:
        trtfast.softmax(array)
        trtfast.sigmoid(array, 0.5)
        trtfast.top_k(array)

    call()  # which makes what is kept for the next
    before = gpu.leaks()
    call()
    assert gpu.leaks() == before


@pytest.mark.parametrize("function", [trtfast.softmax, trtfast.sigmoid, trtfast.top_k])
@pytest.mark.parametrize(
    ("failing", "error"),
    [
        ("allocation", trtfast.OutOfMemoryError),
        ("cudaMemcpyAsync", trtfast.CudaError),
        ("cudaStreamSynchronize", trtfast.CudaError),
    ],
)
def test_failures_are_told_and_leave_nothing(
    gpu: FakeGpu, to_device: ToDevice, function: Any, failing: str, error: type[Exception]
) -> None:
    array = to_device(logits((4, 30)))
    function(array)
    before = gpu.leaks()
    gpu.fail(failing)
    with pytest.raises(error):
        function(array)
    assert gpu.leaks() == before
    function(array)
