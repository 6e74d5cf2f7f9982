#!/usr/bin/env python3
"""Run the tests on the stand-in, and write what they proved of each release it stands for.

    python tests/standin/record.py build/default/tests/standin/standin_tests FILE

docs/compatibility.md is made of such files.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def outcome(test: dict) -> str:
    if test.get("failures"):
        return "failed"
    return "skipped" if test["result"] == "SKIPPED" else "passed"


def releases(report: dict) -> list[dict]:
    """The report's tests by the release they ran on; those that ran on none are left out."""
    tests = [test for suite in report["testsuites"] for test in suite["testsuite"]]
    found = []
    for folder in dict.fromkeys(test["value_param"] for test in tests if "value_param" in test):
        own = [test for test in tests if test.get("value_param") == folder]
        outcomes = [outcome(test) for test in own]
        found.append(
            {
                "product": "TensorRT-RTX" if folder.startswith("rtx") else "TensorRT",
                "version": folder.removeprefix("rtx"),
                **{end: outcomes.count(end) for end in ("passed", "skipped", "failed")},
                "failures": [
                    f"{test['classname']}.{test['name']}"
                    for test, end in zip(own, outcomes, strict=True)
                    if end == "failed"
                ],
            }
        )
    return found


def main() -> int:
    program, file = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run([program, f"--gtest_output=json:{report}"], check=False)
        if not report.exists():
            sys.exit(f"{program.name} ended with status {done.returncode} and without a report")
        record = {
            "proof": "standin",
            "date": dt.date.today().isoformat(),
            "device": "CPU",
            "command": program.name,
            "releases": releases(json.loads(report.read_text())),
        }
    file.write_text(json.dumps(record, indent=2) + "\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
