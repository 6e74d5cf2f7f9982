"""On a GPU: ``trtfast serve`` under load, and when there is no memory for a newer engine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import zoo

if find_spec("kserve") is None:  # not imported: its messages and the client's have the same names
    pytest.skip("the server is not installed", allow_module_level=True)
pytest.importorskip("tritonclient")
from tritonclient.utils import InferenceServerException

from serving import KINDS, MODULES, client, inputs, served

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_each_client_gets_its_own_answers(kind: str, doubling: Path, tmp_path: Path) -> None:
    def ask(mark: int) -> None:
        with client(server, kind) as triton:
            for turn in range(50):
                given = zoo.rows(1 + turn % 3, seed=100 * mark + turn)
                result = triton.infer("model", inputs(MODULES[kind], image=given))
                np.testing.assert_array_equal(result.as_numpy("output"), 2 * given)

    with (
        served(
            tmp_path, f"model={doubling}", "--max-queue-delay", "0.002", backend="auto"
        ) as server,
        ThreadPoolExecutor(16) as pool,
    ):
        list(pool.map(ask, range(16)))


def test_a_swap_for_which_there_is_no_memory(
    doubling: Path, engine_of: Callable[[str], Path], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.engine"
    path.write_bytes(doubling.read_bytes())
    given = zoo.rows(3)
    with served(tmp_path, path, backend="auto") as server, client(server, "http") as triton:

        def is_doubled() -> bool:
            result = triton.infer("model", inputs(MODULES["http"], image=given))
            return bool(np.array_equal(result.as_numpy("output"), 2 * given))

        assert is_doubled()
        path.write_bytes(engine_of("vit_b_16").read_bytes())
        hoard = []
        for size in (1 << 30, 1 << 24):  # all that there is, but for some MB
            while torch.cuda.mem_get_info()[0] > 2 * size:
                hoard.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        with pytest.raises(InferenceServerException, match="memory"):
            triton.load_model("model")
        assert all(is_doubled() for _ in range(20))
        hoard.clear()
        torch.cuda.empty_cache()
        triton.load_model("model")
        (tensor,) = triton.get_model_metadata("model")["inputs"]
        assert tensor["shape"][1:] == [3, 224, 224]
