#!/usr/bin/env python3
"""Write docs/results.md from the recorded tables, or check that it is what they give.

    python tools/results.py [--check] [--results benchmarks/results] [--page docs/results.md]

A file of results, tables-*.json, is one run of benchmarks/tables.py.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from pages import row, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = """# Results

Real models in PyTorch and in engines, side by side: are the answers the same, and how much faster
do they come? Below is what `benchmarks/tables.py` recorded, by way of
[`trtfast.compare`](compare.md); `tools/results.py` writes this page from
`benchmarks/results/tables-*.json`.

- Times are of whole calls, from NumPy arrays to NumPy arrays, by turns, after a warm-up; in
  brackets how many times as fast as PyTorch in float32. Behind ± is half the interval that holds
  the median with a confidence of 96 %.
- Errors are against PyTorch in full float32, without TF32, which PyTorch's own convolutions use by
  default. Top-1 and top-5 are shares of rows with equal classes, and confidences the largest
  difference.
- "results" counts the different results of runs with the same inputs: 1 is what an engine has to
  give.
- TensorRT-RTX up to 1.6 does not list the H100. There its float32 convolutions can be wrong, from
  run to run or from batch to batch, which `trtfast.verify` finds: see the lists below the tables.
  Float16 and bfloat16 gave one result here, and beside other work on the GPU small batches in
  float16 are [rarely wrong](troubleshooting.md#rarely-wrong-on-a-gpu-that-is-not-listed).
- What float16 costs in confidence is its rounding of logits: EfficientNet's of about 12 move by
  0.04, in PyTorch as in the engine, and by that much a close contest moves. Where that matters, a
  bisection finds [what to keep in float32](howto/keep-float32.md).
"""


def tables(run: dict[str, Any]) -> Iterator[str]:
    first = run["models"][0]
    told = first["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in told["packages"].items())
    clocks = first["clocks"][0]
    yield (
        f"\n## {told['gpu']}, {told['tensorrt']}\n\n"
        f"{told['date']}, driver {clocks.get('driver_version', 'unknown')}, SM clock "
        f"{clocks.get('clocks.sm', 'unknown')} of {clocks.get('clocks.max.sm', 'unknown')} MHz, "
        f"{told['cpu']}, {told['cores']} cores, Python {told['python']}, {packages}:\n\n"
        f"```text\n{run['command']}\n```\n"
    )
    for model in run["models"]:
        yield f"\n### {model['model']}\n\n"
        yield f"{model['rows']} views of photographs; {_first(model)}.\n\n"
        yield from answers(model)
        yield "\n"
        yield from speed(model)
        yield from failures(model)


def _first(model: dict[str, Any]) -> str:
    """The weights, without the address that they could not be had from."""
    return str(model["weights"]).partition(", for ")[0].partition(" (")[0]


def answers(model: dict[str, Any]) -> Iterator[str]:
    yield row(["", "largest error", "of largest value", "top-1", "top-5", "confidences", "results"])
    yield row(["---"] * 7)
    for each in model["contenders"]:
        (output,) = each["outputs"]
        classes = output["classes"]
        same = each["determinism"]
        runs = "" if same is None else f"{same['results']} of {sum(same['runs'].values())} runs"
        yield row(
            [
                each["name"],
                f"{output['max_absolute']:.2g}",
                f"{output['max_relative']:.1e}",
                f"{classes['top1']:.1%}",
                f"{classes['top5']:.1%}",
                f"{classes['confidence']:.1e}",
                runs,
            ]
        )


def speed(model: dict[str, Any]) -> Iterator[str]:
    base = model["contenders"][0]["latency"]
    yield row(["ms", *(f"batch {at['batch']}" for at in base), "MB on the GPU", "build"])
    yield row(["---"] * (len(base) + 3))
    for each in model["contenders"]:
        times = [
            f"{at['median'] * 1e3:.3f} ± {(at['high'] - at['low']) / 2 * 1e3:.3f} "
            f"({first['median'] / at['median']:.1f})"
            for first, at in zip(base, each["latency"], strict=True)
        ]
        held = "" if each["device_bytes"] is None else f"{each['device_bytes'] / 1e6:.0f}"
        build = "" if each["build_seconds"] is None else f"{each['build_seconds']:.0f} s"
        yield row([each["name"], *times, held, build])


def failures(model: dict[str, Any]) -> Iterator[str]:
    found = [
        f"- {each['name']}: {failure}.\n"
        for each in model["contenders"]
        for failure in each["failures"]
    ]
    if found:
        yield "\nWhat `trtfast.verify` says against:\n\n"
        yield from found


def page(folder: Path, _: str) -> str:
    runs = [json.loads(file.read_text()) for file in sorted(folder.glob("tables-*.json"))]
    return HEAD + "".join(part for run in runs for part in tables(run))


if __name__ == "__main__":
    sys.exit(write(__doc__, "benchmarks/results", "docs/results.md", page))
