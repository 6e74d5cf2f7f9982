#!/usr/bin/env python3
"""Prove the ABI table, the signatures and the callbacks against TensorRT's official headers.

    python tests/abi/check_headers.py --include DIR [--include DIR2 ...] [--results FILE]

The folders are searched together: one has NvInfer.h, another may have NvOnnxParser.h. Without
``--include``, TRTFAST_TENSORRT_INCLUDE_DIR names them, with a colon or a semicolon between.
``--results`` writes what was found, for docs/compatibility.md. Exit status: 0 where nothing
differs, 1 with a line for each difference, 2 where it could not be checked.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from probe_names import TENSORRT, names, unprobed_callbacks

HERE = Path(__file__).resolve().parent
DIFFERENT, UNCHECKED = 1, 2

# callbacks.cpp is part of the probe, which needs the names of its classes.
SOURCES = [TENSORRT / f"{name}.cpp" for name in ("abi", "devices", "log", "types")]
FLAGS = [
    "-std=c++20",
    "-O0",  # a virtual call stays one
    "-w",  # the headers' own warnings
    "-fno-access-control",  # protected members and destructors have an ABI too
    "-pthread",
    # TensorRT-RTX 1.3 and 1.4 were built with this on, though their headers leave it off.
    "-DENABLE_FEATURE_DISABLE_RUNTIME_ALLOCATION=1",
]

# The probe's last line.
SUMMARY = re.compile(
    r"^(?P<product>TensorRT\S*) (?P<version>[\d.]+) \(\w+\): (?P<rows>\d+) rows right .*, "
    r"(?P<unchecked>\d+) rows unchecked .*, (?P<callbacks>\d+) callback slots right, "
    r"(?P<values>\d+) values right, (?P<differences>\d+) differences$",
    re.MULTILINE,
)


def fail(text: str) -> int:
    print(text, file=sys.stderr)
    return UNCHECKED


def cuda_folders() -> list[Path]:
    """Folders that may have the CUDA runtime's headers, which TensorRT's include."""
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    folders = [Path(home) / "include" for home in (*homes, "/usr/local/cuda")]
    if (package := importlib.util.find_spec("nvidia")) and package.submodule_search_locations:
        for location in package.submodule_search_locations:
            folders += [
                header.parent for header in sorted(Path(location).glob("*/include/cuda_runtime.h"))
            ]
    return [folder for folder in folders if (folder / "cuda_runtime_api.h").is_file()][:1]


def compile_probe(cxx: str, includes: list[Path], folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "names.inc").write_text(names())
    ours = [folder, HERE, TENSORRT.parent]
    return subprocess.run(
        [
            cxx,
            *FLAGS,
            *(f"-I{path}" for path in ours),
            *(argument for path in (*includes, *cuda_folders()) for argument in ("-isystem", path)),
            HERE / "probe.cpp",
            *SOURCES,
            "-o",
            folder / "probe",
        ],
        check=False,
        capture_output=True,
        text=True,
    )


def write_results(file: Path, output: str) -> None:
    summary = SUMMARY.search(output)
    if summary is None:
        raise SystemExit(f"the probe ends without a summary:\n{output}")
    release = {
        "product": summary["product"],
        "version": summary["version"],
        "passed": sum(int(summary[name]) for name in ("rows", "callbacks", "values")),
        "skipped": int(summary["unchecked"]),
        "failed": int(summary["differences"]),
        "failures": re.findall(r"^DIFFERENT (.*)$", output, re.MULTILINE),
    }
    record = {
        "proof": "headers",
        "date": dt.date.today().isoformat(),
        "device": "CPU",
        "command": "tests/abi/check_headers.py",
        "releases": [release],
    }
    file.write_text(json.dumps(record, indent=2) + "\n")


def check(cxx: str, includes: list[Path], results: Path | None) -> int:
    if missing := unprobed_callbacks():
        return fail(f"probe.cpp needs a TRTFAST_CALLBACK for {', '.join(sorted(missing))}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            compiled = compile_probe(cxx, includes, folder)
        except OSError as error:
            return fail(f"{cxx} does not start: {error}")
        if compiled.returncode != 0:
            return fail(f"{compiled.stderr}\nthe probe does not compile against these headers")
        probe = subprocess.run([folder / "probe"], check=False, capture_output=True, text=True)
    print(probe.stdout, end="")
    if probe.returncode not in (0, DIFFERENT, UNCHECKED):
        return fail(f"{probe.stderr}\nthe probe ended with status {probe.returncode}")
    if results is not None and probe.returncode != UNCHECKED:
        write_results(results, probe.stdout)
    return probe.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--include", metavar="DIR", type=Path, nargs="+", action="extend")
    parser.add_argument("--cxx", metavar="COMPILER", default=os.environ.get("CXX", "g++"))
    parser.add_argument("--results", metavar="FILE", type=Path)
    arguments = parser.parse_args()

    given = re.split(r"[:;]", os.environ.get("TRTFAST_TENSORRT_INCLUDE_DIR", ""))
    includes = arguments.include or [Path(folder) for folder in given if folder]
    if not any((folder / "NvInfer.h").is_file() for folder in includes):
        where = ", ".join(map(str, includes)) or "no folder: give --include DIR"
        return fail(f"there is no NvInfer.h in {where}")
    return check(arguments.cxx, includes, arguments.results)


if __name__ == "__main__":
    sys.exit(main())
