"""The examples on Ray and LitServe, run by their commands and over HTTP."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest

from running import ESPRESSO, EXAMPLES, PHOTOGRAPHS, as_file, run
from trtfast import _core

pytest.importorskip("ray")
from ray_cluster import PATIENCE, QUIET, cluster, free_port

CLOSE = 0.02 if _core.devices()[0] else 5e-4  # of a confidence: an engine is in float16


@pytest.fixture(scope="module")
def model(onnx_of: Callable[[str], Path]) -> Path:
    return onnx_of("efficientnet_lite0")


@pytest.fixture(scope="module", autouse=True)
def ray_cluster() -> Iterator[None]:
    """Ray is there before the examples, as on a cluster."""
    with pytest.MonkeyPatch.context() as patch, cluster() as address:
        patch.setenv("RAY_ADDRESS", address)
        for name, value in QUIET.items():
            patch.setenv(name, value)
        yield


@contextmanager
def serving(
    script: str, *arguments: str | Path, path: str, folder: Path, **env: str
) -> Iterator[str]:
    """Start a service, wait until it answers at a path, and end it with all its processes."""
    port = free_port()
    told = folder / "told.txt"
    command = [sys.executable, EXAMPLES / script, *arguments]
    if not env:
        command += ["--port", str(port)]
    with (
        told.open("w") as log,
        subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | env | {"PORT": str(port)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        address = f"http://127.0.0.1:{port}"
        end = monotonic() + PATIENCE
        try:
            while not is_there(address + path):
                assert process.poll() is None, told.read_text()
                assert monotonic() < end, told.read_text()
                sleep(0.2)
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def is_there(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_fleet_tells_the_classes(model: Path, tmp_path: Path) -> None:
    files = {name: as_file(name) for name in PHOTOGRAPHS}
    with serving("ray_fleet.py", model, path="/openapi.json", folder=tmp_path) as address:

        def ask(name: str) -> httpx.Response:
            return httpx.post(f"{address}/classify?k=1", content=files[name], timeout=PATIENCE)

        asked = list(PHOTOGRAPHS) * 8
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, asked))
        assert [answer.json()[0]["index"] for answer in answers] == [
            PHOTOGRAPHS[name][1] for name in asked
        ]
        espresso = answers[asked.index("coffee")].json()[0]["confidence"]
        assert espresso == pytest.approx(ESPRESSO, abs=CLOSE)
        refused = httpx.post(f"{address}/classify", content=b"no image", timeout=PATIENCE)
        assert refused.status_code == 400
        assert "OpenCV cannot decode" in refused.json()["detail"]


def test_a_folder_is_scored(model: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    (tmp_path / "photos").mkdir()
    for index in range(3):
        for name in PHOTOGRAPHS:
            (tmp_path / "photos" / f"{index}-{name}.png").write_bytes(as_file(name))
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    run("ray_score_folder.py", model, "photos", "scores", "--batch", "2", folder=tmp_path)
    table = pyarrow.parquet.read_table(tmp_path / "scores").to_pylist()
    scores = {Path(row["path"]).name: row for row in table}
    notes = scores.pop("notes.txt")
    assert notes["index"] == -1
    assert "OpenCV cannot decode" in notes["error"]
    assert len(scores) == len(table) - 1 == 3 * len(PHOTOGRAPHS)
    for file, row in scores.items():
        name = file[2:-4]
        assert (row["index"], row["error"]) == (PHOTOGRAPHS[name][1], "")
        if name == "coffee":
            assert row["confidence"] == pytest.approx(ESPRESSO, abs=CLOSE)


def test_litserve_tells_the_classes(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("litserve")
    files = {name: base64.b64encode(as_file(name)).decode() for name in PHOTOGRAPHS}
    with serving(
        "litserve_service.py", path="/health", folder=tmp_path, MODEL=str(model)
    ) as address:

        def ask(name: str) -> httpx.Response:
            return httpx.post(f"{address}/predict", json={"image": files[name]}, timeout=PATIENCE)

        asked = list(PHOTOGRAPHS) * 8
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, asked))
        assert [answer.json()[0]["index"] for answer in answers] == [
            PHOTOGRAPHS[name][1] for name in asked
        ]
        nothing = base64.b64encode(b"no image").decode()
        refused = httpx.post(f"{address}/predict", json={"image": nothing}, timeout=PATIENCE)
        assert refused.status_code == 400
        assert "OpenCV cannot decode" in refused.json()["detail"]
