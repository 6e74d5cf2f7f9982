"""How far is the GPU's preprocessing from the CPU's, over random images, for each interpolation?

    python benchmarks/parity.py --output benchmarks/results/preprocess-parity-h100.json

Needs a GPU, or the stand-in of one: ``tests/python/standin/conftest.py`` says how to run with it.
``tools/preprocess_table.py`` makes the table in ``docs/preprocessing.md`` of what it writes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import PIL

import trtfast
from trtfast import _core, backend
from trtfast.preprocess import Interpolation, Preprocess
from trtfast.preprocess.parity import Difference, parity

_SEED = 0
_LARGEST_RESULT = 640


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500, help="for each interpolation")
    parser.add_argument("--largest", type=int, nargs=2, default=(4000, 3000), help="height, width")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    found = environment() | {"seed": _SEED, "interpolations": []}
    for interpolation in get_args(Interpolation):
        row = compare(interpolation, arguments.images, tuple(arguments.largest))
        found["interpolations"].append(row)
        print(
            f"{interpolation:14} largest {row['largest_difference']:3.0f}/255, equal "
            f"{row['equal']:.4%}, and normalised {row['normalized_equal']:.4%}"
        )
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(found, indent=2) + "\n")


def environment() -> dict[str, Any]:
    """What the figures hang on."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "gpu": backend.require_gpu().name,
        "stand_in": "TRTFAST_STANDIN" in os.environ,
        "driver": _core.driver_version(),
        "machine": platform.machine(),
        "opencv": cv2.__version__,
        "ipp": bool(cv2.ipp.useIPP()) if hasattr(cv2, "ipp") else False,
        "pillow": PIL.__version__,
        "numpy": version("numpy"),
        "trtfast": trtfast.__version__,
    }


def compare(interpolation: Any, images: int, largest: tuple[int, int]) -> dict[str, Any]:
    """Compare as many random images, each with a spec of its own, of one interpolation."""
    pixels, normalized, sizes = [], [], []
    for image, size in random_cases(images, largest):
        found = parity(Preprocess(size, interpolation=interpolation), image)
        pixels.append(found.pixels)
        normalized.append(found.normalized)
        sizes.append(found.size)
    by_area = sorted(sizes, key=lambda size: (math.prod(size), size))
    whole, whole_normalized = Difference.over(pixels), Difference.over(normalized)
    return {
        "interpolation": interpolation,
        "images": images,
        "smallest": by_area[0],
        "largest": by_area[-1],
        "longest_side": max(max(size) for size in sizes),
        "largest_difference": whole.largest,
        "mean_difference": whole.mean,
        "equal": whole.equal,
        "values": whole.values,
        "images_equal": sum(part.equal == 1 for part in pixels),
        "normalized_largest": whole_normalized.largest,
        "normalized_equal": whole_normalized.equal,
    }


def random_cases(count: int, largest: tuple[int, int]) -> Iterator[tuple[Any, tuple[int, int]]]:
    """Images of 1x1 to `largest`, the same for each interpolation, and the size each is to have."""
    random = np.random.default_rng(_SEED)

    def side(limit: int) -> int:  # as often between 1 and 10 as between 100 and 1000
        return min(limit, int(math.exp(random.uniform(0, math.log(limit + 1)))))

    for index in range(count):
        height, width = (side(limit) for limit in largest)
        if index < 2:
            height, width = [(1, 1), largest][index]
        elif index % 10 == 2:  # a line
            height, width = (height, 1) if random.random() < 0.5 else (1, width)
        size = side(_LARGEST_RESULT), side(_LARGEST_RESULT)
        if index % 5 == 3:  # whole ratios, for which OpenCV's area has code of its own
            times = int(random.integers(2, 5))
            size = max(1, height // times), max(1, width // times)
            size = min(size[0], _LARGEST_RESULT), min(size[1], _LARGEST_RESULT)
            height, width = size[0] * times, size[1] * times
        if index % 3 == 0:  # black and white, where what overshoots is cut off
            bits = random.integers(0, 2, (height, width, 3), np.uint8)
            yield bits * np.uint8(255), size
        else:
            yield random.integers(0, 256, (height, width, 3), np.uint8), size


if __name__ == "__main__":
    main()
