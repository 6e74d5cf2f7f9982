#!/usr/bin/env python3
"""Build the wheel, and check that it is small, exports one symbol, and works on its own."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 4_000_000  # bytes


def output_of(*command: str | Path, **options: object) -> str:
    return subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True, **options
    ).stdout


def check_contents(wheel: Path, folder: Path) -> None:
    size = wheel.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{wheel.name} has {size} bytes, more than {LARGEST}")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (extension,) = (name for name in names if re.search(r"/_core\..*\.so$", name))
        archive.extract(extension, folder)
    for needed in ("trtfast/py.typed", "trtfast/_core.pyi"):
        if needed not in names:
            raise SystemExit(f"{wheel.name} lacks {needed}")
    stray = [name for name in names if name.endswith((".a", ".h", ".cpp"))]
    if stray:
        raise SystemExit(f"{wheel.name} carries {stray}")

    symbols = output_of("nm", "-D", "--defined-only", folder / extension).split("\n")
    exported = [line.split()[-1] for line in symbols if line]
    if exported != ["PyInit__core"]:
        raise SystemExit(f"{extension} exports {exported}")
    dynamic = output_of("readelf", "-d", folder / extension)
    linked = re.findall(r"NEEDED.*\[(.*)\]", dynamic)
    if any(re.match(r"lib(cud|nv|tensorrt)", name) for name in linked):
        raise SystemExit(f"{extension} is linked to {linked}")
    print(f"{wheel.name}: {size} bytes, linked to {', '.join(linked)}")


def check_install(wheel: Path, folder: Path) -> None:
    venv.create(folder / "bare", with_pip=True)
    python = folder / "bare" / "bin" / "python"
    output_of(python, "-m", "pip", "install", "-q", wheel)
    environment = {"PATH": os.environ["PATH"]}
    # Where Python takes a moment to start, that moment is not the import's.
    code = (
        "import time; start = time.perf_counter(); import trtfast; "
        "print(time.perf_counter() - start)"
    )
    times = [float(output_of(python, "-c", code, env=environment)) for _ in range(5)]
    print(f"import trtfast: {statistics.median(times) * 1e3:.0f} ms, nothing else installed")
    command = [folder / "bare" / "bin" / "trtfast", "doctor"]
    doctor = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if doctor.returncode != 1 or "pip install" not in doctor.stdout:
        raise SystemExit(f"trtfast doctor on a bare machine:\n{doctor.stdout}{doctor.stderr}")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="trtfast-wheel-") as scratch:
        folder = Path(scratch)
        pip = [sys.executable, "-m", "pip"]
        output_of(*pip, "wheel", "-q", "--no-deps", "-w", folder, ROOT)
        (wheel,) = folder.glob("*.whl")
        check_contents(wheel, folder)
        check_install(wheel, folder)


if __name__ == "__main__":
    main()
