"""``trtfast.check``: a verdict on a plan before TensorRT sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import trtfast
from trtfast import _core, backend, passport


@pytest.fixture
def plan(engine_of: Callable[[str], Path], tmp_path: Path) -> Path:
    source = engine_of("two_in_two_out")
    copy = tmp_path / "model.engine"
    copy.write_bytes(source.read_bytes())
    passport.path_of(copy).write_text(passport.path_of(source).read_text())
    return copy


def test_own_plan(plan: Path) -> None:
    verdict = trtfast.check(plan)
    library = backend.select()
    assert (verdict.product, verdict.version) == (library.product, library.version)
    if _core.devices()[0]:
        assert not any("needs" in problem for problem in verdict.problems)
    else:
        assert verdict.problems == ("there is no GPU 0 here",)
        assert not verdict.loads


def test_plan_that_is_cut_short(plan: Path) -> None:
    whole = plan.read_bytes()
    plan.write_bytes(whole[:-1])
    verdict = trtfast.check(plan)
    assert verdict.problems == (f"it is cut short: {len(whole) - 1} of {len(whole)} bytes",)
    assert verdict.advice is not None
    assert "again" in verdict.advice


def test_plan_that_is_not_its_passports(plan: Path) -> None:
    whole = plan.read_bytes()
    plan.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert trtfast.check(plan).problems == ("it is not the plan that its passport describes",)


def test_plan_of_tensorrt_10_16(tmp_path: Path) -> None:
    header = b"ftrt" + bytes(20) + bytes([10, 16, 1, 11]) + bytes(36)
    path = tmp_path / "model.plan"
    path.write_bytes(header)
    verdict = trtfast.check(path)
    assert (verdict.product, verdict.version) == ("TensorRT", "10.16.1.11")
    assert "10.16.1.11" in verdict.problems[0]
    assert "ONNX" in str(verdict.advice)


def test_what_is_no_plan(tmp_path: Path) -> None:
    with pytest.raises(trtfast.InputError, match="no engine file"):
        trtfast.check(tmp_path / "missing.engine")
    path = tmp_path / "model.engine"
    path.write_bytes(b"something else" * 10)
    with pytest.raises(trtfast.EngineIncompatibleError, match="not a TensorRT plan"):
        trtfast.check(path)
