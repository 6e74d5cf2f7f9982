#!/usr/bin/env python3
"""Write docs/results.md from the recorded tables, or check that it is what they give.

    python tools/results.py [--check] [--results benchmarks/results] [--page docs/results.md]

A file of results is one run: tables-*.json of benchmarks/tables.py, batching-*.json of
benchmarks/batching.py, serving-*.json of benchmarks/serving.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pages import row, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = """# Results

Real models in PyTorch and in engines, side by side: are the answers the same, and how much faster
do they come? Below is what `benchmarks/tables.py` recorded, by way of
[`trtfast.compare`](compare.md); then single requests, in one process and over HTTP, of
`benchmarks/batching.py` and `serving.py`. `tools/results.py` writes this page from
`benchmarks/results`.

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


CONTENDERS = {
    "batcher": "`Batcher`, asyncio",
    "batcher-threads": "`Batcher`, threads",
    "queue-and-stack": "a queue, and `np.stack`",
    "ray-serve-batch": "Ray Serve's",
    "litserve-batching": "LitServe's",
}


def batching(run: dict[str, Any]) -> Iterator[str]:
    asked = run["options"]
    yield (
        f"\n## Single images in one process: {', '.join(asked['models'])}\n\n"
        f"On {run['gpu']} with {run['tensorrt']}, {run['cores']} cores. Callers with one image "
        "each, in float16 engines: answers in a second, and in brackets the 99th percentile of a "
        "caller's wait in ms, and the CPU's time for an answer in µs, less what the engine alone "
        "takes and, but for threads, what it takes to wake as many coroutines. A batch has at most "
        "half of what is "
        f"under way, lanes are {asked['lanes']}, a request waits {asked['delay'] * 1e3:g} ms at "
        f"most, and `wait` is `{asked['wait']}`. The engine alone is plain `infer` with such "
        "batches, from two threads, that have as many under way; in brackets how long that delay "
        "and two batches take, in ms. Even batches are the same from a thread for each lane. "
        "`tiny` is a model of next to no time. [Which to use when](howto/fleet.md).\n\n"
    )
    rows = {each["id"]: each for each in run["results"]}
    names = {each["id"].split("/")[2] for each in run["results"]}
    contenders = [name for name in CONTENDERS if name in names]
    heads = ["model, under way", "engine alone", "even batches"]
    yield row([*heads, *(CONTENDERS[name] for name in contenders)])
    yield row(["---"] * (len(contenders) + len(heads)))
    for model in asked["models"]:
        for count in asked["in_flight"]:
            prefix = f"{model}/in-flight{count}"
            alone, even = (
                rows[f"{prefix}/engine-{how}"]["rows_per_second"] for how in ("alone", "shared")
            )
            found = [rows[f"{prefix}/{name}"] for name in contenders]
            told = [
                f"{each['throughput']:.0f} ({each['p99'] * 1e3:.1f}, "
                f"{_cpu(each['cpu_of_batching'])})"
                for each in found
            ]
            best = f"{alone:.0f} ({found[0]['p99_bound'] * 1e3:.1f})"
            yield row([f"{model}, {count}", best, f"{even:.0f}", *told])
    for note in run.get("notes", ()):
        yield f"\n{note}\n"


def _cpu(seconds: float) -> str:
    # The difference of times that vary by more than it.
    return f"{seconds * 1e6:.0f}" if seconds > 0 else "< 0"


SERVERS = {
    "batcher": "`trtfast serve`",
    "plain": "the same, each request a call",
    "kserve": "KServe's own server, each request a call",
    "ray": "Ray Serve, one replica",
}


def serving(run: dict[str, Any]) -> Iterator[str]:
    yield (
        f"\n## Over HTTP on loopback: {Path(run['model']).stem}\n\n"
        f"On {run['gpu'] or 'the reference engine'}, {run['cpu']}, {run['cores']} cores. "
        "Clients in other processes, each with one request of one float32 image under way: answers "
        "in a second, and median and 99th percentile in ms. To read and write 0.6 MB for each "
        "request is nearly all that the server does; KServe's makes a list of numbers of it. A "
        f"request waits {run['delay'] * 1e3:g} ms at most. `means` is a model of next to no "
        "time.\n\n"
    )
    rows = {tuple(each["id"].split("/")[1:]): each for each in run["rows"]}
    clients = sorted({name for name, _ in rows}, key=lambda name: int(name.removeprefix("http")))
    servers = [server for server in SERVERS if (clients[0], server) in rows]
    yield row(["clients", *(SERVERS[server] for server in servers)])
    yield row(["---"] * (len(servers) + 1))
    for name in clients:
        found = (rows[name, server] for server in servers)
        told = [
            f"{each['throughput']:.0f} ({each['median'] * 1e3:.1f}, {each['p99'] * 1e3:.1f})"
            for each in found
        ]
        yield row([name.removeprefix("http"), *told])


def page(folder: Path, _: str) -> str:
    def parts(pattern: str, told: Callable[[dict[str, Any]], Iterator[str]]) -> Iterator[str]:
        for file in sorted(folder.glob(pattern)):
            yield from told(json.loads(file.read_text()))

    kinds = {"tables": tables, "batching": batching, "serving": serving}
    return HEAD + "".join(
        part for kind, told in kinds.items() for part in parts(f"{kind}-*.json", told)
    )


if __name__ == "__main__":
    sys.exit(write(__doc__, "benchmarks/results", "docs/results.md", page))
