#!/usr/bin/env python3
"""Set two files of ``latency.py`` side by side, by their IDs.

python benchmarks/compare.py before.json after.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def rows_of(path: str) -> dict[str, float]:
    report = json.loads(Path(path).read_text())
    print(f"{path}: {report['date']}, {report['gpu']}, {report['tensorrt']}, {report['trtfast']}")
    return {row["id"]: row.get("median", row.get("seconds")) for row in report["results"]}


def main() -> None:
    before, after = map(rows_of, sys.argv[1:3])
    for name in before.keys() & after.keys():
        ratio = after[name] / before[name]
        print(f"{name:<60} {before[name] * 1e3:9.3f} {after[name] * 1e3:9.3f} ms {ratio:6.2f}")
    for name in before.keys() ^ after.keys():
        print(f"{name:<60} only in {'the first' if name in before else 'the second'}")


if __name__ == "__main__":
    main()
