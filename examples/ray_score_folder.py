"""Score a folder offline with Ray Data: read on all CPUs, run on all GPUs, written as Parquet.

    trtfast export efficientnet_lite0
    python examples/ray_score_folder.py efficientnet_lite0.onnx photos scores

What is no image has its error in the place of a class. Folders may be in a bucket, as s3://photos.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import ray

import trtfast


class Scorer:
    """An engine in a process of its own, which Ray Data keeps for many batches."""

    def __init__(self, model: str, backend: str) -> None:
        preprocess = trtfast.Preprocess()  # to 224x224, with ImageNet's mean and deviation
        self._engine = trtfast.load(model, backend=backend, preprocess=preprocess)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Give the best class of each file, or what is wrong with it."""
        files = list(batch["bytes"])
        logits, errors = self._engine.infer_images(files, on_error="skip")
        good = [index for index in range(len(files)) if index not in errors]
        index, confidence = np.full(len(files), -1), np.full(len(files), np.nan)
        for place, (best,) in zip(good, trtfast.top_k(logits, k=1), strict=True):
            index[place], confidence[place] = best.index, best.confidence
        told = [str(errors.get(place, "")) for place in range(len(files))]
        return {"path": batch["path"], "index": index, "confidence": confidence, "error": told}


def located(place: str) -> str:
    """Return an address, or a path as it is for processes that began in another folder."""
    return place if "://" in place else str(Path(place).resolve())


def main() -> None:
    """Score the folder."""
    parser = argparse.ArgumentParser(description="Classify a folder of images with Ray Data.")
    parser.add_argument("model", help="an ONNX model or an engine")
    parser.add_argument("folder")
    parser.add_argument("output")
    parser.add_argument("--batch", type=int, default=32)
    asked = parser.parse_args()
    ray.init()
    gpus = int(ray.cluster_resources().get("GPU", 0))
    files = ray.data.read_binary_files(located(asked.folder), include_paths=True)
    scores = files.map_batches(
        Scorer,
        fn_constructor_args=(located(asked.model), "auto" if gpus else "reference"),
        batch_size=asked.batch,
        concurrency=max(gpus, 1),
        num_gpus=1 if gpus else 0,
    )
    scores.write_parquet(located(asked.output))


if __name__ == "__main__":
    main()
