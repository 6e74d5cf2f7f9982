from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnxscript import ir
from torch import nn

from trtfast._exported import check_structure
from trtfast.errors import ExportError, InputError
from trtfast.export import _free_names, export

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "model.onnx"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def dims(path: Path) -> dict[str, list[int | str]]:
    graph = onnx.load(path).graph
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.output]
    }


def run(path: Path, **feeds: torch.Tensor) -> list[np.ndarray]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: tensor.numpy() for name, tensor in feeds.items()})


class TwoInTwoOut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.linear(a) + b, (b * b).sum(-1)


class KeywordOnly(nn.Module):
    def forward(self, x: torch.Tensor, *, weight: torch.Tensor) -> torch.Tensor:
        return x * weight


class Variadic(nn.Module):
    def forward(self, *xs: torch.Tensor) -> torch.Tensor:
        return torch.cat(xs, 1)


class Nested(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, object]:
        return {"a": x + 1, "b": [x * 2, (x - 3,)]}


class WrongWhenExported(nn.Module):
    """Behaves otherwise while it is exported: always, or just for one batch size."""

    def __init__(self, batch: int | None) -> None:
        super().__init__()
        self.batch = batch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.batch is None:
            return x + 1 if torch.compiler.is_exporting() else x
        return x * (self.batch if torch.compiler.is_exporting() else x.shape[0])


class FixedBatch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.ones(2, 1)


def test_batch_of_one_is_dynamic(path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    assert export(model, torch.rand(1, 3, 8, 8), str(path)) == path
    assert dims(path) == {"input": ["batch", 3, 8, 8], "output": ["batch", 5]}
    x = torch.rand(7, 3, 8, 8)
    np.testing.assert_allclose(run(path, input=x)[0], model(x).detach(), rtol=1e-4, atol=1e-5)
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]


def test_static(path: Path) -> None:
    export(nn.Linear(4, 2), torch.rand(1, 4), path, dynamic=False)
    assert dims(path) == {"input": [1, 4], "output": [1, 2]}


def test_explicit_axes(path: Path) -> None:
    axes = {"input": {0: "n", 2: "height", 3: "width"}}
    export(nn.Conv2d(3, 4, 3, padding=1), torch.rand(1, 3, 8, 8), path, dynamic=axes)
    assert dims(path)["input"] == ["n", 3, "height", "width"]
    assert run(path, input=torch.rand(2, 3, 5, 9))[0].shape == (2, 4, 5, 9)


def test_names_follow_the_signature(path: Path) -> None:
    model = TwoInTwoOut()
    b, a = torch.rand(2, 3), torch.rand(2, 4)
    export(model, {"b": b, "a": a}, path)
    assert dims(path) == {
        "a": ["batch", 4],
        "b": ["batch", 3],
        "output_0": ["batch", 3],
        "output_1": ["batch"],
    }
    for actual, wanted in zip(run(path, a=a, b=b), model(a, b), strict=True):
        np.testing.assert_allclose(actual, wanted.detach(), rtol=1e-5)


def test_given_names(path: Path) -> None:
    args = (torch.rand(1, 4), torch.rand(1, 3))
    export(TwoInTwoOut(), args, path, input_names=["u", "v"], output_names=["p", "q"])
    assert list(dims(path)) == ["u", "v", "p", "q"]


def test_what_is_no_module(path: Path) -> None:
    with pytest.raises(InputError, match=r"model is 'model.pt'; expected a torch.nn.Module"):
        export("model.pt", torch.rand(1, 4), path)  # type: ignore[arg-type]


class NamesInside(nn.Module):
    """Its graph has values named linear, relu, mul and fc.weight."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.fc(x).relu()
        return y * 3 - 1, x


def test_names_that_are_used_inside(path: Path) -> None:
    model = NamesInside().eval()
    x = torch.rand(2, 4)
    export(model, x, path, input_names=["linear"], output_names=["relu", "fc.weight"])
    assert list(dims(path)) == ["linear", "relu", "fc.weight"]
    for actual, wanted in zip(run(path, linear=x), model(x), strict=True):
        np.testing.assert_allclose(actual, wanted.detach(), rtol=1e-5)


def test_names_that_are_used_in_a_branch() -> None:
    text = """<ir_version: 9, opset_import: ["" : 18]> g (bool c, float[2] x) => (float[2] out) {
        out = If (c) <
            then_branch = t () => (float[2] a) {b = Neg(x) a = Abs(b)},
            else_branch = e () => (float[2] d) <float k = {3.0}> {d = Mul(x, k)}>
    }"""
    for name in "abdk":
        model = ir.from_proto(onnx.parser.parse_model(text))
        model.graph.outputs[0].name = name
        _free_names(model)
        proto = ir.to_proto(model)
        onnx.checker.check_model(proto, full_check=True)
        assert [value.name for value in proto.graph.output] == [name]
        session = ort.InferenceSession(proto.SerializeToString())
        feeds = {"c": np.array(False), "x": np.ones(2, np.float32)}
        np.testing.assert_array_equal(session.run(None, feeds)[0], [3, 3])


def test_keyword_only_and_variadic(tmp_path: Path) -> None:
    x, y = torch.rand(2, 3), torch.rand(2, 3)
    export(KeywordOnly(), {"weight": y, "x": x}, tmp_path / "k.onnx")
    np.testing.assert_array_equal(run(tmp_path / "k.onnx", x=x, weight=y)[0], x * y)
    export(Variadic(), (x, y), tmp_path / "v.onnx")
    assert dims(tmp_path / "v.onnx")["xs_1"] == ["batch", 3]
    np.testing.assert_array_equal(run(tmp_path / "v.onnx", xs_0=x, xs_1=y)[0], torch.cat([x, y], 1))


def test_nested_outputs_are_flat(path: Path) -> None:
    x = torch.rand(2, 3)
    export(Nested(), x, path)
    assert list(dims(path)) == ["x", "output_0", "output_1", "output_2"]
    for actual, wanted in zip(run(path, x=x), (x + 1, x * 2, x - 3), strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_scalar_input_has_no_batch(path: Path) -> None:
    export(KeywordOnly(), {"x": torch.rand(2, 3), "weight": torch.tensor(2.0)}, path)
    assert dims(path)["weight"] == []
    assert dims(path)["x"] == ["batch", 3]


@pytest.mark.parametrize(
    ("model", "x", "element"),
    [
        (nn.Linear(4, 2).half(), torch.rand(1, 4).half(), onnx.TensorProto.FLOAT16),
        (nn.Linear(4, 2).double(), torch.rand(1, 4).double(), onnx.TensorProto.DOUBLE),
        (nn.Embedding(10, 2), torch.tensor([[1, 2, 9]]), onnx.TensorProto.INT64),
    ],
)
def test_dtypes(path: Path, model: nn.Module, x: torch.Tensor, element: int) -> None:
    export(model, x, path)
    assert onnx.load(path).graph.input[0].type.tensor_type.elem_type == element


def test_no_kernel_is_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "trtfast"):
        export(nn.Linear(4, 2).bfloat16(), torch.rand(1, 4).bfloat16(), path)
    assert "not compared with PyTorch" in caplog.text
    assert onnx.load(path).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16


def test_missing_onnxruntime_is_said(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with caplog.at_level(logging.WARNING, "trtfast"):
        export(nn.Linear(4, 2), torch.rand(1, 4), path)
    assert "pip install onnxruntime" in caplog.text
    assert path.is_file()


def test_opset(path: Path) -> None:
    export(nn.Linear(4, 2), torch.rand(1, 4), path, opset=18)
    assert onnx.load(path).opset_import[0].version == 18


def test_training_flags_are_restored(path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9), nn.BatchNorm1d(4))
    model[2].eval()
    mean = model[2].running_mean.clone()
    export(model, torch.rand(2, 4), path)
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert torch.equal(model[2].running_mean, mean)
    assert "Dropout" not in {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("batch", [None, 2])
def test_other_numbers_are_refused(path: Path, batch: int | None) -> None:
    model = WrongWhenExported(batch).train()
    with pytest.raises(ExportError, match="'scores' differs by up to 1 between ONNX and PyTorch"):
        export(model, torch.ones(2, 3), path, output_names=["scores"])
    assert list(path.parent.iterdir()) == []
    assert model.training


def test_tolerance_is_the_users(path: Path) -> None:
    export(WrongWhenExported(None), torch.ones(2, 3), path, atol=1.5)
    assert path.is_file()


def test_fixed_batch_is_refused(path: Path) -> None:
    with pytest.raises(ExportError, match="dynamic=False") as caught:
        export(FixedBatch(), torch.rand(2, 3), path)
    assert caught.value.__cause__ is not None
    assert list(path.parent.iterdir()) == []
    export(FixedBatch(), torch.rand(2, 3), path, dynamic=False)
    assert dims(path)["x"] == [2, 3]


def test_failure_leaves_the_old_file(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"old")
    with pytest.raises(ExportError):
        export(FixedBatch(), torch.rand(2, 3), path)
    assert path.read_bytes() == b"old"


def test_exporter_is_silent(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Branch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(ExportError, match=r"torch\.where"):
        export(Branch(), torch.rand(2, 3), path, dynamic=False)
    export(nn.Linear(4, 2), torch.rand(1, 4), path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((torch.rand(2, 4),), {}, "do not fit TwoInTwoOut.forward"),
        ((torch.rand(2, 4), 1.0), {}, "'b' is a float"),
        ((torch.rand(2, 4), torch.rand(1, 3)), {}, "differ in axis 0 .a:2x4, b:1x3"),
        ((torch.rand(2, 4), torch.rand(2, 3)), {"input_names": ["a"]}, "1 names.*2 tensors"),
        ((torch.rand(2, 4), torch.rand(2, 3)), {"output_names": ["o"]}, "gives 2 tensors"),
        ((torch.rand(2, 4), torch.rand(2, 3)), {"output_names": ["o", "o"]}, "is named 'o'"),
        ((torch.rand(2, 4), torch.rand(2, 3)), {"output_names": ["a", "o"]}, "is named 'a'"),
        ((torch.rand(2, 4), torch.rand(2, 3)), {"dynamic": {"c": {0: "n"}}}, "'c'.*are a, b"),
        ((torch.rand(2, 4), torch.rand(2, 3)), {"dynamic": {"a": {2: "n"}}}, "axis 2 of 'a'"),
    ],
)
def test_wrong_arguments(
    path: Path, args: tuple[torch.Tensor, ...], options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export(TwoInTwoOut(), args, path, **options)
    assert not path.exists()


@pytest.mark.parametrize(
    ("names", "axes", "message"),
    [
        (["x"], [{0: "batch"}], "exported as 4: the model fixes its size"),
        (["x"], [{1: "batch"}], "under the name 'batch', but was exported as 'n'"),
        (["x", "y"], [{}, {}], "has the inputs x, not x, y"),
    ],
)
def test_structure_is_checked(
    tmp_path: Path, names: list[str], axes: list[dict[int, str]], message: str
) -> None:
    text = "g (float[4, n] x) => (float[4, n] y) {y = Relu(x)}"
    text = f'<ir_version: 9, opset_import: ["" : 18]> {text}'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    check_structure(tmp_path / "m.onnx", ["x"], [{1: "n"}])
    with pytest.raises(ExportError, match=message):
        check_structure(tmp_path / "m.onnx", names, axes)


def test_torchvision_model(path: Path) -> None:
    from torchvision.models import mobilenet_v3_small

    model = mobilenet_v3_small().eval()
    x = torch.rand(1, 3, 64, 64)
    export(model, x, path)
    assert dims(path) == {"x": ["batch", 3, 64, 64], "output": ["batch", 1000]}
    np.testing.assert_allclose(run(path, x=x)[0], model(x).detach(), rtol=1e-3, atol=1e-5)


def test_import_is_light() -> None:
    program = (
        "import sys, trtfast.export, trtfast.precision;"
        "print(sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
