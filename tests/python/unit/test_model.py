from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import plans
import tiny
import trtfast
from trtfast import model
from trtfast.errors import BuildError, InputError
from trtfast.spec import TensorSpec


def external(folder: Path, *, seed: int = 0) -> Path:
    """Save a model whose large weight lies in a file of its own."""
    path = folder / "external.onnx"
    made = tiny.dense("batch", 64, width=32, seed=seed)
    onnx.save(made, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (folder / "w.bin").stat().st_size == 64 * 32 * 4
    return path


def build(data: bytes, location: str) -> tuple[list[tuple[str, list[str]]], int]:
    """Build with TensorRT; return the layers, and the size of the plan."""
    profile = {"x": ((1, 64), (2, 64), (4, 64))}
    built, plan = plans.build(data, location, [profile])
    layers = [(layer.name, list(layer.outputs)) for layer in built.layers]
    return layers, len(plan)


def test_a_model_is_given_back() -> None:
    made = tiny.dense()
    read, path = model.read(made)
    assert read is made
    assert path is None


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_read(kind: type[str | Path], tmp_path: Path) -> None:
    onnx.save(tiny.dense(), tmp_path / "model.onnx")
    assert model.read(kind(tmp_path / "model.onnx")) == (tiny.dense(), tmp_path / "model.onnx")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no ONNX file .*none\.onnx"):
        model.read(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="there is no ONNX file"):
        model.read(tmp_path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = tiny.dense().SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BuildError, match=r"cut\.onnx (?s:.)*Export it\s+again"):
            model.read(path)


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"not a model", bytes(range(256)) * 8])
def test_a_file_of_something_else_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    with pytest.raises(BuildError, match=r"other\.onnx"):
        model.read(path)


def test_external_weights_are_read(tmp_path: Path) -> None:
    read, _ = model.read(external(tmp_path))
    expected = numpy_helper.to_array(tiny.weight("w", 64, 32))
    np.testing.assert_array_equal(numpy_helper.to_array(read.graph.initializer[0]), expected)


@pytest.mark.parametrize("keep", [None, 0, 100])
def test_missing_or_short_external_weights(keep: int | None, tmp_path: Path) -> None:
    path = external(tmp_path)
    weights = tmp_path / "w.bin"
    data = weights.read_bytes()
    weights.unlink()
    if keep is not None:
        weights.write_bytes(data[:keep])
    with pytest.raises(BuildError, match="external weights missing"):
        trtfast.build(path)
    assert not path.with_suffix(".engine").exists()


def test_specs() -> None:
    made = tiny.model_of(
        [helper.make_node("Identity", ["x"], ["y"])],
        [
            tiny.value("x", "batch", 3, dtype=TensorProto.BFLOAT16),
            tiny.value("scalar", dtype=TensorProto.INT64),
            tiny.value("w", 2),  # before ONNX's IR 4, weights were inputs too
        ],
        [tiny.value("y", "batch", 3, dtype=TensorProto.BFLOAT16)],
        [tiny.weight("w", 2)],
    )
    made.graph.output[0].type.tensor_type.shape.dim[1].Clear()  # neither a size nor a name
    inputs, outputs = model.specs(made)
    bfloat16 = np.dtype(ml_dtypes.bfloat16)
    assert inputs == (
        TensorSpec("x", bfloat16, (-1, 3)),
        TensorSpec("scalar", np.dtype(np.int64), ()),
    )
    assert outputs == (TensorSpec("y", bfloat16, (-1, -1)),)


def test_a_sequence_is_refused() -> None:
    made = tiny.dense()
    made.graph.output.append(
        helper.make_tensor_sequence_value_info("many", TensorProto.FLOAT, None)
    )
    with pytest.raises(BuildError, match="'many' is not a tensor"):
        model.specs(made)


@pytest.mark.parametrize("limit", [2**31 - 1, 100])
def test_hash_is_of_graph_and_weights(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above protobuf's limit, where no model can be hashed in one piece, as below it."""
    monkeypatch.setattr(model, "_LARGEST", limit)
    base = tiny.dense("batch", 64, width=32)
    same = tiny.dense("batch", 64, width=32)
    assert model.sha256(base) == model.sha256(same)

    other_weights = tiny.dense("batch", 64, width=32, seed=1)
    other_graph = tiny.dense("batch", 64, width=32)
    other_graph.graph.node[1].op_type = "Sigmoid"
    hashes = {model.sha256(each) for each in (base, other_weights, other_graph)}
    assert len(hashes) == 3


def test_hash_is_of_external_weights_too(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, _ = model.read(external(tmp_path / "a"))
    second, _ = model.read(external(tmp_path / "b", seed=1))
    assert first.graph.node == second.graph.node
    assert model.sha256(first) != model.sha256(second)
    assert model.sha256(first) == model.sha256(model.read(tmp_path / "a" / "external.onnx")[0])


def test_small_model_is_one_piece() -> None:
    made = tiny.dense()
    with model.serialised(made) as (data, location):
        assert onnx.load_from_string(data) == made
        assert location == ""


@pytest.mark.parametrize("raw", [True, False])
def test_large_model_has_its_weights_beside_it(raw: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tiny.dense("batch", 64, width=32)
    if not raw:
        values = numpy_helper.to_array(made.graph.initializer[0])
        typed = helper.make_tensor("w", TensorProto.FLOAT, values.shape, values.ravel())
        made.graph.initializer[0].CopyFrom(typed)
    before = made.SerializeToString()
    monkeypatch.setattr(model, "_LARGEST", 100)
    with model.serialised(made) as (data, location):
        assert len(data) < 1000
        folder = Path(location).parent
        light = onnx.load_from_string(data)
        onnx.load_external_data_for_model(light, str(folder))
        np.testing.assert_array_equal(
            numpy_helper.to_array(light.graph.initializer[0]),
            numpy_helper.to_array(made.graph.initializer[0]),
        )
        layers, size = build(data, location)
    assert not folder.exists()
    assert made.SerializeToString() == before  # the caller's model keeps its weights

    inside_layers, inside_size = build(before, "")
    assert layers == inside_layers
    assert size == pytest.approx(inside_size, rel=0.02)


def test_folder_of_weights_is_removed_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_LARGEST", 100)
    folders = []

    def fail() -> None:
        with model.serialised(tiny.dense()) as (_, location):
            folders.append(Path(location).parent)
            assert folders[0].is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not folders[0].exists()


def test_large_model_builds_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_LARGEST", 100)
    made = tiny.dense("batch", 64, width=32)
    built = [
        trtfast.build(made, tmp_path / f"{index}.engine", precision="fp32") for index in (1, 2)
    ]
    hashes = [trtfast.Passport.of(plan).onnx_sha256 for plan in built]  # type: ignore[union-attr]
    assert hashes == [model.sha256(made)] * 2
