#!/usr/bin/env python3
"""Write the table of docs/preprocessing.md, or check that it is what the recorded runs give.

    python tools/preprocess_table.py [--check] [--results benchmarks/results] [--page PAGE]

A file of results, preprocess-parity-*.json, is one run of benchmarks/parity.py.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from pages import row, write

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = "<!-- tools/preprocess_table.py writes from here -->\n"
END = "<!-- to here -->\n"
COLUMNS = [
    *("interpolation", "images", "their sizes", "largest difference", "equal values"),
    *("equal images", "on", "OpenCV", "Pillow"),
]


def read(folder: Path) -> list[dict[str, Any]]:
    """The runs, those on a GPU first."""
    runs = [
        json.loads(file.read_text()) for file in sorted(folder.glob("preprocess-parity-*.json"))
    ]
    return sorted(runs, key=lambda run: (run["stand_in"], run["gpu"], not run["ipp"]))


def share(equal: float) -> str:
    """Cut off, not rounded: "100 %" is for what is equal throughout."""
    return f"{int(equal * 10000) / 100:g} %"


def table(runs: list[dict[str, Any]]) -> str:
    text = row(COLUMNS) + row(["---"] * len(COLUMNS))
    for run in runs:
        opencv = f"{run['opencv']} {'with' if run['ipp'] else 'without'} IPP"
        for found in run["interpolations"]:
            least, most = ("x".join(map(str, found[name])) for name in ("smallest", "largest"))
            text += row(
                [
                    f"`{found['interpolation']}`",
                    str(found["images"]),
                    f"{least} to {most}",
                    f"{found['largest_difference']:.0f}/255",
                    share(found["equal"]),
                    str(found["images_equal"]),
                    "stand-in (no GPU)" if run["stand_in"] else run["gpu"],
                    opencv,
                    run["pillow"],
                ]
            )
    return text


def page(before: str, runs: list[dict[str, Any]]) -> str:
    """The page with the table between its two marks."""
    if before.count(BEGIN) != 1 or before.count(END) != 1:
        raise SystemExit(f"the page must have one line {BEGIN.strip()} and one {END.strip()}")
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table(runs)}\n{END}{tail}"


if __name__ == "__main__":
    folder, target = "benchmarks/results", "docs/preprocessing.md"
    sys.exit(write(__doc__, folder, target, lambda results, before: page(before, read(results))))
