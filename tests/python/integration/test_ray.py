"""Ray Serve with the reference engine: right answers, to whom they belong, come what may."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import trtfast
import zoo
from imagery import encoded
from trtfast import _core

pytest.importorskip("ray")
from starlette.requests import Request

import ray_cluster as rays
from ray_cluster import ray, run, serve
from trtfast.integrations.ray import Replica, deployment

HAS_GPU = bool(_core.devices()[0])


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with rays.serving() as address:
        yield address


@pytest.fixture(scope="module")
def doubling(folder: Path) -> Path:
    return zoo.make_doubling(folder / "doubling.onnx", ("n", 8))


@pytest.fixture(scope="module")
def fleet(address: str, doubling: Path) -> serve.handle.DeploymentHandle:
    made = deployment(doubling, backend="reference", num_replicas=2, max_queue_delay=0.002)
    return run("fleet", made.options(health_check_period_s=0.5))


def marked(index: int) -> np.ndarray:
    """Return the rows of a request, which no other has; some have several."""
    return zoo.rows(1 + index % 3, seed=index)


async def ask(handle: serve.handle.DeploymentHandle, index: int) -> None:
    answer = await handle.remote(marked(index))
    np.testing.assert_array_equal(answer, 2 * marked(index))


def test_each_is_answered_with_its_own(fleet: serve.handle.DeploymentHandle) -> None:
    async def ask_all() -> None:
        await asyncio.gather(*(ask(fleet, index) for index in range(600)))

    for rounds in range(1, 11):  # on a busy machine one replica may have a few at first, each alone
        asyncio.run(asyncio.wait_for(ask_all(), rays.PATIENCE))
        asked, counted = 600 * rounds, rays.stats_of(fleet, 2)
        if all(stats["executions"] < stats["calls"] for stats in counted.values()):
            break
    assert sum(stats["calls"] for stats in counted.values()) == asked
    for stats in counted.values():
        assert 0 < stats["executions"] < stats["calls"]  # they were batched
        assert sum(size * runs for size, runs in stats["batch_sizes"].items()) == stats["rows"]


def test_inputs_may_be_named(fleet: serve.handle.DeploymentHandle) -> None:
    answer = fleet.remote({"image": marked(5)}).result(timeout_s=rays.PATIENCE)
    assert list(answer) == ["output"]
    np.testing.assert_array_equal(answer["output"], 2 * marked(5))


def test_a_wrong_request_fails_alone(fleet: serve.handle.DeploymentHandle) -> None:
    async def ask_all() -> list[BaseException | None]:
        wrong = np.zeros((1, 7), np.float32)
        mixed = [part for index in range(40) for part in (ask(fleet, index), fleet.remote(wrong))]
        return await asyncio.gather(*mixed, return_exceptions=True)

    ended = asyncio.run(asyncio.wait_for(ask_all(), rays.PATIENCE))
    assert ended[::2] == [None] * 40
    for error in ended[1::2]:
        assert isinstance(error, trtfast.InputError)
        assert "image" in str(error)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_http_takes_json_and_npy(fleet: serve.handle.DeploymentHandle, address: str) -> None:
    given, wanted = marked(2), 2 * marked(2)
    answer = httpx.post(f"{address}/fleet", json=given.tolist())
    assert (answer.status_code, answer.json()) == (200, wanted.tolist())
    answer = httpx.post(f"{address}/fleet", json={"image": given.tolist()})
    assert (answer.status_code, answer.json()) == (200, {"output": wanted.tolist()})
    answer = httpx.post(f"{address}/fleet", content=npy(given))
    assert answer.headers["content-type"] == "application/x-npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), wanted)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the body is no JSON"),
        (b"[[1, 2", "the body is no JSON"),
        (b"[" * 10**5, "the body is no JSON"),
        (b'{"picture": [[1]]}', "the body has inputs ['picture']; expected ['image']"),
        (b"[[1, 2, 3]]", "(1, 3)"),
        (b'[["a", "b", "c", "d", "e", "f", "g", "h"]]', "input 'image' is no array of float32"),
        (b"[[1, 2, 3, 4, 5, 6, 7, null]]", "input 'image' is no array of float32"),
        (npy(zoo.rows(3))[:-1], "the body is no whole .npy file"),
        (npy(np.array([{}])), "the body is no whole .npy file"),
        (npy(np.zeros((1, 8), np.complex64)), "complex64"),
    ],
    ids=lambda each: str(each[:20]) if isinstance(each, bytes) else "",
)
def test_http_refuses_what_is_wrong(
    content: bytes, message: str, fleet: serve.handle.DeploymentHandle, address: str
) -> None:
    answer = httpx.post(f"{address}/fleet", content=content)
    assert answer.status_code == 400
    assert message in answer.json()["detail"]


def test_a_deadline_that_passes_is_told(
    fleet: serve.handle.DeploymentHandle, doubling: Path
) -> None:
    with pytest.raises(trtfast.DeadlineExceededError):
        fleet.remote(marked(0), deadline=1e-9).result(timeout_s=rays.PATIENCE)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": npy(marked(0))}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    replica: Replica = deployment(doubling, backend="reference", deadline=0.0).func_or_class()
    answer = asyncio.run(replica(request))
    assert answer.status_code == 504
    assert b"deadline" in answer.body
    replica.__del__()  # as Ray does at the end


def test_what_is_counted_is_among_rays_metrics(fleet: serve.handle.DeploymentHandle) -> None:
    for index in range(4):
        fleet.remote(marked(index)).result(timeout_s=rays.PATIENCE)
    with pytest.raises(trtfast.DeadlineExceededError):
        fleet.remote(marked(0), deadline=1e-9).result(timeout_s=rays.PATIENCE)
    counted = rays.stats_of(fleet, 2)
    assert sum(stats["expired"] for stats in counted.values()) >= 1
    wanted = {
        replica: {
            ("nv_inference_request_success", None): stats["calls"],
            ("nv_inference_count", None): stats["rows"],
            ("nv_inference_exec_count", None): stats["executions"],
            ("nv_inference_request_failure", "REJECTED"): stats["expired"],
            ("nv_inference_pending_request_count", None): 0,
        }
        for replica, stats in counted.items()
    }

    def are_told() -> bool:
        try:
            found = rays.metrics("fleet")
        except OSError:  # what exports them may begin late
            return False
        return all(told.items() <= found[replica].items() for replica, told in wanted.items())

    rays.until(are_told)


@asynccontextmanager
async def load(
    handle: serve.handle.DeploymentHandle, callers: int = 16
) -> AsyncIterator[list[BaseException | None]]:
    """Keep requests under way; what is given has what each ended with: None is a right answer."""
    ended: list[BaseException | None] = []
    stop = asyncio.Event()

    async def call(index: int) -> None:
        while not stop.is_set():
            index += callers
            (end,) = await asyncio.gather(ask(handle, index), return_exceptions=True)
            ended.append(end)

    calls = asyncio.gather(*(call(index) for index in range(callers)))
    try:
        yield ended
    finally:
        stop.set()
        await asyncio.wait_for(calls, rays.PATIENCE)  # nothing hangs


def test_a_replica_that_is_killed_is_replaced(fleet: serve.handle.DeploymentHandle) -> None:
    before = rays.replicas("fleet")

    async def kill_one() -> list[BaseException | None]:
        async with load(fleet) as ended:
            await asyncio.sleep(0.5)
            ray.kill(ray.get_actor(before[0], namespace="serve"))
            await asyncio.to_thread(
                rays.until,
                lambda: (
                    set(rays.replicas("fleet")) - set(before) != set()
                    and rays.running("fleet") == 2
                ),
            )
            await asyncio.sleep(0.5)
        return ended

    ended = asyncio.run(asyncio.wait_for(kill_one(), rays.PATIENCE))
    failed = [end for end in ended if end is not None]
    # What was under way there; and none of them was given another's rows.
    assert all(isinstance(end, ray.exceptions.RayActorError) for end in failed), failed
    assert len(failed) <= 2 * 16
    assert len(ended) > 100
    assert ended[-16:] == [None] * 16
    after = rays.replicas("fleet")
    assert len(after) == 2
    assert set(after) & set(before) == {before[1]}


def test_a_full_queue_is_told(address: str, doubling: Path) -> None:
    made = deployment(doubling, backend="reference", max_queue_delay=2.0, max_queue=2)
    handle = run("narrow", made.options(max_ongoing_requests=1))

    async def ask_many() -> list[BaseException | None]:
        answers = [ask(handle, index) for index in range(20)]
        return await asyncio.gather(*answers, return_exceptions=True)

    ended = asyncio.run(asyncio.wait_for(ask_many(), rays.PATIENCE))
    refused = [end for end in ended if end is not None]
    assert all(isinstance(end, serve.exceptions.BackPressureError) for end in refused), refused
    assert 1 <= len(ended) - len(refused) <= 4

    async def post_many() -> list[int]:
        async with httpx.AsyncClient(timeout=rays.PATIENCE) as client:
            posts = (client.post(f"{address}/narrow", json=[[1] * 8]) for _ in range(12))
            return [answer.status_code for answer in await asyncio.gather(*posts)]

    assert set(asyncio.run(post_many())) == {200, 503}
    serve.delete("narrow")


def test_what_is_under_way_is_answered_at_the_end(address: str, doubling: Path) -> None:
    handle = run("ending", deployment(doubling, backend="reference", max_queue_delay=1.0))
    handle.remote(marked(0)).result(timeout_s=rays.PATIENCE)

    async def ask_and_end() -> None:
        asked = asyncio.gather(*(ask(handle, index) for index in range(8)))
        stats = await handle.stats.remote()
        while stats["waiting"] + stats["calls"] < 1 + 8:
            stats = await handle.stats.remote()
        await asyncio.to_thread(serve.delete, "ending")
        await asyncio.wait_for(asked, rays.PATIENCE)

    asyncio.run(ask_and_end())
    assert rays.replicas("ending") == []


def test_replicas_are_added_under_load(address: str, doubling: Path) -> None:
    scaling = {"min_replicas": 1, "max_replicas": 2, "upscale_delay_s": 0.2}
    made = deployment(
        doubling,
        backend="reference",
        max_batch_size=3,
        max_queue_delay=0.05,
        autoscaling_config=scaling,
    )
    handle = run("growing", made)
    assert rays.running("growing") == 1

    async def push() -> list[BaseException | None]:
        async with load(handle, callers=24) as ended:
            await asyncio.to_thread(rays.until, lambda: rays.running("growing") == 2)
        return ended

    assert set(asyncio.run(push())) == {None}
    serve.delete("growing")


def test_a_model_that_cannot_be_opened_is_told(
    fleet: serve.handle.DeploymentHandle, folder: Path
) -> None:
    corrupt = folder / "corrupt.onnx"
    corrupt.write_bytes(b"no model")
    made = deployment(corrupt, backend="reference").options(max_constructor_retry_count=1)
    with pytest.raises(RuntimeError, match="Deploying application corrupt failed"):
        run("corrupt", made)
    message = serve.status().applications["corrupt"].deployments["trtfast"].message
    assert "ONNX Runtime cannot load it" in message
    np.testing.assert_array_equal(fleet.remote(marked(1)).result(), 2 * marked(1))


def test_a_corrupt_model_does_not_take_the_place_of_a_good_one(
    address: str, doubling: Path, folder: Path
) -> None:
    corrupt = folder / "half.onnx"
    corrupt.write_bytes(doubling.read_bytes()[:-20])
    options = {"num_replicas": 2, "max_constructor_retry_count": 1}
    handle = run("swapped", deployment(doubling, backend="reference").options(**options))

    async def swap() -> list[BaseException | None]:
        async with load(handle) as ended:
            bad = deployment(corrupt, backend="reference").options(**options)
            with pytest.raises(RuntimeError, match="Deploying application swapped failed"):
                await asyncio.to_thread(run, "swapped", bad)
            asked = len(ended)
            while len(ended) < asked + 100:  # it goes on
                await asyncio.sleep(0.05)
        return ended

    assert set(asyncio.run(asyncio.wait_for(swap(), rays.PATIENCE))) == {None}
    application = serve.status().applications["swapped"]
    assert "ONNX Runtime cannot load it" in application.deployments["trtfast"].message
    serve.delete("swapped")


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_without_a_gpu_nothing_is_slow_unnoticed(address: str, doubling: Path) -> None:
    made = deployment(doubling, ray_actor_options={"num_gpus": 0})
    with pytest.raises(RuntimeError, match="Deploying application none failed"):
        run("none", made.options(max_constructor_retry_count=1))
    message = serve.status().applications["none"].deployments["trtfast"].message
    assert "backend='reference'" in message


def test_images_are_prepared_in_the_replica(address: str, classifier: Path) -> None:
    spec = trtfast.Preprocess(size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
    handle = run("images", deployment(classifier, backend="reference", preprocess=spec))
    colours = np.array([(255, 0, 51), (0, 255, 102)], np.uint8)
    images = [np.broadcast_to(colour, (600, 500, 3)).copy() for colour in colours]
    wanted = colours[:, [0, 2]] / np.float32(255)
    answer = handle.infer_images.remote(images).result(timeout_s=rays.PATIENCE)
    np.testing.assert_allclose(answer, wanted, atol=1e-6)
    for image, row in zip(images, wanted, strict=True):
        posted = httpx.post(
            f"{address}/images",
            content=encoded(".png", image[..., ::-1].copy()),
            headers={"content-type": "image/png"},
        )
        np.testing.assert_allclose(posted.json(), [row], atol=1e-6)
    posted = httpx.post(f"{address}/images", content=b"none", headers={"content-type": "image/png"})
    assert posted.status_code == 400
    assert "OpenCV cannot decode" in posted.json()["detail"]
    serve.delete("images")


def test_processes_build_once(address: str, doubling: Path, tmp_path: Path) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    came, log = tmp_path / "came", tmp_path / "builds"
    task = ray.remote(num_cpus=1)(cached_by_a_process)
    shapes = {"max_shapes": {"image": (7, 8)}, "opt_shapes": {"image": (7, 8)}}
    made = ray.get(
        [task.remote(str(doubling), str(came), str(log), shapes) for _ in range(4)],
        timeout=rays.PATIENCE,
    )
    assert len(set(came.read_text().split())) > 1
    (path,) = set(made)
    assert Path(path).stat().st_size > 0
    assert len(log.read_text().splitlines()) == 1


def cached_by_a_process(onnx: str, came: str, log: str, options: dict[str, Any]) -> str:
    """Build as a replica does, not before another asks too; leave a line for each real build."""
    import sys
    from time import sleep

    from trtfast.build import cached

    module = sys.modules["trtfast.build"]
    build = module.build

    def told(*arguments: Any, **named: Any) -> Path:
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()}\n")
        while len(set(Path(came).read_text().split())) < 2:
            sleep(0.05)
        return build(*arguments, **named)

    module.build = told
    with Path(came).open("a") as file:
        file.write(f"{os.getpid()}\n")
    try:
        return str(cached(Path(onnx), backend="auto", device=0, **options))
    finally:
        module.build = build
