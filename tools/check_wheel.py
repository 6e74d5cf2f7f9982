#!/usr/bin/env python3
"""Check that a wheel is small, exports one symbol, carries nothing else, and works on its own.

    python tools/check_wheel.py WHEEL [--python PYTHON]

PYTHON, by default the one that runs this, must be of the version that the wheel is for.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 4_000_000  # bytes
MODULES = {
    str(path.relative_to(ROOT / "python"))
    for path in ROOT.glob("python/trtfast/**/*")
    if path.suffix in {".j2", ".py", ".pyi", ".typed"}
}

VERSIONS = "import trtfast; print(trtfast.__version__, trtfast._core.__version__)"
# Where Python takes a moment to start, that moment is not the import's.
IMPORT = """
import time
start = time.perf_counter()
import trtfast
print(time.perf_counter() - start)
"""


def output_of(*command: str | Path, **options: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def project_version() -> str:
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    return version


def check_sdist(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    tracked = output_of("git", "ls-files", "-z", cwd=ROOT).split("\0")
    if stray := names - {*tracked, "PKG-INFO"}:
        raise SystemExit(f"{sdist.name} carries {sorted(stray)}: add them to git, or remove them")


def check_contents(wheel: Path, folder: Path) -> str:
    """Returns the libraries that the extension is linked to."""
    size = wheel.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{wheel.name} has {size} bytes, more than {LARGEST}")
    if "-manylinux_" not in wheel.name:
        raise SystemExit(f"{wheel.name} is for this machine alone: repair it with auditwheel")
    with zipfile.ZipFile(wheel) as archive:
        metadata = f"trtfast-{project_version()}.dist-info/"
        files = {item.filename for item in archive.infolist() if not item.is_dir()}
        names = {name for name in files if not name.startswith(metadata)}
        (extension,) = (name for name in names if re.fullmatch(r"trtfast/_core\..*\.so", name))
        archive.extract(extension, folder)
        fields = archive.read(metadata + "METADATA").decode().splitlines()
    expected = {*MODULES, extension}
    if names != expected:
        raise SystemExit(f"{wheel.name}: lacks or has too much: {sorted(names ^ expected)}")
    if f"Version: {project_version()}" not in fields:
        raise SystemExit(f"the metadata of {wheel.name} has another version")

    symbols = output_of("nm", "-D", "--defined-only", folder / extension).splitlines()
    exported = [line.split()[-1] for line in symbols]
    if exported != ["PyInit__core"]:
        raise SystemExit(f"{extension} exports {exported}")
    sections = output_of("readelf", "-SW", folder / extension)
    if unstripped := re.findall(r" (\.symtab|\.debug\S*) ", sections):
        raise SystemExit(f"{extension} is not stripped: {unstripped}")
    dynamic = output_of("readelf", "-d", folder / extension)
    linked = re.findall(r"NEEDED.*\[(.*)\]", dynamic)
    if any(re.match(r"lib(cud|nv|tensorrt)", name) for name in linked):
        raise SystemExit(f"{extension} is linked to {linked}")
    return ", ".join(linked)


def check_install(wheel: Path, python: Path, folder: Path) -> float:
    """Returns the seconds that the import takes where nothing else is installed."""
    output_of(python, "-m", "venv", folder / "bare")
    scripts = folder / "bare" / "bin"
    output_of(scripts / "python", "-m", "pip", "install", "-q", wheel)
    output_of(scripts / "python", "-m", "pip", "check")
    # The folder is empty of a trtfast that could be imported in its place.
    bare = {"env": {"PATH": os.environ["PATH"]}, "cwd": folder}
    versions = output_of(scripts / "python", "-c", VERSIONS, **bare).split()
    if versions != [project_version()] * 2:
        raise SystemExit(f"{wheel.name}: the package and its extension are of {versions}")
    times = [float(output_of(scripts / "python", "-c", IMPORT, **bare)) for _ in range(5)]
    doctor = subprocess.run(
        [scripts / "trtfast", "doctor"], capture_output=True, text=True, check=False, **bare
    )
    if doctor.returncode != 1 or "pip install" not in doctor.stdout:
        raise SystemExit(f"trtfast doctor on a bare machine:\n{doctor.stdout}{doctor.stderr}")
    return statistics.median(times)


def check_wheel(wheel: Path, python: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="trtfast-wheel-") as scratch:
        linked = check_contents(wheel, Path(scratch))
        seconds = check_install(wheel, python, Path(scratch))
    print(
        f"{wheel.name}: {wheel.stat().st_size} bytes, linked to {linked}; "
        f"imported in {seconds * 1e3:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    arguments = parser.parse_args()
    check_wheel(arguments.wheel.resolve(), arguments.python)


if __name__ == "__main__":
    main()
