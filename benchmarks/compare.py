#!/usr/bin/env python3
"""Set two files of ``run.py`` side by side, by their IDs; or show the ratios within one.

python benchmarks/compare.py before.json after.json
python benchmarks/compare.py one.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import targets

_KEYS = ("median", "throughput", "seconds", "bytes", "beside_core")


def rows_of(path: str) -> dict[str, dict[str, Any]]:
    report = json.loads(Path(path).read_text())
    print(f"{path}: {report['date']}, {report['gpu']}, {report['tensorrt']}, {report['trtfast']}")
    return {row["id"]: row for row in report["results"]}


def compare(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> None:
    for name, old in before.items():
        new = after.get(name)
        key = next((key for key in _KEYS if key in old and key in (new or old)), None)
        if new is None:
            print(f"{name:<60} only in the first")
        elif key is not None and old[key]:
            print(
                f"{name:<60} {key:<10} {old[key]:12.6g} {new[key]:12.6g} {new[key] / old[key]:7.2f}"
            )
    for name in after.keys() - before.keys():
        print(f"{name:<60} only in the second")


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    first, *others = map(rows_of, sys.argv[1:])
    if others:
        compare(first, others[0])
    else:
        print("\n".join(targets.latencies(first)))
        print()
        print(targets.table(first))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
