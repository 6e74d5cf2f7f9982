"""Ray Serve with engines: plans are loaded on GPUs that Ray gave, and batched in the core."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

import trtfast
from fake_gpu import FakeGpu, answer, rows

pytest.importorskip("ray")
from ray_cluster import PATIENCE, ray, run, running, serve, serving
from trtfast.integrations.ray import deployment

pytestmark = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="Ray's own processes do not run so"
)


def test_each_replica_has_an_engine_on_a_gpu(gpu: FakeGpu, plan: bytes, tmp_path: Path) -> None:
    path = tmp_path / "doubling.engine"
    path.write_bytes(plan)

    async def ask(handle: serve.handle.DeploymentHandle, index: int) -> None:
        batch = rows(1 + index % 3, seed=index)
        np.testing.assert_array_equal(await handle.remote(batch), answer(batch))

    async def ask_all(handle: serve.handle.DeploymentHandle) -> None:
        await asyncio.gather(*(ask(handle, index) for index in range(300)))

    def setup() -> None:
        import ctypes

        from trtfast import _core

        ctypes.CDLL(_core.__file__, ctypes.RTLD_GLOBAL)  # where the stand-in looks for its CUDA

    with serving(gpus=2, setup=setup):
        made = deployment(path, num_replicas=2, max_batch_size=16, max_queue_delay=0.05)
        handle = run("engines", made)
        assert running("engines") == 2
        assert ray.available_resources().get("GPU", 0) == 0
        asyncio.run(asyncio.wait_for(ask_all(handle), PATIENCE))
        stats = handle.stats.remote().result()
        assert 0 < stats["executions"] < stats["calls"]
        assert max(stats["batch_sizes"]) <= 16
        with pytest.raises(trtfast.InputError, match="17"):
            handle.remote(rows(17)).result(timeout_s=PATIENCE)
