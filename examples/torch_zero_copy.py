"""Classify photographs with tensors that never leave the GPU, on a stream of PyTorch.

    trtfast export efficientnet_lite0 && trtfast build efficientnet_lite0.onnx
    python examples/torch_zero_copy.py efficientnet_lite0.engine cup.jpg cat.jpg

The pixels go to the GPU, and the three best classes come back. In between, PyTorch and the engine
read each other's memory through DLPack, in the order of the stream, and the host waits for neither.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.functional import interpolate
from torch.utils.dlpack import from_dlpack

import trtfast

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


def prepare(pixels: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Turn uint8 pixels (height, width, 3) into a float32 batch of one, where they are."""
    batch = pixels.permute(2, 0, 1)[None].float() / 255
    batch = interpolate(batch, list(size), mode="bilinear")
    mean, std = (torch.tensor(each, device=batch.device).view(3, 1, 1) for each in (MEAN, STD))
    return ((batch - mean) / std).contiguous()


def classify(
    engine: trtfast.Engine, photographs: Sequence[torch.Tensor], k: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the probabilities and indices of the k best classes of each photograph."""
    size = engine.inputs[0].shape[2:]
    found = []
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for pixels in photographs:
            batch = prepare(pixels.cuda(non_blocking=True), size)
            logits = from_dlpack(engine.infer(batch, stream=stream))  # submitted, not waited for
            best = logits[0].softmax(dim=0).topk(k)
            found.append((best.values, best.indices))
    stream.synchronize()  # once, for all of them
    return found


def main() -> None:
    """Print the classes of each photograph."""
    parser = argparse.ArgumentParser(description="Classify photographs on the GPU.")
    parser.add_argument("engine", type=Path)
    parser.add_argument("photographs", type=Path, nargs="+")
    asked = parser.parse_args()
    with trtfast.Engine(asked.engine) as engine:
        names = engine.classes
        pixels = [torch.from_numpy(trtfast.read_image(path)) for path in asked.photographs]
        pinned = [each.pin_memory() for each in pixels]  # which the GPU reads by itself
        for path, best in zip(asked.photographs, classify(engine, pinned, k=3), strict=True):
            for confidence, index in zip(*(each.tolist() for each in best), strict=True):
                print(f"{path.name}: {names[index] if names else index}, {confidence:.2%}")


if __name__ == "__main__":
    main()
