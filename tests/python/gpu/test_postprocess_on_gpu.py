"""On a GPU: softmax, sigmoid and top_k of arrays that are there, against NumPy's of the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import pytest

import trtfast
import zoo

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]

ToDevice: TypeAlias = Callable[..., trtfast.DeviceArray]

DTYPES = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16, "fp32": np.float32}
PRECISIONS = pytest.mark.parametrize("precision", DTYPES)


@pytest.fixture(scope="module")
def doublings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Engines that double (n, c) without rounding, in and out in their precision."""
    folder = tmp_path_factory.mktemp("doublings")
    shapes = {"min_shapes": (1, 1), "opt_shapes": (8, 1000), "max_shapes": (64, 21841)}
    ranges = {bound: {"image": shape} for bound, shape in shapes.items()}
    engines: dict[str, trtfast.Engine] = {}
    with ExitStack() as stack:

        def make(precision: str) -> trtfast.Engine:
            if precision not in engines:
                onnx = zoo.make_doubling(folder / f"{precision}.onnx", ("n", "c"))
                plan = trtfast.build(onnx, precision=precision, keep_io=False, **ranges)
                engines[precision] = stack.enter_context(trtfast.Engine(plan))
            return engines[precision]

        yield make


@pytest.fixture
def to_device(doublings: Callable[[str], trtfast.Engine]) -> ToDevice:
    """Return what an engine gives that was asked for these values, on the GPU."""
    import torch

    dtypes = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

    def give(
        values: np.ndarray, precision: str, *, delay: int = 0, **options: Any
    ) -> trtfast.DeviceArray:
        halves = torch.from_numpy(values.astype(np.float32) / 2).cuda().to(dtypes[precision])
        if delay > 0:
            torch.cuda._sleep(delay)
        array = doublings(precision).infer(halves, **options)
        assert isinstance(array, trtfast.DeviceArray)
        assert array.dtype == DTYPES[precision]
        return array

    return give


def logits(shape: tuple[int, ...], precision: str) -> np.ndarray:
    """Return values of which many are equal, and some infinitely small."""
    values = np.random.default_rng(0).normal(0, 3, shape).astype(np.float16)
    if shape[-1] > 1:
        values[:, 1::7] = -np.inf
        values[:, 0] = values.max(axis=-1)
    # Whole numbers of sixteenths, which bfloat16 too holds with their halves.
    return (np.round(values * 16) / 16).astype(DTYPES[precision])


def assert_same(got: Any, wanted: Any) -> None:
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        assert [item.index for item in one] == [item.index for item in other]
        np.testing.assert_allclose(
            [item.confidence for item in one], [item.confidence for item in other], rtol=1e-4
        )


@PRECISIONS
@pytest.mark.parametrize("classes", [1, 2, 31, 1000, 21841])
@pytest.mark.parametrize("batch", [1, 64])
def test_answers_are_those_of_numpy(
    to_device: ToDevice, precision: str, batch: int, classes: int
) -> None:
    values = logits((batch, classes), precision)
    array = to_device(values, precision)
    np.testing.assert_array_equal(array.copy_to_host(), values)

    probabilities = trtfast.softmax(array)
    np.testing.assert_allclose(probabilities.copy_to_host(), trtfast.softmax(values), rtol=1e-4)
    np.testing.assert_allclose(
        trtfast.sigmoid(array).copy_to_host(), trtfast.sigmoid(values), rtol=1e-5
    )
    for threshold in (0.0, 0.3, 1.0):  # which none of the values comes near
        np.testing.assert_array_equal(
            trtfast.sigmoid(array, threshold).copy_to_host(), trtfast.sigmoid(values, threshold)
        )
    for k in (1, 5, 128, 129):
        assert_same(trtfast.top_k(array, k), trtfast.top_k(values, k))
    np.testing.assert_array_equal(array.copy_to_host(), values)


@PRECISIONS
def test_equals_go_by_index(to_device: ToDevice, precision: str) -> None:
    values = np.zeros((3, 2000), np.float32)
    values[1, ::2] = 1
    values[2] = -np.inf
    values[2, [1999, 1024, 512]] = [0.0, -0.0, 0.0]
    array = to_device(values, precision)
    assert_same(trtfast.top_k(array, 128), trtfast.top_k(values, 128))
    assert [item.index for item in trtfast.top_k(array, 4)[2]] == [512, 1024, 1999, 0]  # type: ignore[union-attr]


@PRECISIONS
@pytest.mark.parametrize("at", [0, 1, 511, 512, 999])
@pytest.mark.parametrize(
    ("wrong", "message"), [(np.nan, "NaN"), (-np.nan, "NaN"), (np.inf, r"\+inf")]
)
def test_what_has_no_softmax_is_refused(
    to_device: ToDevice, precision: str, at: int, wrong: float, message: str
) -> None:
    values = np.zeros((5, 1000), np.float32)
    values[3, at] = wrong
    array = to_device(values, precision)
    for function in (trtfast.softmax, trtfast.top_k):
        with pytest.raises(trtfast.InputError, match=message):
            function(array)
    if np.isnan(wrong):
        with pytest.raises(trtfast.InputError, match="NaN"):
            trtfast.sigmoid(array, 0.5)
    else:
        assert trtfast.sigmoid(array).copy_to_host()[3, at] == 1


@PRECISIONS
def test_a_row_of_nothing_is_refused(to_device: ToDevice, precision: str) -> None:
    values = np.zeros((2, 1000), np.float32)
    values[1] = -np.inf
    array = to_device(values, precision)
    for function in (trtfast.softmax, trtfast.top_k):
        with pytest.raises(trtfast.InputError, match="row of -inf"):
            function(array)
    assert (trtfast.sigmoid(array).copy_to_host() == [[0.5], [0]]).all()


def test_extreme_values(to_device: ToDevice) -> None:
    largest = np.finfo(np.float32).max
    values = np.array([[largest, -largest, 0], [largest, largest, -np.inf]], np.float32)
    array = to_device(values, "fp32")
    np.testing.assert_array_equal(trtfast.softmax(array).copy_to_host(), [[1, 0, 0], [0.5, 0.5, 0]])
    np.testing.assert_array_equal(trtfast.sigmoid(array).copy_to_host(), [[1, 0, 0.5], [1, 1, 0]])


def test_results_go_on_to_torch(to_device: ToDevice) -> None:
    import torch

    values = logits((8, 1000), "fp32")
    array = to_device(values, "fp32")
    mine, theirs = torch.from_dlpack(trtfast.softmax(array)), torch.from_dlpack(array).softmax(-1)
    assert torch.allclose(mine, theirs, rtol=1e-4)
    yes = torch.from_dlpack(trtfast.sigmoid(array, 0.3))
    assert yes.dtype == torch.bool
    assert torch.equal(yes, torch.from_dlpack(array).sigmoid() >= 0.3)


def test_results_go_on_to_cupy(to_device: ToDevice) -> None:
    cupy = pytest.importorskip("cupy")
    values = logits((8, 1000), "fp16")
    got = cupy.from_dlpack(trtfast.softmax(to_device(values, "fp16")))
    np.testing.assert_allclose(cupy.asnumpy(got), trtfast.softmax(values), rtol=1e-4)


def test_a_callers_stream_is_worked_on_and_not_waited_for(to_device: ToDevice) -> None:
    import torch

    stream = torch.cuda.Stream()
    for late in (False, True):  # first so that nothing is made ready below
        values = logits((8, 1000), "fp32") + np.float32(late)
        with torch.cuda.stream(stream):
            delay = 500_000_000 if late else 0
            array = to_device(values, "fp32", delay=delay, stream=stream)
            probabilities, yes = trtfast.softmax(array), trtfast.sigmoid(array, 0.3)
            assert not late or not stream.query()  # returned before its turn has come
        assert_same(trtfast.top_k(array), trtfast.top_k(values))  # this waits
        np.testing.assert_allclose(probabilities.copy_to_host(), trtfast.softmax(values), rtol=1e-4)
        np.testing.assert_array_equal(yes.copy_to_host(), trtfast.sigmoid(values, 0.3))


def test_a_million_classes(tmp_path: Path) -> None:
    import torch

    shape = (2, 1_000_000)
    values = np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)
    plan = trtfast.build(zoo.make_doubling(tmp_path / "wide.onnx", shape), precision="fp32")
    with trtfast.Engine(plan) as engine:
        array = engine.infer(torch.from_numpy(values / 2).cuda())
        assert_same(trtfast.top_k(array, 128), trtfast.top_k(values, 128))
        got = trtfast.softmax(array).copy_to_host()
    np.testing.assert_allclose(got, trtfast.softmax(values), rtol=1e-4)
    np.testing.assert_allclose(got.sum(axis=-1, dtype=np.float64), 1, rtol=1e-4)


def test_no_rows(tmp_path: Path) -> None:
    import torch

    onnx = zoo.make_doubling(tmp_path / "none.onnx", ("n", 10))
    ranges = {f"{bound}_shapes": {"image": (n, 10)} for bound, n in (("min", 0), ("max", 4))}
    with trtfast.Engine(trtfast.build(onnx, **ranges)) as engine:  # type: ignore[arg-type]
        nothing = engine.infer(torch.zeros((0, 10), device="cuda"))
        assert trtfast.softmax(nothing).copy_to_host().shape == (0, 10)
        assert trtfast.sigmoid(nothing).copy_to_host().shape == (0, 10)
        assert trtfast.top_k(nothing) == []
