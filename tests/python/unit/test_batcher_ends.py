"""How processes end, and fork, with a batcher in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tiny

ENDING = """
import os, signal, sys
sys.path[:0] = sys.argv[2:]
import numpy as np
import trtfast
import tiny

signal.alarm(60)
engine = trtfast.ReferenceEngine(tiny.doubling("n", 3))
batcher = trtfast.Batcher(engine, 8)
x = np.ones((1, 3), np.float32)
assert (batcher.infer(x) == 2).all()
if sys.argv[1] == "fork":
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            batcher.infer(x)
        except trtfast.Error as error:
            print(error, flush=True)
        batcher.close()
        del batcher
        os._exit(0)  # ONNX Runtime would wait for its threads, which stayed with the parent
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (batcher.infer(x) == 2).all()
elif sys.argv[1] == "begun":
    futures = [batcher.infer_async(x) for _ in range(50)]
"""


@pytest.mark.parametrize("how", ["exit", "begun", "fork"])
def test_a_process_ends_with_a_batcher_in_it(how: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ENDING, how, str(Path(tiny.__file__).parent)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ("make the batcher in this process" in ended.stdout) == (how == "fork")
