"""On a GPU: a real plan behind a description of Ultralytics, wherever in memory that puts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import plans
import trtfast
import zoo

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]

METADATA = {
    "task": "classify",
    "imgsz": [224, 224],
    "names": {str(index): f"class {index}" for index in range(1000)},
}


@pytest.mark.parametrize("as_bytes", [False, True], ids=["path", "bytes"])
@pytest.mark.parametrize("padding", range(8))
def test_it_gives_the_bits_of_the_plan_alone(
    padding: int, as_bytes: bool, engine_of: Callable[[str], Path], tmp_path: Path
) -> None:
    source = engine_of("mobilenet_v3_large")
    metadata = METADATA | {"description": "x" * padding}
    path = tmp_path / "yolo.engine"
    path.write_bytes(plans.of_ultralytics(source.read_bytes(), metadata))
    inputs = zoo.images()
    with (
        trtfast.Engine(source) as plain,
        trtfast.Engine(path.read_bytes() if as_bytes else path) as engine,
    ):
        assert engine.metadata == metadata
        assert engine.classes is not None
        assert engine.classes[7] == "class 7"
        wanted, given = plain.infer(inputs), engine.infer(inputs)
        assert all(given[name].tobytes() == wanted[name].tobytes() for name in wanted)
        photograph = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
        assert engine.preprocess is not None
        prepared = engine.infer(engine.preprocess(photograph))
        np.testing.assert_allclose(engine.infer_images(photograph), prepared, rtol=1e-2, atol=1e-2)
