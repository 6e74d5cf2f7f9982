"""The peaks of GPUs, and where a layer is under them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recorded
from trtfast.profiling import Roof

# TFLOP/s that NVIDIA's data sheets and white papers give, without sparsity, and the boost clocks
# that they are of.
PUBLISHED = {
    "T4": (75, 40, 1590, {"float16": 65, "int8": 130, "float32": 8.1}),
    "A100 SXM": (80, 108, 1410, {"float16": 312, "bfloat16": 312, "float32": 156, "int8": 624}),
    "A40": (86, 84, 1740, {"float16": 149.7, "bfloat16": 149.7, "float32": 74.8, "int8": 299.3}),
    "L4": (89, 58, 2040, {"float16": 121, "float8_e4m3fn": 242, "int8": 242, "float32": 60}),
    "H100 SXM": (
        *(90, 132, 1830),
        {"float16": 989.4, "bfloat16": 989.4, "float32": 494.7, "float8_e4m3fn": 1978.9},
    ),
    "RTX 5090": (
        *(120, 170, 2407),
        {"float16": 419, "float8_e4m3fn": 838, "int8": 838, "float4_e2m1fn": 1676},
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_peaks_are_those_that_nvidia_publishes(name: str) -> None:
    capability, multiprocessors, clock, published = PUBLISHED[name]
    gpu = recorded.h100(
        compute_capability=capability, multiprocessors=multiprocessors, clock_mhz=clock
    )
    compute = Roof.of(gpu).compute
    for dtype, tflops in published.items():
        assert compute[dtype] / 1e12 == pytest.approx(tflops, rel=0.015), dtype


def test_bandwidth_is_that_of_the_memory() -> None:
    roof = Roof.of(recorded.h100())
    assert roof.bandwidth == pytest.approx(3.35e12, rel=1e-3)


def test_float32_may_be_tf32() -> None:
    without, maybe, known = (
        Roof.of(recorded.h100(clock_mhz=1980), tf32=tf32).compute for tf32 in (False, None, True)
    )
    assert without["float32"] == pytest.approx(66.9e12, rel=1e-3)
    assert maybe == known
    assert known["float32"] == 8 * without["float32"]
    assert "tf32" not in known
    turing = recorded.h100(compute_capability=75)
    assert Roof.of(turing, tf32=True) == Roof.of(turing, tf32=False)


def test_what_is_not_known_is_none() -> None:
    assert Roof.of(recorded.h100(compute_capability=121)).compute == {}
    assert Roof.of(recorded.h100(clock_mhz=0)).compute == {}
    assert Roof.of(recorded.h100(memory_bus_bits=0)).bandwidth is None
    roof = Roof(1e12, {"float16": 1e15})
    assert roof.position(1.0, None, 1, "float16") is None
    assert roof.position(1.0, 1, None, "float16") is None
    assert roof.position(1.0, 1, 1, "int8") is None
    assert roof.position(1.0, 1, 1, None) is None
    assert roof.position(0.0, 1, 1, "float16") is None
    assert Roof(None, {"float16": 1e15}).position(1.0, 1, 1, "float16") is None


def test_position() -> None:
    roof = Roof(1e12, {"float16": 1e15})
    moving = roof.position(2.0, 10**9, 10**11, "float16")
    assert moving is not None
    assert (moving.bound, moving.share) == ("memory", pytest.approx(0.5))
    computing = roof.position(4.0, 10**9, 2 * 10**12, "float16")
    assert computing is not None
    assert (computing.bound, computing.share) == ("compute", pytest.approx(0.5))
    nothing = roof.position(4.0, 10**9, 0, "bool")
    assert nothing is not None
    assert nothing.bound == "memory"


@given(
    milliseconds=st.floats(1e-4, 1e3),
    nbytes=st.integers(1, 10**12),
    flops=st.integers(0, 10**15),
)
def test_share_is_the_least_time_by_the_time(milliseconds: float, nbytes: int, flops: int) -> None:
    roof = Roof.of(recorded.h100())
    position = roof.position(milliseconds, nbytes, flops, "float16")
    assert position is not None
    assert roof.bandwidth is not None
    ridge = roof.compute["float16"] / roof.bandwidth
    assert position.bound == ("compute" if flops / nbytes > ridge else "memory")
    reached = (
        flops / roof.compute["float16"] if position.bound == "compute" else nbytes / roof.bandwidth
    ) / (milliseconds / 1e3)
    assert position.share == pytest.approx(reached)
