"""``import trtfast`` in a process of its own: what it loads, and what it then offers."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from importlib.metadata import version

import pytest

import trtfast
from trtfast import _core

HEAVY = ("numpy", "torch", "onnx", "cv2", "onnxruntime", "rich", "typer", "tensorrt", "ml_dtypes")
MODULES = ("build", "export", "engine", "pipeline")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light() -> None:
    code = f"""
import json, sys, trtfast
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(json.dumps(sorted(name for name in loaded if name.startswith({HEAVY!r}))))
"""
    assert json.loads(run(code)) == []


def test_import_is_quick() -> None:
    code = """
import time
start = time.process_time()  # of the processor: other tests run beside this one
import trtfast
print(time.process_time() - start)
"""
    seconds = min(float(run(code)) for _ in range(5))
    assert seconds < 0.15


def test_import_opens_no_tensorrt() -> None:
    maps = run("import trtfast; print(open('/proc/self/maps').read())")
    assert "_core" in maps
    assert "nvinfer" not in maps
    assert "tensorrt" not in maps


def test_each_public_name_resolves() -> None:
    code = "import trtfast; print(*(type(getattr(trtfast, n)).__name__ for n in trtfast.__all__))"
    assert len(run(code).split()) == len(trtfast.__all__)


def test_public_names_are_listed() -> None:
    assert dir(trtfast) == sorted(trtfast.__all__)
    assert len(set(trtfast.__all__)) == len(trtfast.__all__)


@pytest.mark.parametrize("order", list(itertools.permutations(MODULES, 2)), ids="-".join)
def test_functions_are_not_hidden_by_their_modules(order: tuple[str, str]) -> None:
    imports = "; ".join(f"import trtfast.{name}" for name in order)
    code = f"""
{imports}
from trtfast import build, export
functions = (build, export, trtfast.build, trtfast.export, trtfast.load, trtfast.compile)
print(*(type(value).__name__ for value in functions))
"""
    assert run(code).split() == ["function"] * 6


def test_version_is_one() -> None:
    assert trtfast.__version__ == _core.__version__ == version("trtfast")


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="'trtfast' has no attribute 'bild'"):
        trtfast.bild  # noqa: B018
    with pytest.raises(ImportError, match="bild"):
        from trtfast import bild  # noqa: F401
