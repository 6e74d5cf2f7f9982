"""Which ONNX model a plan's operations are counted by."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

import tiny
import trtfast
from trtfast.errors import BuildError, InputError
from trtfast.passport import Passport
from trtfast.profiling.run import _source


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense")
    onnx.save(tiny.dense(), folder / "dense.onnx")
    return trtfast.build(folder / "dense.onnx")


def opened(plan: Path | None, known: Passport | None) -> Any:
    """What is read of an Engine, which only a GPU can load."""
    return SimpleNamespace(path=plan, passport=known, inputs=(SimpleNamespace(name="x"),))


@pytest.fixture
def engine(built: Path) -> Any:
    return opened(built, Passport.of(built))


def test_the_model_beside_the_plan(engine: Any) -> None:
    found = _source(engine, None)
    assert found is not None
    assert [node.name for node in found.graph.node] == ["project", "clip"]


def test_the_model_that_is_given(engine: Any, tmp_path: Path) -> None:
    onnx.save(tiny.dense(), tmp_path / "moved.onnx")
    assert _source(engine, tmp_path / "moved.onnx") is not None
    assert _source(engine, tiny.dense()) is not None
    assert _source(opened(None, None), tiny.dense()) is not None  # no passport to say no


def test_a_model_beside_that_is_another_is_not_used(built: Path, tmp_path: Path) -> None:
    plan = tmp_path / "dense.engine"
    known = Passport.of(built)
    engine = opened(plan, known)
    assert _source(engine, None) is None  # there is none
    onnx.save(tiny.dense(seed=1), tmp_path / "dense.onnx")
    assert _source(engine, None) is None
    (tmp_path / "dense.onnx").write_bytes(b"damaged")
    assert _source(engine, None) is None
    onnx.save(tiny.dense(), tmp_path / "dense.onnx")
    assert _source(engine, None) is not None
    assert _source(opened(plan, None), None) is None
    assert _source(opened(None, known), None) is None


def test_a_model_that_is_given_and_another_is_refused(engine: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this model is not the model that the engine was built"):
        _source(engine, tiny.dense(seed=1))
    onnx.save(tiny.dense(seed=1), tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"other\.onnx is not the model .* leave onnx= out"):
        _source(engine, tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"it takes \['a', 'b'\], and the engine \['x'\]"):
        _source(opened(None, None), _two())
    with pytest.raises(InputError, match="there is no ONNX file"):
        _source(engine, tmp_path / "missing.onnx")
    (tmp_path / "damaged.onnx").write_bytes(b"damaged")
    with pytest.raises(BuildError, match="cannot be read"):
        _source(engine, tmp_path / "damaged.onnx")


def _two() -> onnx.ModelProto:
    node = onnx.helper.make_node("Add", ["a", "b"], ["y"], name="add")
    return tiny.model_of([node], [tiny.value("a", 1), tiny.value("b", 1)], [tiny.value("y", 1)])
