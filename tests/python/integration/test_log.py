"""TensorRT's log lines in Python's logging; each test is a process, for its logger and its end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import tiny

BEFORE = f"""
import atexit, json, logging, sys
sys.path.insert(0, {str(Path(tiny.__file__).parent)!r})
import tiny
import trtfast

records = []

class Keep(logging.Handler):
    def emit(self, record):
        records.append((record.levelname, record.name, record.getMessage()))

logging.getLogger().addHandler(Keep())

def build(**options):
    return trtfast.build(tiny.dense(), "model.engine", **options)

# Registered before the log's own end, so called after it: by then, each line has come through.
atexit.register(lambda: print(json.dumps(records)))
"""


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end; a process that hangs fails by the time limit."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", BEFORE + code],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


def records_of(folder: Path, code: str) -> list[tuple[str, str, str]]:
    done = run(folder, code)
    assert (done.returncode, done.stderr) == (0, "")
    return [tuple(record) for record in json.loads(done.stdout)]


@pytest.mark.parametrize("logger", ["trtfast.tensorrt", "trtfast", ""])
def test_each_line_comes_through_with_its_level(logger: str, tmp_path: Path) -> None:
    code = f"logging.getLogger({logger!r}).setLevel(logging.DEBUG); build()"
    records = [record for record in records_of(tmp_path, code) if record[1] == "trtfast.tensorrt"]
    levels = Counter(level for level, *_ in records)
    assert levels["DEBUG"] > 10
    assert levels["INFO"] >= 1
    assert levels["ERROR"] == levels["CRITICAL"] == 0
    assert all(text.strip() for *_, text in records)


def test_info_has_no_debug_lines(tmp_path: Path) -> None:
    code = "logging.getLogger('trtfast.tensorrt').setLevel(logging.INFO); build()"
    levels = Counter(level for level, *_ in records_of(tmp_path, code))
    assert levels["INFO"] >= 1
    assert levels["DEBUG"] == 0


def test_nothing_below_warning_by_default(tmp_path: Path) -> None:
    levels = {level for level, *_ in records_of(tmp_path, "build()")}
    assert levels <= {"WARNING"}


def test_a_warning_is_told_once_in_each_build(tmp_path: Path) -> None:
    code = """
import numpy as np
net = tiny.convolutions(4, 16)
shape = [dim.dim_value for dim in net.graph.input[0].type.tensor_type.shape.dim]
samples = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
for _ in range(2):
    trtfast.build(net, "net.engine", precision="fp8", calibration=samples, targets=[89])
"""
    told = Counter(text for level, _, text in records_of(tmp_path, code) if level == "WARNING")
    assert max(told.values(), default=0) <= 2


def test_level_is_read_anew_for_each_build(tmp_path: Path) -> None:
    code = """
logger = logging.getLogger("trtfast.tensorrt")
for level in (logging.DEBUG, logging.CRITICAL, logging.DEBUG):
    logger.setLevel(level)
    build()
"""
    records = records_of(tmp_path, code)
    assert len(records) > 20


FAILING_BUILD = """
try:
    build(workspace=1)
except trtfast.BuildError as error:
    told = str(error)
"""


def test_errors_are_logged_and_in_the_exception(tmp_path: Path) -> None:
    code = FAILING_BUILD + 'atexit.register(lambda: records.append(("TOLD", "", told)))'
    records = records_of(tmp_path, code)
    errors = [text for level, _, text in records if level == "ERROR"]
    (told,) = (text for level, _, text in records if level == "TOLD")
    if not errors and "workspace" not in told:
        pytest.skip("this TensorRT builds with next to no workspace")
    assert any(text in told for text in errors)


def test_handler_that_fails_stops_no_build(tmp_path: Path) -> None:
    code = """
class Broken(logging.Handler):
    def emit(self, record):
        raise RuntimeError("broken handler")

logging.raiseExceptions = False
logger = logging.getLogger("trtfast.tensorrt")
logger.setLevel(logging.DEBUG)
logger.addHandler(Broken())
print(build().name, file=sys.stderr)
print(build().name, file=sys.stderr)
"""
    done = run(tmp_path, code)
    assert done.returncode == 0
    assert done.stderr.split().count("model.engine") == 2


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("build()", 0),
        ("build(); sys.exit()", 0),
        ("build(); sys.exit(3)", 3),
        ("build(progress=lambda *_: sys.exit(4))", 4),
        ("from trtfast import backend; backend.find()", 0),
        ("import threading; threading.Thread(target=build).start()", 0),
        ("build(); raise SystemError('end')", 1),
    ],
)
def test_process_ends_as_it_should(end: str, status: int, tmp_path: Path) -> None:
    done = run(tmp_path, f"logging.getLogger('trtfast.tensorrt').setLevel('DEBUG')\n{end}")
    assert done.returncode == status, done.stderr
    assert ("SystemError: end" in done.stderr) == (status == 1)
    assert "terminate called" not in done.stderr
    assert isinstance(json.loads(done.stdout), list)
