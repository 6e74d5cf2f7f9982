"""trtexec's options, as one types them who knows them by heart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

import trtfast
from command import Command
from trtfast.cli.app import app


def read(name: str, *words: str) -> dict[str, Any]:
    """Return what a command would be called with."""
    group: Any = typer.main.get_command(app)
    with group.make_context("trtfast", [name]) as context:
        params: dict[str, Any] = (
            group.get_command(context, name).make_context(name, list(words), parent=context).params
        )
    return params


def test_a_build(trt: Command, dense: Path) -> None:
    trt(
        "build",
        *("--onnx=dense.onnx", "--saveEngine=out/m.engine", "--bf16", "--minShapes=x:2x8"),
        *("--optShapes=x:[3,8]", "--maxShapes=x:4x8", "--memPoolSize=workspace:64"),
        *("--builderOptimizationLevel=1", "--skipInference", "--profilingVerbosity=detailed"),
    )
    known = trtfast.Passport.of(trt.folder / "out" / "m.engine")
    assert known is not None
    assert known.options["precision"] == "bf16"
    assert known.options["workspace"] == 64 * 2**20
    assert known.options["optimization_level"] == 1
    assert known.inputs[0]["profiles"] == [{"min": [2, 8], "opt": [3, 8], "max": [4, 8]}]


def test_a_measurement(trt: Command, dense: Path) -> None:
    told = trt.json(
        "bench",
        *("--onnx=dense.onnx", "--shapes=x:5x8", "--infStreams=2", "--duration=0.1"),
        *("--warmUp=10", "--iterations=20", "--percentile=90,95,99", "--useCudaGraph"),
    )
    assert (told["threads"], told["batch"]) == (2, 5)
    assert list(told["percentiles"]) == ["90", "95", "99"]
    assert told["elapsed"] >= 0.1
    assert told["calls"] >= 40


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("build", "--onnx=a.onnx --saveEngine b.plan", {"onnx": Path("a.onnx")}),
        ("build", "--onnx a.onnx --saveEngine b.plan", {"output": Path("b.plan")}),
        ("build", "a --shapes=x:1x2", {"shapes": "x:1x2", "min_shapes": ""}),
        ("build", "a --memPoolSize=workspace:1G", {"workspace": str(2**30)}),
        ("build", "a --memPoolSize=workspace:0.5", {"workspace": str(2**19)}),
        ("build", "a --memPoolSize=workspace:77B", {"workspace": "77"}),
        ("build", "a --timingCacheFile=t.cache", {"timing_cache": Path("t.cache")}),
        ("build", "a --device=1", {"device": 1}),
        ("build", "a", {"precision": "fp16"}),
        ("build", "a --noTF32", {"precision": "fp32"}),
        ("build", "a --fp16 --noTF32", {"precision": "fp16"}),
        ("build", "a --int8 --fp16", {"precision": "int8"}),
        ("build", "a --fp16 --fp8 --noTF32", {"precision": "fp8"}),
        ("build", "a --best", {"precision": "auto"}),
        ("bench", "--loadEngine=m.engine", {"model": Path("m.engine"), "dump_profile": False}),
        ("bench", "m --warmUp=200", {"warm_up": 0.2}),
        ("bench", "m --duration=10", {"seconds": 10}),
        ("bench", "m --infStreams=4 --threads", {"threads": 4}),
        ("bench", "m --threads --infStreams=4", {"threads": 4}),
        ("bench", "m --threads 3", {"threads": 3}),
        ("bench", "m --noCudaGraph --noSpinWait", {"no_cuda_graph": True, "block": True}),
        ("bench", "m --dumpProfile", {"dump_profile": True}),
        ("bench", "m --exportProfile=p.json", {"export_profile": Path("p.json")}),
        ("bench", "m --exportLayerInfo=l.json", {"export_layer_info": Path("l.json")}),
        ("run", "--loadEngine=m.engine x.npz", {"inputs": [Path("x.npz")]}),
        ("run", "m x.npz --exportOutput=y.npz", {"save": Path("y.npz")}),
        ("inspect", "--loadEngine=m.engine --dumpLayerInfo", {"layers": True}),
        ("check", "--loadEngine=m.engine", {"engine": Path("m.engine")}),
        ("compare", "--onnx=m.onnx --loadEngine=m.engine", {"engine": [Path("m.engine")]}),
        ("compare", "--onnx=m.onnx --loadEngine=m.engine", {"model": "m.onnx"}),
        ("profile", "m --onnx n.onnx", {"model": Path("m"), "onnx": Path("n.onnx")}),
        ("run", "m -- --onnx=x", {"inputs": [Path("--onnx=x")]}),
    ],
)
def test_names(name: str, words: str, expected: dict[str, Any]) -> None:
    found = read(name, *words.split())
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("build a --infStreams=2", "--infStreams is not for build, but for bench"),
        ("bench a --saveEngine=b", "--saveEngine is not for bench, but for export and build"),
        ("build --loadEngine=m.engine", "is not for build, which does not take an engine"),
        ("check --onnx=m.onnx", "is not for check, which does not take an ONNX model"),
        ("build a --calib=c.cache", "give samples, with --calibration"),
        ("build a --memPoolSize=dlaSRAM:1", "expected workspace:SIZE"),
        ("build a --memPoolSize=workspace:much", "'much' is no size"),
        ("bench a --warmUp=long", "expected milliseconds"),
        ("build a --fp8 --int8", "--fp8 and --int8 do not go together"),
        ("check a --fp16", "--fp16 is not for check, but for build"),
        ("bench a --avgRuns=10", "medians are of nine parts"),
        ("build a --layerPrecisions=x:fp32", "--keep-fp32"),
        ("run a --loadInputs=x:x.bin", "give .npy or .npz files"),
        ("build a --versionCompatible", "rebuild=True"),
        ("build a --useDLACore=0", "trtfast has nothing for this; leave it out"),
        ("build a --saveEngin=b", "No such option: --saveEngin"),
    ],
)
def test_what_has_no_meaning_is_refused(words: str, match: str, trt: Command) -> None:
    assert match in trt.refuses(*words.split())


def test_layers_need_an_engine(trt: Command, dense: Path) -> None:
    told = trt("bench", dense, "--backend", "reference", "--dumpProfile", status=1).stderr
    assert told == (
        "trtfast: InputError: layers' times are those of an engine, and this runs on the CPU\n"
    )


def test_names_are_in_the_documentation() -> None:
    """The table tells of each of trtexec's names that is in common use."""
    text = (Path(__file__).parents[3] / "docs" / "howto" / "coming-from.md").read_text()
    for name in (
        *("onnx", "saveEngine", "loadEngine", "minShapes", "optShapes", "maxShapes"),
        *("memPoolSize", "builderOptimizationLevel", "timingCacheFile", "warmUp", "iterations"),
        *("duration", "infStreams", "percentile", "dumpProfile", "exportProfile"),
        "exportLayerInfo",
    ):
        assert f"--{name}" in text, name
