"""On a GPU: arrays that are there already, from torch and CuPy, and streams."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import trtfast
import zoo

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]


def small_rows() -> np.ndarray:
    """Rows that half precision holds without rounding when they are 10 times as large, too."""
    return zoo.rows(6) // 8


def test_torch_arrays_in_and_out_without_copies(engine: trtfast.Engine) -> None:
    import torch

    batch = torch.from_numpy(small_rows()).cuda()
    held = []
    for factor in (1, 3, 5):
        out = engine.infer(batch * factor)
        pointer = out.__cuda_array_interface__["data"][0]
        tensor = torch.from_dlpack(out)
        assert tensor.data_ptr() == pointer
        assert tensor.device.type == "cuda"
        held.append((factor, tensor))
    for factor, tensor in held:  # each has memory of its own
        assert np.array_equal(tensor.cpu().numpy(), 2 * factor * small_rows())
    assert np.array_equal(batch.cpu().numpy(), small_rows())


def test_cupy_arrays_in_and_out_without_copies(engine: trtfast.Engine) -> None:
    cupy = pytest.importorskip("cupy")
    out = engine.infer(cupy.asarray(zoo.rows(6)))
    array = cupy.from_dlpack(out)
    assert array.data.ptr == out.__cuda_array_interface__["data"][0]
    assert np.array_equal(cupy.asnumpy(array), 2 * zoo.rows(6))
    assert np.array_equal(cupy.asnumpy(cupy.asarray(out)), 2 * zoo.rows(6))


def test_device_answers_are_the_bits_of_host_answers(engine_of: Callable[[str], Path]) -> None:
    import torch

    inputs = zoo.CASES["two_in_two_out"].inputs()
    with trtfast.Engine(engine_of("two_in_two_out")) as engine:
        wanted = engine.infer(inputs)
        given = engine.infer({k: torch.from_numpy(v).cuda() for k, v in inputs.items()})
        assert given.keys() == wanted.keys()
        for name, array in wanted.items():
            assert torch.from_dlpack(given[name]).cpu().numpy().tobytes() == array.tobytes()


def test_a_producers_stream_is_waited_for(engine: trtfast.Engine) -> None:
    import torch

    engine.warmup((6, 8))
    batch = torch.zeros((6, 8), device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        for value in (1.0, 2.0, 3.0):
            torch.cuda._sleep(50_000_000)  # some 30 ms, in which the old value would be read
            batch.fill_(value)
            given = torch.from_dlpack(engine.infer(batch))
            assert (given == 2 * value).all().item()


def test_a_callers_stream_is_enqueued_on_and_not_waited_for(engine: trtfast.Engine) -> None:
    import torch

    batch = torch.zeros((6, 8), device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        engine.infer(batch, stream=stream)  # so that nothing is made ready below
    torch.cuda.synchronize()
    for handle in (stream, stream.cuda_stream):
        with torch.cuda.stream(stream):
            torch.cuda._sleep(500_000_000)
            batch.fill_(7)
            out = engine.infer(batch, stream=handle)
            assert not stream.query()  # returned before its turn has come
            given = torch.from_dlpack(out)
            batch.fill_(0)  # after the engine has read it
            assert (given == 14).all().item()


def test_a_cupy_stream_is_enqueued_on(engine: trtfast.Engine) -> None:
    cupy = pytest.importorskip("cupy")
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        for factor in (1, 2, 3):
            batch = cupy.asarray(small_rows()) * factor
            out = engine.infer(batch, stream=stream)
            given = cupy.from_dlpack(out) + 1
            assert np.array_equal(cupy.asnumpy(given), 2 * factor * small_rows() + 1)


def test_device_arrays_outlive_their_engine(doubling: Path) -> None:
    import torch

    with trtfast.Engine(doubling) as engine:
        out = engine.infer(torch.from_numpy(zoo.rows(6)).cuda())
    assert np.array_equal(torch.from_dlpack(out).cpu().numpy(), 2 * zoo.rows(6))


def test_device_arrays_of_the_wrong_kind_are_refused(engine: trtfast.Engine) -> None:
    import torch

    for wrong, message in (
        (torch.zeros((6, 8), device="cuda", dtype=torch.float64), "float64"),
        (torch.zeros((6, 9), device="cuda"), r"\(6, 9\)"),
        (torch.zeros((33, 8), device="cuda"), "profile"),
    ):
        with pytest.raises(trtfast.InputError, match=message):
            engine.infer(wrong)
    assert np.array_equal(engine.infer(zoo.rows(6)), 2 * zoo.rows(6))
