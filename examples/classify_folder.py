"""Classify the images of a folder in batches, into a table.

    trtfast export efficientnet_lite0
    python examples/classify_folder.py efficientnet_lite0.onnx photos --names names.txt

What is no image is told of, and left out.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import trtfast


def classify(
    engine: trtfast.InferenceEngine, files: Sequence[Path], batch: int, names: Sequence[str] | None
) -> Iterator[tuple[Path, trtfast.Classification | trtfast.InputError]]:
    """Give the best class of each file, or what is wrong with it, in order."""
    for start in range(0, len(files), batch):
        part = files[start : start + batch]
        logits, errors = engine.infer_images(part, on_error="skip")
        rows = iter(trtfast.top_k(logits, k=1, classes=names))
        for index, file in enumerate(part):
            yield file, errors[index] if index in errors else next(rows)[0]


def main() -> None:
    """Write the table; what was left out goes to the standard error."""
    parser = argparse.ArgumentParser(description="Classify the images of a folder.")
    parser.add_argument("model", type=Path, help="an ONNX model or an engine")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", type=Path, help="the classes, one a line or in JSON")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("-o", "--output", type=Path, default=Path("classes.csv"))
    asked = parser.parse_args()
    names = trtfast.class_names(asked.names) if asked.names else None
    files = sorted(file for file in asked.folder.iterdir() if file.is_file())
    with (
        trtfast.load(asked.model, preprocess=trtfast.Preprocess()) as engine,
        asked.output.open("w", newline="") as output,
    ):
        table = csv.writer(output)
        table.writerow(["file", "class", "index", "confidence"])
        for file, found in classify(engine, files, asked.batch, names):
            if isinstance(found, trtfast.InputError):
                print(f"{file.name}: {found}", file=sys.stderr)
            else:
                table.writerow([file.name, found.label, found.index, f"{found.confidence:.4f}"])


if __name__ == "__main__":
    main()
