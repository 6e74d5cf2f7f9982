"""A plan of another TensorRT is built again from its ONNX model, or it is said why not."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

import plans
import tiny
import trtfast
from trtfast import _core, backend, cache, passport, rebuild
from trtfast.errors import EngineIncompatibleError, InputError, UnsupportedDeviceError
from trtfast.passport import Header, Passport

without_gpu = pytest.mark.skipif(bool(_core.devices()[0]), reason="there is a GPU")

pytestmark = pytest.mark.skipif(
    not backend.select().is_rtx, reason="TensorRT builds on a GPU only; tests/python/gpu has one"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTFAST_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., Path]:
    """Return what builds ``dense.engine`` beside ``dense.onnx``."""

    def make(**options: Any) -> Path:
        onnx.save(tiny.dense(), tmp_path / "dense.onnx")
        return trtfast.build(tmp_path / "dense.onnx", **options)

    return make


def refusal(plan: Path, **options: Any) -> str:
    with pytest.raises(EngineIncompatibleError) as caught:
        rebuild.resolve(plan, **options)
    assert cache.entries() == []
    return str(caught.value)


def test_plan_that_can_be_loaded_stays(built: Callable[..., Path]) -> None:
    plan = built()
    assert rebuild.resolve(plan) == plan
    assert cache.entries() == []


def test_plan_of_another_version_is_built_again(
    built: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    plan = plans.of_other(built())
    with caplog.at_level(logging.INFO, "trtfast"):
        again = rebuild.resolve(plan)
    library = backend.select()
    assert [entry.path for entry in cache.entries()] == [again]
    header = Header.of(again.read_bytes())
    assert header is not None
    assert header.version == library.version
    (record,) = [record for record in caplog.records if record.name == "trtfast"]
    assert record.getMessage() == (
        f"{plan} cannot be loaded here: it needs TensorRT-RTX {plans.OTHER}, and {library.product} "
        f"{library.version} would load it. It is built again from {plan.with_suffix('.onnx')}"
    )


def test_it_is_built_once(built: Callable[..., Path]) -> None:
    plan = plans.of_other(built())
    record = passport.path_of(rebuild.resolve(plan))
    written = record.stat().st_mtime_ns
    assert passport.path_of(rebuild.resolve(plan)) == record
    assert record.stat().st_mtime_ns == written


def test_options_are_those_of_the_passport(built: Callable[..., Path]) -> None:
    ranges = [
        trtfast.ShapeRange((1, 8), (1, 8), (1, 8)),
        trtfast.ShapeRange((2, 8), (16, 8), (64, 8)),
    ]
    preprocess = trtfast.Preprocess((16, 16))
    plan = plans.of_other(
        built(
            precision="bf16",
            keep_io=False,
            keep_fp32=["project"],
            optimization_level=1,
            workspace=2**28,
            profiles=[{"x": each} for each in ranges],
            preprocess=preprocess,
            classes=["a", "b"],
        )
    )
    before, after = Passport.of(plan), Passport.of(rebuild.resolve(plan))
    assert before is not None
    assert after is not None
    for name in ("options", "inputs", "outputs", "onnx_sha256", "preprocess", "classes"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.precision["layers"] == before.precision["layers"]


def test_targets_are_not_those_of_another_gpu(built: Callable[..., Path]) -> None:
    again = Passport.of(rebuild.resolve(plans.of_other(built(targets=[89]))))
    assert again is not None
    gpus = _core.devices()[0]
    listed = gpus and backend.select().supports(gpus[0].compute_capability)
    assert again.options["targets"] == ([gpus[0].compute_capability] if listed else [])


def test_plan_of_the_other_product_is_built_again(built: Callable[..., Path]) -> None:
    again = rebuild.resolve(plans.of_other(built(), "10.16.1.11", "TensorRT"))
    assert again.read_bytes()[:4] == b"vtrt"


def test_missing_model_is_said(built: Callable[..., Path]) -> None:
    plan = plans.of_other(built())
    model = plan.with_suffix(".onnx")
    model.unlink()
    message = refusal(plan)
    assert f"{plan} cannot be loaded here: it needs TensorRT-RTX {plans.OTHER}" in message
    assert f"there is no {model}" in message
    assert "onnx=" in message
    assert "there is no elsewhere.onnx" in refusal(plan, onnx="elsewhere.onnx")


def test_another_model_is_built_from_only_where_it_is_named(built: Callable[..., Path]) -> None:
    plan = plans.of_other(built())
    model = plan.with_suffix(".onnx")
    onnx.save(tiny.dense(seed=1), model)
    message = refusal(plan)
    assert f"{model} is not the model that it was built from" in message
    assert "onnx=" in message
    again = Passport.of(rebuild.resolve(plan, onnx=model))
    known = Passport.of(plan)
    assert again is not None
    assert known is not None
    assert again.onnx_sha256 != known.onnx_sha256
    assert again.options == known.options


def test_plan_without_a_passport_cannot_be_built_again(built: Callable[..., Path]) -> None:
    plan = plans.of_other(built())
    passport.path_of(plan).unlink()
    assert "it has no passport" in refusal(plan)


def test_damaged_plan_is_left_to_the_engine(built: Callable[..., Path]) -> None:
    """Its passport tells the options of another plan."""
    plan = plans.of_other(built())
    plan.write_bytes(plan.read_bytes() + b"\0")
    assert rebuild.resolve(plan) == plan
    plan.write_bytes(b"no plan at all")
    assert rebuild.resolve(plan) == plan


def test_model_that_cannot_be_built_is_told(built: Callable[..., Path]) -> None:
    plan = plans.of_other(built())
    plan.with_suffix(".onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(trtfast.BuildError, match=r"dense\.onnx"):
        rebuild.resolve(plan)


def test_options_that_no_build_takes_are_of_a_newer_format(built: Callable[..., Path]) -> None:
    plan = plans.of_other(built())
    path = passport.path_of(plan)
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"format": values["format"] + 1}))
    assert "newer trtfast" in refusal(plan)


@without_gpu
@pytest.mark.parametrize("load", [trtfast.Engine, trtfast.load])
def test_nothing_is_built_where_no_gpu_could_run_it(
    load: Callable[..., Any], built: Callable[..., Path]
) -> None:
    plan = plans.of_other(built())
    with pytest.raises(UnsupportedDeviceError, match="no GPU can be used here"):
        load(plan, rebuild=True)
    assert cache.entries() == []


def test_what_cannot_be_asked_for(built: Callable[..., Path], tmp_path: Path) -> None:
    plan = built()
    with pytest.raises(InputError, match="rebuild=True"):
        trtfast.Engine(plan, onnx=plan.with_suffix(".onnx"))
    with pytest.raises(InputError, match="needs the path of a plan"):
        trtfast.Engine(plan.read_bytes(), rebuild=True)
    with pytest.raises(InputError, match="there is no engine file"):
        trtfast.Engine(tmp_path / "none.engine", rebuild=True)
    with pytest.raises(InputError, match="build it first"):
        trtfast.Engine(plan.with_suffix(".onnx"), rebuild=True)
