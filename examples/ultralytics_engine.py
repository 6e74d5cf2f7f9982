"""Run an engine that Ultralytics exported: a classifier, or a detector.

    yolo export model=yolo11n.pt format=engine
    python examples/ultralytics_engine.py yolo11n.engine street.jpg

Task, names, and how images are prepared come from the description that the file begins with.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import trtfast

Floats = npt.NDArray[np.floating[Any]]
Box = tuple[int, float, list[float]]


def boxes_of(rows: Floats, least: float = 0.25, overlap: float = 0.7) -> Iterator[Box]:
    """Give class, confidence, and left, top, width and height of what a detector found.

    The rows are the boxes' centres (x, y), widths and heights, and a score for each class.
    """
    scores = rows[4:]
    best = scores.argmax(axis=0)
    confidence = scores.max(axis=0).astype(float)
    x, y, width, height = rows[:4].astype(float)
    boxes = np.stack([x - width / 2, y - height / 2, width, height], axis=1)
    found = cv2.dnn.NMSBoxesBatched(
        boxes.tolist(), confidence.tolist(), best.tolist(), least, overlap
    )
    for index in found:
        yield int(best[index]), float(confidence[index]), boxes[index].tolist()


def main() -> None:
    """Print what is seen in each photograph."""
    parser = argparse.ArgumentParser(description="Run an engine of Ultralytics.")
    parser.add_argument("engine", type=Path)
    parser.add_argument("photographs", type=Path, nargs="+")
    asked = parser.parse_args()
    with trtfast.Engine(asked.engine) as engine:
        told, names, preprocess = engine.metadata or {}, engine.classes, engine.preprocess
        is_known = told.get("task") in ("classify", "detect") and not told.get("end2end")
        if names is None or preprocess is None or not is_known:
            sys.exit(f"{asked.engine} is not described as a classifier or detector of Ultralytics")
        for path in asked.photographs:
            image = trtfast.read_image(path)
            (output,) = engine.infer_images(image)
            if told["task"] == "classify":  # its outputs are probabilities already
                shares = output.reshape(len(names))
                best = shares.argmax()
                print(f"{path.name}: {names[best]}, {shares[best]:.2%}")
                continue
            # From the letterbox back to the photograph.
            (resized, _), (top, left) = preprocess.geometry(*image.shape[:2])
            scale = image.shape[0] / resized
            rows = output.reshape(4 + len(names), -1)
            for index, confidence, (x, y, width, height) in boxes_of(rows):
                box = [scale * each for each in (x + left, y + top, width, height)]
                where = ", ".join(f"{each:.0f}" for each in box)
                print(f"{path.name}: {names[index]}, {confidence:.2%}, at {where}")


if __name__ == "__main__":
    main()
