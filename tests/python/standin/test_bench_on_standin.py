"""``trtfast bench`` and ``inspect --layers``, of an engine that has lanes and layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import trtfast
from trtfast.cli.app import app
from trtfast.profiling.inputs import arrays_of

QUICK = ("--duration=0.05", "--warmUp=10")


@pytest.fixture
def engine(plan: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("m.engine").write_bytes(plan)
    return "--loadEngine=m.engine"


def run(*words: str, status: int = 0) -> Result:
    done = CliRunner().invoke(app, list(words))
    if not isinstance(done.exception, (SystemExit, type(None))):
        raise done.exception
    assert done.exit_code == status, done.output
    return done


def test_as_one_who_knows_trtexec_calls_it(engine: str) -> None:
    options = ("--infStreams=3", "--percentile=90,95,99", "--shapes=x:7x2", "--dumpProfile")
    exports = ("--exportProfile=p.json", "--exportLayerInfo=l.json")
    printed = run("bench", engine, *QUICK, *options, *exports).stdout
    assert "x:7x2, 3 callers at once, pageable memory" in printed
    for part in ("waiting for a lane", "transfers and layers", "p95", "throughput: "):
        assert part in printed
    with trtfast.Engine("m.engine") as opened:
        names = [layer.name for layer in opened.profile(arrays_of(opened.inputs))]
        assert json.loads(Path("l.json").read_text()) == json.loads(opened.inspect())
    first, *layers = json.loads(Path("p.json").read_text())
    assert first == {"count": 10}
    assert [layer["name"] for layer in layers] == names
    assert all(name in printed for name in names)
    for layer in layers:
        assert layer["timeMs"] == pytest.approx(10 * layer["averageMs"])
    assert sum(layer["percentage"] for layer in layers) in (pytest.approx(100), 0)


def test_lanes_follow_the_callers(engine: str) -> None:
    told = json.loads(run("bench", engine, *QUICK, "--threads", "4", "--json").stdout)
    assert (told["lanes"], told["threads"], told["memory"]) == (4, 4, "pageable")
    assert told["parts"]["calls"] == told["calls"]
    assert told["parts"]["graph_hits"] == told["calls"]


def test_other_ways_to_run(engine: str) -> None:
    options = ("--noCudaGraph", "--noSpinWait", "--pinned", "--batch", "9", "--json")
    told = json.loads(run("bench", engine, *QUICK, *options).stdout)
    assert (told["memory"], told["batch"]) == ("pinned", 9)
    assert told["parts"]["graph_hits"] == 0
    assert told["parts"]["graph_misses"] == told["calls"]


def test_layers_of_an_engine(engine: str) -> None:
    told = json.loads(run("inspect", engine, "--dumpLayerInfo", "--json").stdout)
    with trtfast.Engine("m.engine") as opened:
        names = json.loads(opened.inspect())["Layers"]  # the stand-in tells no more of them
    assert [layer["name"] for layer in told["layers"]] == names
    printed = run("inspect", engine, "--layers").stdout
    assert all(name in printed for name in names)
