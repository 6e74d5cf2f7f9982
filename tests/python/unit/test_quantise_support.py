"""What is refused before a build, since the TensorRT or the GPU cannot run it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import trtfast
from quantising import net
from trtfast.errors import PrecisionError
from trtfast.precision.support import require, require_layers


@dataclass
class Library:
    """What is read of ``_core.Library``, of releases that are not at hand."""

    version: str
    product: str = "TensorRT-RTX"

    @property
    def is_rtx(self) -> bool:
        return self.product == "TensorRT-RTX"

    @property
    def generation(self) -> str:
        return "rtx14" if self.version.startswith("1.4") else "rtx15"

    def supports(self, compute_capability: int) -> bool:
        return not self.is_rtx or compute_capability != 90


@dataclass
class Gpu:
    compute_capability: int


RTX_14, RTX_15, RTX_17 = (Library(f"{number}.0") for number in ("1.4.0", "1.5.0", "1.7.1"))
TENSORRT = Library("10.16.0", "TensorRT")


@pytest.mark.parametrize(
    ("precision", "device", "since"),
    [("bf16", 75, "8.0"), ("tf32", 75, "8.0"), ("fp8", 75, "8.9"), ("fp8", 86, "8.9")],
)
def test_data_type_that_a_gpu_lacks(precision: str, device: int, since: str) -> None:
    with pytest.raises(PrecisionError, match=rf"{precision} needs .* {since} .* on {device / 10}"):
        require(precision, TENSORRT, Gpu(device), ())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "mixed", "int8"])
def test_what_all_gpus_have(precision: str) -> None:
    require(precision, TENSORRT, Gpu(75), ())


@pytest.mark.parametrize("device", [89, 120])
def test_fp8_from_ada_on(device: int) -> None:
    require("fp8", RTX_15, Gpu(device), ())
    require("fp8", RTX_15, None, (device,))


def test_fp8_on_hopper_is_for_tensorrt() -> None:
    require("fp8", TENSORRT, Gpu(90), ())
    require("mixed", RTX_15, Gpu(90), ())
    with pytest.raises(PrecisionError, match=r"does not list compute capability 9\.0.*use fp16"):
        require("fp8", RTX_15, Gpu(90), ())


def test_targets_count_rather_than_the_gpu_at_hand() -> None:
    require("fp8", RTX_15, Gpu(75), (89,))
    with pytest.raises(PrecisionError, match=r"on 8\.0, 8\.6: use fp16"):
        require("fp8", RTX_15, Gpu(89), (80, 86, 89))


def test_tf32_is_not_chosen_on_rtx() -> None:
    require("tf32", TENSORRT, Gpu(89), ())
    with pytest.raises(PrecisionError, match=r"1\.5\.0\.0 decides by itself.*use fp32"):
        require("tf32", RTX_15, Gpu(89), ())


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_old_rtx_quantises_only_on_a_gpu(precision: str) -> None:
    require(precision, RTX_14, Gpu(89), ())
    with pytest.raises(PrecisionError, match=r"1\.4\.0\.0 builds quantised engines only where"):
        require(precision, RTX_14, None, ())


def test_int8_convolutions_on_rtx() -> None:
    with pytest.raises(PrecisionError, match=r"no int8 convolutions.* 1, as wide: use fp8"):
        require_layers("int8", RTX_15, net(), ())
    require_layers("int8", RTX_15, net(), {"wide"})
    require_layers("fp8", RTX_15, net(), ())
    require_layers("int8", RTX_17, net(), ())
    require_layers("int8", TENSORRT, net(), ())


def test_build_refuses_before_it_calibrates() -> None:
    def samples() -> None:
        raise AssertionError("not reached")
        yield

    with pytest.raises(PrecisionError, match=r"fp8 needs compute capability 8\.9"):
        trtfast.build(net(), "none.engine", precision="fp8", targets=[80], calibration=samples())
