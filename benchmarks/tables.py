"""The two tables, answers and speed, of real models: PyTorch and engines in each precision.

    python benchmarks/tables.py --output benchmarks/results/tables-h100.json

Of it, tools/results.py makes docs/results.md. It needs a GPU and the extra demo.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from numpy.typing import NDArray

import trtfast
from trtfast.cli.models import load_model

MODELS = ("efficientnet_lite0", "resnet50", "vit_b_16")
PRECISIONS = ("fp32", "fp16", "bf16")
BATCHES = (1, 8, 32)
# Of people, animals and things, which is what a classifier of ImageNet is for. Of a retina or the
# moon, which none of its classes fits, float16 moves confidences by 8e-3, in PyTorch too.
PHOTOGRAPHS = (
    *("astronaut.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png"),
    *("motorcycle_left.png", "rocket.jpg"),
)

Photograph = NDArray[np.uint8]


def views() -> list[Photograph]:
    """Each photograph of scikit-image's whole and mirrored."""
    folder = Path(skimage.__file__).parent / "data"
    photos = [trtfast.read_image(folder / name) for name in PHOTOGRAPHS]
    return [view for photo in photos for view in (photo, np.ascontiguousarray(photo[:, ::-1]))]


def compare(name: str, folder: Path, seconds: float, compiled: bool) -> dict[str, Any]:
    model = load_model(name)
    photographs = views()
    rows = model.preprocess(photographs)
    # In calls of a size that is timed too: torch.compile works for each size by itself.
    samples = [rows[start : start + 8] for start in range(0, len(rows), 8)]
    onnx = trtfast.export(
        model.module, model.sample, folder / f"{name}.onnx", input_names=["image"]
    )
    with ExitStack() as stack:
        engines = {}
        for precision in PRECISIONS:
            plan = trtfast.build(
                onnx,
                folder / f"{name}.{precision}.engine",
                precision=precision,
                buckets=BATCHES,
                min_shapes={"image": (1, 3, *model.preprocess.size)},
                max_shapes={"image": (max(BATCHES), 3, *model.preprocess.size)},
                preprocess=model.preprocess,
                classes=model.classes,
            )
            print(f"{name}: {plan.name}", flush=True)
            engines[f"engine {precision}"] = stack.enter_context(trtfast.Engine(plan))
        report = trtfast.compare(
            model.module,
            engines,
            samples,
            images=photographs,
            batches=BATCHES,
            compiled=compiled,
            classes=model.classes,
            seconds=seconds,
        )
    found = report.to_dict() | {"model": name, "weights": model.note, "rows": len(rows)}
    for contender in found["contenders"]:
        del contender["layers"]  # a question of its own, and most of the file
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each at each batch size")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    arguments = parser.parse_args()
    found = {"command": shlex.join(["python", *sys.argv]), "models": []}
    with tempfile.TemporaryDirectory(prefix="trtfast-") as folder:
        for name in arguments.models:
            found["models"].append(
                compare(name, Path(folder), arguments.seconds, not arguments.no_compile)
            )
            arguments.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
