"""``trtfast serve`` with engines: their lanes under the batcher, on a machine with no GPU."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

import fake_gpu
import serving
from serving import KINDS, MODULES, client, inputs
from trtfast import _core

TRIPLED = fake_gpu.TWICE.replace(b"affine 2 1", b"affine 3 1")


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_is_served_and_exchanged(
    kind: str,
    plan: bytes,
    fake: fake_gpu.FakeGpu,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The server's TensorRT finds the fake CUDA runtime as that of this process does.
    before = os.environ.get("LD_PRELOAD", "")
    monkeypatch.setenv("LD_PRELOAD", f"{before} {_core.__file__}".strip())
    path = tmp_path / "affine.engine"
    path.write_bytes(plan)

    def ask(mark: int) -> float:
        """Return the factor of the engine that answered."""
        given = np.array([[mark, mark + 0.5]] * (1 + mark % 3), np.float32)
        with client(server, kind) as triton:
            result = triton.infer("affine", inputs(MODULES[kind], x=given)).as_numpy("y")
        factor = float((result[0, 0] - 1) / given[0, 0])
        np.testing.assert_allclose(result, given * factor + 1)
        return factor

    with serving.served(tmp_path, path, "--max-batch-size", "16", backend="auto") as server:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(1, 60))) == {2}
        with client(server, kind) as triton:
            path.write_bytes(plan[: len(plan) // 2])
            with pytest.raises(InferenceServerException, match="cannot load this plan"):
                triton.load_model("affine")
            assert ask(7) == 2
            path.write_bytes(fake_gpu.build(fake.libraries["11.1"], TRIPLED, (1, 4, 1 << 28)))
            with pytest.raises(InferenceServerException, match="no device memory"):
                triton.load_model("affine")  # its activations are more than the GPU has
            assert ask(7) == 2
            path.write_bytes(fake_gpu.build(fake.libraries["11.1"], TRIPLED))
            triton.load_model("affine")
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(1, 60))) == {3}
