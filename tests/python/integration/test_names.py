"""Models whose names are damaged: a build says so, with an error of trtfast's, or succeeds."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

import plans
import tiny
import trtfast
from trtfast.errors import BuildError

WHOLE = tiny.dense(2, 8).SerializeToString()
NAMES = [b"project", b"clip", b"product", b"MatMul", b"Relu", b"tiny"]

often = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Give a model some of whose names, or mentions of them, are other bytes of equal length."""
    model = WHOLE
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)):
        other = draw(st.binary(min_size=len(name), max_size=len(name)))
        model = model.replace(name, other, draw(st.sampled_from([1, -1])))
    return model


def build(data: bytes) -> list[str]:
    """Build past the checks in Python, and return the names of the layers."""
    return [layer.name for layer in plans.build(data)[0].layers]


@often
@given(data=damaged())
def test_build_ends_in_an_engine_or_an_error_of_ours(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(data)
    try:
        trtfast.build(path)
    except trtfast.Error as error:
        assert str(error)  # noqa: PT017 - there need be none
    assert not list(tmp_path.glob("*.partial"))


@often
@given(data=damaged())
def test_core_ends_in_layers_or_an_error_of_ours(data: bytes) -> None:
    try:
        assert all(isinstance(name, str) for name in build(data))
    except BuildError as error:
        assert str(error)  # noqa: PT017 - there need be none


def test_name_that_is_not_utf8_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(WHOLE.replace(b"project", b"pr\xffject"))
    with pytest.raises(BuildError, match=r"damaged\.onnx has the name b'pr\\xffject'.*Export"):
        trtfast.build(path)


def test_name_inside_a_branch_is_found() -> None:
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["deep"], name="branch")],
        "inner", [], [tiny.value("deep", 1, 4)],
    )  # fmt: skip
    node = helper.make_node("If", ["c"], ["y"], name="if", then_branch=inner, else_branch=inner)
    inputs = [tiny.value("c", dtype=9), tiny.value("x", 1, 4)]
    model = tiny.model_of([node], inputs, [tiny.value("y", 1, 4)])
    damaged = type(model).FromString(
        model.SerializeToString().replace(b"branch\x22", b"br\xffnch\x22")
    )
    with pytest.raises(BuildError, match=r"the model has the name b'br\\xffnch'"):
        trtfast.build(damaged, "never.engine")


def test_core_replaces_what_is_not_utf8(caplog: pytest.LogCaptureFixture) -> None:
    assert "pr�ject" in build(WHOLE.replace(b"project", b"pr\xffject"))
    unknown = WHOLE.replace(b"project", b"pr\xffject").replace(b"MatMul", b"NoSuch")
    with caplog.at_level(logging.ERROR, "trtfast.tensorrt"), pytest.raises(BuildError) as caught:
        build(unknown)
    assert caught.value.node == "pr�ject"
    assert "pr�ject" in str(caught.value)
