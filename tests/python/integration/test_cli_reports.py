"""What commands print: JSON for programs, and for people what runs, times and files hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

import tiny
import trtfast
from command import Command
from trtfast import _core
from trtfast.cli import compare
from trtfast.cli.sizes import bytes_of
from trtfast.samples import samples_of

HAS_GPU = bool(_core.devices()[0])
ON_CPU = ("--backend", "reference")


@pytest.fixture(scope="module")
def engine(trt: Command, dense: Path) -> Path:
    trt("build", dense, "-o", "dense.engine", "--batch", "2", "--max-shapes", "x:6x8")
    return trt.folder / "dense.engine"


def test_build(trt: Command, dense: Path) -> None:
    told = trt.json("build", dense, "-o", "told.engine", "--precision", "bf16", "--batch", "3")
    path = trt.folder / "told.engine"
    known = trtfast.Passport.of(path)
    assert known is not None
    assert told == {
        "path": "told.engine",
        "bytes": path.stat().st_size,
        "seconds": known.build_seconds,
        "tensorrt": f"{known.product} {known.version}",
        "precision": known.precision,
        "inputs": known.inputs,
        "outputs": known.outputs,
    }
    assert known.inputs[0]["profiles"] == [{"min": [3, 8], "opt": [3, 8], "max": [3, 8]}]


def test_run(trt: Command, dense: Path) -> None:
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)
    np.save(trt.folder / "x.npy", x)
    told = trt.json("run", dense, "x.npy", *ON_CPU, "--top", "1", "--save", "saved.npz")
    (run,) = told["runs"]
    assert run["input"] == "x.npy"
    y = run["outputs"]["y"]
    assert (y["dtype"], y["shape"]) == ("float32", [2, 4])
    with np.load(trt.folder / "saved.npz") as saved:
        np.testing.assert_allclose(saved["y"], y["values"], rtol=1e-6)
        best = saved["y"].argmax(1)
    assert [row[0]["index"] for row in y["classes"]] == best.tolist()


def test_run_on_random_input(trt: Command, dense: Path) -> None:
    told = [
        trt.json("run", dense, *ON_CPU, "--shapes", "x:3x8"),
        trt.json("run", dense, *ON_CPU, "--batch", "3"),
    ]
    assert told[0] == told[1]  # random, and always the same
    (run,) = told[0]["runs"]
    assert run["input"] is None
    assert run["outputs"]["y"]["shape"] == [3, 4]
    assert np.ptp(run["outputs"]["y"]["values"]) > 0
    printed = trt("run", dense, *ON_CPU, "--batch", "2").stdout
    assert printed.startswith("random input:\n  row 0:\n")
    message = trt.fails("InputError", "run", dense, "x.npy", "--batch", "2", *ON_CPU)
    assert "are for random input" in message


def test_run_on_a_folder_with_bars(trt: Command, classifier: Path) -> None:
    (trt.folder / "photos").mkdir()
    for name, colour in (("red", (0, 0, 255)), ("blue", (255, 0, 0))):  # OpenCV writes BGR
        cv2.imwrite(str(trt.folder / "photos" / f"{name}.png"), np.full((50, 40, 3), colour, "u1"))
    printed = trt("run", classifier, "photos", *ON_CPU, "--top", "2").stdout
    assert re.findall(r"^(\S+):$", printed, re.MULTILINE) == ["photos/blue.png", "photos/red.png"]
    found = re.findall(
        r"^  (█*)(·*) class: \d, confidence: ([\d.]+) %, index: (\d)$", printed, re.M
    )
    assert [index for *_, index in found] == ["1", "0", "0", "1"]
    for full, empty, confidence, _ in found:
        assert len(full + empty) == 20
        assert len(full) == pytest.approx(float(confidence) / 5, abs=0.51)
    (trt.folder / "empty").mkdir()
    assert "no image in empty" in trt.fails("InputError", "run", classifier, "empty", *ON_CPU)


def test_run_prints_what_holds_no_classes(trt: Command, folder: Path) -> None:
    onnx.save(tiny.convolutions(1, 2), folder / "conv.onnx")
    printed = trt("run", "conv.onnx", *ON_CPU).stdout
    assert re.search(
        r"  a0: float32 \(1, 2, 32, 32\) from [\d.]+ to [\d.]+, mean [\d.]+\n", printed
    )


def test_precision_is_for_engines_from_onnx(trt: Command, dense: Path, engine: Path) -> None:
    done = trt("run", dense, *ON_CPU, "--precision", "bf16")
    assert "the reference engine runs in float32, and not in bf16" in done.stderr
    message = trt.fails("InputError", "run", engine, "--precision", "bf16")
    assert "--precision is for an ONNX model" in message


def test_bench(trt: Command, dense: Path) -> None:
    options = ("--seconds", "0.1", "--warm-up", "0.01", *ON_CPU, "--batch", "4")
    told = trt.json("bench", dense, *options, "--percentile", "50,99.9")
    assert told["model"] == str(dense)
    assert (told["batch"], told["shapes"]) == (4, {"x": [4, 8]})
    assert 0 < told["low"] <= told["high"]
    assert told["percentiles"]["50"] == told["median"] <= told["percentiles"]["99.9"]
    printed = trt("bench", dense, *options, "--percentile", "75").stdout
    assert "x:4x8, one caller, pageable memory" in printed
    assert re.search(r"│ median +│ +\d+\.\d{3} +│ +\d+\.\d{3} to \d+\.\d{3} +│", printed)
    assert "p75" in printed
    assert "p99" not in printed
    assert re.search(r"throughput: [\d.]+ rows/s \([\d.]+ to [\d.]+\), \d+ calls of 4 in", printed)


def test_bench_of_inputs(trt: Command, dense: Path) -> None:
    np.savez(trt.folder / "seven.npz", x=np.ones((7, 8), np.float32))
    told = trt.json("bench", dense, "--inputs", "seven.npz", "--seconds", "0.05", *ON_CPU)
    assert told["batch"] == 7
    wrong = ("bench", dense, "--percentile", "most", *ON_CPU)
    assert "expected numbers, as 90,95,99" in trt.fails("InputError", *wrong)
    both = ("bench", dense, "--inputs", "seven.npz", "--batch", "7", *ON_CPU)
    assert "give one of them" in trt.fails("InputError", *both)


def test_compare(trt: Command, dense: Path) -> None:
    options = ("--batch", "1", "--batch", "4", "--seconds", "0.05", "--html", "page.html", *ON_CPU)
    done = trt("compare", dense, *options, "--json")
    told = json.loads(done.stdout)
    assert [each["name"] for each in told["contenders"]] == ["ONNX Runtime fp32", "reference fp32"]
    assert [at["batch"] for at in told["contenders"][1]["latency"]] == [1, 4]
    assert "the samples are random" in done.stderr
    assert "written: page.html" in done.stderr
    assert "<html" in (trt.folder / "page.html").read_text()


def test_compare_on_photographs(trt: Command, classifier: Path) -> None:
    (trt.folder / "compared").mkdir()
    for value in (0, 255):
        photo = np.full((40, 50, 3), value, np.uint8)
        assert cv2.imwrite(str(trt.folder / "compared" / f"{value}.png"), photo)
    options = ("--batch", "1", "--seconds", "0.05", "--samples", "compared", *ON_CPU)
    told = trt.json("compare", classifier, *options)
    assert [len(each["predictions"]) for each in told["contenders"]] == [2, 2]


def test_compare_reads_images_once(classifier: Path, tmp_path: Path) -> None:
    """The samples and what its preprocessing is timed on are made of the same images."""
    for number, size in enumerate([(40, 50), (64, 32), (32, 32)]):
        photo = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), photo)
    (tmp_path / "note.txt").touch()
    with trtfast.ReferenceEngine(classifier, preprocess=trtfast.Preprocess((32, 32))) as engine:
        samples, images = compare.samples_for(engine, tmp_path)
        (wanted,) = samples_of(tmp_path, engine.inputs, engine.preprocess)
        np.testing.assert_array_equal(samples, wanted["image"])
        assert [image.shape[:2] for image in images] == [(40, 50), (64, 32), (32, 32)]
        np.save(tmp_path / "rows.npy", np.zeros((2, 3, 32, 32), np.float32))
        assert compare.samples_for(engine, tmp_path) == (tmp_path, [])


@pytest.mark.parametrize(
    ("batches", "rows"), [([(1, 8)], 8), ([(1, 64)], 32), ([(1, 1), (8, 8)], 8), ([(64, 64)], 64)]
)
def test_compare_makes_rows_that_fit(batches: list[tuple[int, int]], rows: int) -> None:
    profiles = tuple(trtfast.ShapeRange((low, 4), (low, 4), (high, 4)) for low, high in batches)
    spec = trtfast.TensorSpec("x", np.dtype(np.float32), (-1, 4), profiles)
    assert compare.random_inputs([spec])["x"].shape == (rows, 4)


def test_inspect_an_onnx_model(trt: Command, dense: Path) -> None:
    told = trt.json("inspect", dense, "--layers")
    assert told["kind"] == "onnx"
    assert told["operators"] == {"MatMul": 1, "Relu": 1}
    assert told["dtypes"] == {"float32": 2}
    assert told["layers"] == [
        {"name": "project", "kind": "MatMul", "dtype": "float32"},
        {"name": "clip", "kind": "Relu", "dtype": "float32"},
    ]
    assert told["bytes"] == dense.stat().st_size
    assert "layers" not in trt.json("inspect", dense)
    printed = trt("inspect", dense, "--layers").stdout
    assert "operators: 1 MatMul, 1 Relu\nwhat nodes give: 2 float32\n" in printed
    assert re.search(r"│ project +│ MatMul +│ float32 │", printed)


def test_inspect_what_has_no_types(trt: Command) -> None:
    """Of a custom operator, nobody knows what it gives."""
    nodes = [
        helper.make_node("Mystery", ["x"], ["between"], name="mystery", domain="own"),
        helper.make_node("Cast", ["between"], ["y"], name="cast", to=onnx.TensorProto.FLOAT),
    ]
    model = tiny.model_of(nodes, [tiny.value("x", 1)], [tiny.value("y", 1)], (), "own")
    onnx.save(model, trt.folder / "mystery.onnx")
    assert trt.json("inspect", "mystery.onnx")["dtypes"] == {"unknown": 1, "float32": 1}


def test_inspect_an_engine(trt: Command, engine: Path) -> None:
    told = trt.json("inspect", engine)
    assert (told["kind"], told["whole"], told["described"]) == ("plan", True, True)
    assert told["bytes"] == engine.stat().st_size
    passport = told["passport"]
    assert [r["max"] for r in passport["inputs"][0]["profiles"]] == [[2, 8], [6, 8]]
    printed = trt("inspect", engine).stdout
    assert f"built from: the ONNX model of sha256 {passport['onnx_sha256'][:12]}…" in printed
    assert re.search(r"built in: \d+\.\d s", printed)
    with engine.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert trt.json("inspect", engine)["described"] is False
    assert "The passport describes other bytes" in trt("inspect", engine).stdout
    with engine.open("r+b") as file:
        file.seek(-1, 2)
        file.write(last)


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_layers_of_an_engine_need_its_gpu(trt: Command, engine: Path) -> None:
    done = trt("inspect", engine, "--layers", "--json")
    assert "show where it can be loaded" in done.stderr


@pytest.mark.parametrize(
    ("tag", "product", "version"),
    [
        (b"ftrt", "TensorRT", (8, 6, 1, 6)),
        (b"ftrt", "TensorRT", (10, 16, 0, 3)),
        (b"ftrt", "TensorRT", (11, 3, 0, 99)),
        (b"vtrt", "TensorRT-RTX", (1, 3, 0, 1)),
        (b"vtrt", "TensorRT-RTX", (1, 7, 0, 9)),
    ],
)
def test_inspect_plans_of_each_generation(
    tag: bytes, product: str, version: tuple[int, ...], trt: Command
) -> None:
    plan = tag + bytes(12) + (10**6).to_bytes(8, "little") + bytes(version) + bytes(100)
    (trt.folder / "other.plan").write_bytes(plan)
    told = trt.json("inspect", "other.plan")
    assert (told["product"], told["version"]) == (product, ".".join(map(str, version)))
    assert (told["passport"], told["described"]) == (None, None)
    assert told["whole"] is (product == "TensorRT")  # which does not write its size
    printed = trt("inspect", "other.plan").stdout
    assert f"plan of {product} {told['version']}, 0.0 MB" in printed
    assert ("It is cut short" in printed) is not told["whole"]
    assert "It has no passport" in printed


def test_check(trt: Command, engine: Path) -> None:
    verdict = trtfast.check(engine)
    told = trt.json("check", engine, status=0 if verdict.loads else 1)
    assert told["loads"] is verdict.loads
    assert tuple(told["problems"]) == verdict.problems
    assert told["advice"] == verdict.advice


def test_doctor(trt: Command) -> None:
    told = trt.json("doctor", status=1) if not HAS_GPU else None
    if told is None:
        pytest.skip("its status depends on the GPU")
    assert told["trtfast"] == trtfast.__version__
    assert told["packages"]["numpy"] == np.__version__
    assert told["gpus"] == []
    assert [found["generation"] for found in told["tensorrt"]]
    assert "TensorRT-RTX builds them without a GPU" in told["advice"]


def test_cache(trt: Command) -> None:
    folder = trt.folder / "cache"
    folder.mkdir(exist_ok=True)
    (folder / "k.runtime").write_bytes(bytes(1000))
    told = trt.json("cache", "list")
    assert [(entry["name"], entry["bytes"]) for entry in told["entries"]] == [("k.runtime", 1000)]
    assert "k.runtime        0.0 MB  last used 20" in trt("cache", "list").stdout
    assert trt.json("cache", "clear") == {"folder": str(folder), "freed": 1000}
    assert trt.json("cache", "list")["entries"] == []
    assert trt("cache", "clear").stdout == f"freed 0.0 MB in {folder}\n"


def test_export(trt: Command) -> None:
    told = trt.json("export", "squeezenet1_1", "-o", "s.onnx")
    assert told["path"] == "s.onnx"
    assert told["weights"].startswith("random weights, for SqueezeNet1_1_Weights")
    assert told["bytes"] == (trt.folder / "s.onnx").stat().st_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("12", 12), ("1k", 1024), ("512M", 512 * 2**20), ("1.5GiB", 3 * 2**29), ("7B", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "M", "1T", "-1", "1 2", "0x10"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no size; expected a number with B, K, M or G"):
        bytes_of(text)
