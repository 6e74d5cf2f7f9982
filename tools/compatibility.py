#!/usr/bin/env python3
"""Write docs/compatibility.md, or check that it is what the recorded test runs give.

    python tools/compatibility.py [--check] [--results tests/results] [--page docs/compatibility.md]

A file of results is one run of one proof: {"proof", "date", "device", "command", "releases"}, where
each release is {"product", "version", "passed", "skipped", "failed", "failures"}.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pages import row, write

if TYPE_CHECKING:
    from pathlib import Path

RELEASES = [
    *(("TensorRT", f"10.{minor}") for minor in range(17)),
    *(("TensorRT", f"11.{minor}") for minor in range(2)),
    *(("TensorRT-RTX", f"1.{minor}") for minor in range(3, 8)),
]
REFUSED = {("TensorRT", "10.8")}

# In the order of what they prove, the least first.
PROOFS = {
    "headers": "header check",
    "standin": "stand-in (call path only)",
    "build": "real build",
    "gpu": "real run",
}
NONE = "not recorded"

HEAD = """\
# Compatibility

Which releases of TensorRT were proven to work with trtfast, and how. `tools/compatibility.py` makes
this page from the test runs in `tests/results`; do not edit it.

- **Found**: a real library was opened, its version read, and its self-test passed.
- **Built**: the tests that build real engines passed.
- **Loaded**: engines were loaded on a GPU.
- **Ran right**: the tests on that GPU passed, which compare outputs with ONNX Runtime's.
- **Proof**: a *header check* compares each slot, signature and value with the official headers.
  The *stand-in* is a library of our own in TensorRT's place: it proves the path of the calls, and
  nothing about TensorRT. A *real build* and a *real run* are NVIDIA's library at work.

Where no such run is kept, the cell says "not recorded".
"""


@dataclass(frozen=True)
class Run:
    """What one run of tests found for one release."""

    proof: str
    date: str
    device: str
    command: str
    product: str
    version: str
    passed: int
    skipped: int
    failed: int
    failures: tuple[str, ...]

    @property
    def release(self) -> tuple[str, str]:
        return self.product, ".".join(self.version.split(".")[:2])

    @property
    def right(self) -> str:
        """As in "53 of 53"; a test that did not run is not counted as right."""
        return f"{self.passed} of {self.passed + self.skipped + self.failed}"


def read(folder: Path) -> list[Run]:
    runs = []
    for file in sorted(folder.glob("*.json")):
        record = json.loads(file.read_text())
        known = {name: record[name] for name in ("proof", "date", "device", "command")}
        if record["proof"] not in PROOFS:
            raise SystemExit(f"{file.name}: its proof {record['proof']!r} is none of {[*PROOFS]}")
        for release in record["releases"]:
            run = Run(**known, **{**release, "failures": tuple(release["failures"])})
            if run.release not in RELEASES:
                raise SystemExit(f"{file.name}: {' '.join(run.release)} has no row here: add it")
            runs.append(run)
    return sorted(runs, key=lambda run: (RELEASES.index(run.release), [*PROOFS].index(run.proof)))


def told(runs: list[Run]) -> str:
    return "; ".join(f"{run.right} on {run.device}, {run.date}" for run in runs) or NONE


def cells(runs: list[Run]) -> list[str]:
    """Found, built, loaded, ran right, and the proof, for the runs of one release."""
    of = {proof: [run for run in runs if run.proof == proof] for proof in PROOFS}
    real = {run.version: None for run in of["build"] + of["gpu"] if run.passed}
    loaded = {run.device: None for run in of["gpu"] if run.passed}
    proofs = []
    for proof, found in of.items():
        if found:
            failed = sum(run.failed for run in found)
            proofs.append(PROOFS[proof] + (f" with {failed} failed" if failed else ""))
    return [
        ", ".join(real) or NONE,
        told(of["build"]),
        ", ".join(loaded) or NONE,
        told(of["gpu"]),
        ", ".join(proofs) or NONE,
    ]


def page(runs: list[Run]) -> str:
    text = HEAD + "\n"
    text += row(["release", "found", "built", "loaded", "ran right", "proof"]) + row(["---"] * 6)
    for release in RELEASES:
        refused = ["refused: one of its tables differs from every other 10", *["—"] * 4]
        own = [run for run in runs if run.release == release]
        text += row([" ".join(release), *(refused if release in REFUSED else cells(own))])

    text += "\n## The runs\n\n"
    text += row(["release", "proof", "date", "on", "command", "passed", "skipped", "failed"])
    text += row(["---"] * 8)
    for run in runs:
        text += row(
            [
                f"{run.product} {run.version}",
                PROOFS[run.proof],
                run.date,
                run.device,
                f"`{run.command}`",
                *(str(count) for count in (run.passed, run.skipped, run.failed)),
            ]
        )
    if failures := [(run, name) for run in runs for name in run.failures]:
        text += "\nWhat failed:\n\n"
        text += "".join(
            f"- {run.product} {run.version} on {run.device}: {name}\n" for run, name in failures
        )
    return text


if __name__ == "__main__":
    folder, target = "tests/results", "docs/compatibility.md"
    sys.exit(write(__doc__, folder, target, lambda results, _: page(read(results))))
