"""The command ``trtfast``, as a user runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

import tiny
import trtfast
from command import Command
from trtfast import _core

HAS_GPU = bool(_core.devices()[0])
without_gpu = pytest.mark.skipif(HAS_GPU, reason="there is a GPU")


@pytest.fixture(scope="module")
def demo(trt: Command) -> str:
    return trt("demo", "--keep", "kept").stdout


def test_demo_tells_the_classes_twice(demo: str) -> None:
    assert "class: espresso, confidence: 69.92 %, index: 967" in demo
    found = re.findall(r"class: ([a-z ]+), confidence: ([\d.]+) %, index: (\d+)", demo)
    names = ["espresso", "cup", "coffee mug"]
    assert [name for name, *_ in found] == names * 2
    assert [int(index) for *_, index in found] == [967, 968, 504] * 2
    for (_, theirs, _), (_, ours, _) in zip(found[:3], found[3:], strict=True):
        assert float(ours) == pytest.approx(float(theirs), abs=0.3)
    (difference,) = re.findall(r"largest difference of a confidence: (\S+)", demo)
    assert float(difference) < 3e-3


def test_demo_tells_its_steps_and_times(demo: str) -> None:
    assert re.findall(r"^(\d)\. (\w+)", demo, re.MULTILINE) == [
        ("1", "PyTorch"),
        ("2", "ONNX"),
        ("3", "TensorRT"),
        ("4", "Engine" if HAS_GPU else "Reference"),
        ("5", "Time"),
    ]
    times = [
        float(t) for pair in re.findall(r"median +(\S+) ms, p99 +(\S+) ms", demo) for t in pair
    ]
    assert len(times) == 4
    assert 0 < times[0] <= times[1]
    assert 0 < times[2] <= times[3]


@without_gpu
def test_demo_says_that_the_reference_stands_in(demo: str) -> None:
    (line,) = (line for line in demo.splitlines() if line.startswith("4."))
    assert line.startswith("4. Reference: the ONNX model runs on the CPU, since no GPU")


def test_demo_keeps_its_files(demo: str, folder: Path) -> None:
    name = "efficientnet_lite0"
    kept = {f"{name}.onnx", f"{name}.engine", f"{name}.engine.json"}
    assert {path.name for path in (folder / "kept").iterdir()} == kept
    assert f"kept in kept: {', '.join(sorted(kept))}" in demo
    known = trtfast.Passport.of(folder / "kept" / f"{name}.engine")
    assert known is not None
    assert known.classes is not None
    assert known.classes[967] == "espresso"
    assert known.preprocess is not None


def test_demo_with_another_model_and_photograph(trt: Command, folder: Path) -> None:
    cv2.imwrite(str(folder / "noise.png"), np.random.default_rng(0).integers(0, 255, (40, 60, 3)))
    options = ("--image", "noise.png", "--precision", "bf16", "--json")
    done = trt("demo", "--model", "squeezenet1_1", *options)
    assert "1. PyTorch: squeezenet1_1, random weights, for SqueezeNet1_1_Weights" in done.stderr
    assert re.search(r"3\. TensorRT: squeezenet1_1\.engine, [\d.]+ MB, bf16", done.stderr)
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)  # and what is told beside it is not in its way
    assert told["model"] == "squeezenet1_1"
    assert told["weights"].startswith("random weights, for SqueezeNet1_1_Weights")
    assert told["largest_difference"] < 1e-2
    assert 0 < told["seconds"]["engine"]["low"] <= told["seconds"]["engine"]["high"]


def test_demo_of_an_unknown_model(trt: Command) -> None:
    message = trt.fails("InputError", "demo", "--model", "resnet5000")
    assert message.startswith("there is no model 'resnet5000': use a name of torchvision's, as ")
    assert "resnet50" in message.partition("as ")[2]
    assert "trtfast.export" in message


def test_help_lists_the_commands(trt: Command) -> None:
    printed = trt("--help").stdout
    for name in (
        "demo",
        "doctor",
        "export",
        "build",
        "run",
        "inspect",
        "verify",
        "profile",
        "preprocess-check",
    ):
        assert re.search(rf"^\W*{name}\b", printed, re.MULTILINE), name


def test_wrong_usage(trt: Command) -> None:
    assert "No such command" in trt("bild", status=2).stderr
    assert "Missing argument" in trt("build", status=2).stderr
    assert "optimization-level" in trt("build", "x", "--optimization-level", "9", status=2).stderr


def test_build_and_inspect(trt: Command, dense: Path) -> None:
    options = ["--precision", "bf16", "--opt-shapes", "x:2x8", "--max-shapes", "x:[4,8]"]
    built = trt("build", dense, "--output", "out/d.engine", *options, "--optimization-level", "1")
    assert re.fullmatch(r"out/d\.engine: \d+\.\d MB\n", built.stdout)
    known = trtfast.Passport.of(trt.folder / "out" / "d.engine")
    assert known is not None
    assert known.options["optimization_level"] == 1
    assert known.inputs[0]["profiles"] == [{"min": [1, 8], "opt": [2, 8], "max": [4, 8]}]

    printed = trt("inspect", "out/d.engine").stdout
    assert f"plan of {known.product} {known.version}" in printed
    assert "bf16: " in printed
    assert re.search(r"input\W+x\W+float32\W+\[-1, 8\]\W+1x8 2x8 4x8", printed)
    assert re.search(r"output\W+y\W+float32\W+\[-1, 4\]", printed)


def test_inspect_onnx(trt: Command, dense: Path) -> None:
    printed = trt("inspect", dense).stdout
    assert "ONNX model, opset ai.onnx 17, 2 nodes, 1 weights" in printed
    assert re.search(r"input\W+x\W+float32\W+\[-1, 8\]", printed)


def test_build_from_samples(trt: Command, dense: Path, folder: Path) -> None:
    np.save(folder / "samples.npy", np.random.default_rng(0).standard_normal((20, 8), np.float32))
    options = ("--precision", "mixed", "--calibration", "samples.npy")
    trt("build", dense, "-o", "mixed.engine", *options)
    known = trtfast.Passport.of(folder / "mixed.engine")
    assert known is not None
    assert known.options["calibration"]["runs"] == 3
    assert "products: 1 in float16" in trt("inspect", "mixed.engine").stdout


def test_build_from_images(trt: Command, classifier: Path, folder: Path) -> None:
    (folder / "photos").mkdir()
    for value in (0, 255):
        photo = np.full((40, 50, 3), value, np.uint8)
        cv2.imwrite(str(folder / "photos" / f"{value}.png"), photo)
    (folder / "preprocess.json").write_text(json.dumps(trtfast.Preprocess((32, 32)).to_dict()))
    options = ("--precision", "mixed", "--calibration", "photos")
    assert "give preprocess=" in trt.fails("InputError", "build", classifier, *options)
    trt("build", classifier, *options, "--preprocess", "preprocess.json", "--samples", "photos")
    known = trtfast.Passport.of(classifier.with_suffix(".engine"))
    assert known is not None
    assert known.options["calibration"]["runs"] == 1
    assert known.preprocess is not None


def test_what_an_engine_knows_is_known_of_its_onnx_model(
    trt: Command, classifier: Path, folder: Path
) -> None:
    (folder / "names.txt").write_text("red\nblue\n")
    cv2.imwrite(str(folder / "red.png"), np.full((40, 50, 3), (0, 0, 255), np.uint8))
    spec = trtfast.Preprocess((32, 32), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    (folder / "spec.json").write_text(json.dumps(spec.to_dict()))
    model = folder / "named.onnx"
    shutil.copy(classifier, model)

    def output(*inputs: str) -> Any:
        (told,) = trt.json("run", model, *inputs, "--backend", "reference")["runs"]
        return told["outputs"]["y"]

    assert {found["label"] for found in output("red.png")["classes"][0]} == {None}
    trt("build", model, "--classes", "names.txt", "--preprocess", "spec.json")
    told = output("red.png")
    assert [found["label"] for found in told["classes"][0]] == ["red", "blue"]
    np.testing.assert_allclose(told["values"], [[1, 0]], atol=1e-6)

    onnx.save(tiny.dense(), model)  # which the engine beside it was not built from
    assert {found["label"] for found in output()["classes"][0]} == {None}


def test_what_is_of_another_kind_is_told(trt: Command, dense: Path, folder: Path) -> None:
    (folder / "photo.jpg").write_bytes(b"JPEG")
    assert "photo.jpg is no ONNX model" in trt.fails("BuildError", "build", "photo.jpg")
    message = trt.fails("EngineIncompatibleError", "check", dense)
    assert message.endswith("is not a TensorRT plan: build an engine of it")
    trt("build", dense, "-o", "kind.engine")
    message = trt.fails("InputError", "run", "kind.engine", "--backend", "reference")
    assert message == "the reference engine runs ONNX models, and kind.engine is none"
    arguments = ("verify", dense, "--samples", "nowhere", "--reference", dense)
    done = trt(*arguments, "--backend", "reference", status=1)
    assert "there is no file or folder nowhere" in done.stderr


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
@pytest.mark.parametrize("command", ["run", "bench", "profile"])
def test_an_engine_without_a_gpu(command: str, trt: Command, dense: Path) -> None:
    trt("build", dense, "-o", "here.engine")
    message = trt.fails("UnsupportedDeviceError", command, "here.engine")
    assert message.startswith("here.engine is an engine, and no GPU can be used here: ")
    assert "The ONNX model that it was built from runs without one" in message
    assert "trtfast.load" not in message


def test_inspect_other_files(trt: Command, dense: Path, folder: Path) -> None:
    (folder / "random.engine").write_bytes(os.urandom(100))
    assert "not a TensorRT plan" in trt.fails("EngineIncompatibleError", "inspect", "random.engine")
    (folder / "half.onnx").write_bytes(dense.read_bytes()[:50])
    assert "half.onnx" in trt.fails("BuildError", "inspect", "half.onnx")


_WITHOUT_FILES = ["--reference", "no.npz", "--samples", "no.npz", "--backend", "reference"]


@pytest.mark.parametrize(
    ("kind", "arguments", "match"),
    [
        ("InputError", ["build", "no.onnx"], "there is no ONNX file no.onnx"),
        ("InputError", ["build", "dense.onnx", "--opt-shapes", "x=2"], "write input:1x3x224x224"),
        ("InputError", ["build", "dense.onnx", "--backend", "trt"], "'trt' is unknown"),
        ("PrecisionError", ["build", "dense.onnx", "--precision", "int4"], "is unknown"),
        ("InputError", ["build", "dense.onnx", "--precision", "fp8"], "give calibration="),
        ("InputError", ["run", "dense.onnx", "no.npy", "--backend", "reference"], "no file no.npy"),
        ("InputError", ["verify", "dense.onnx", *_WITHOUT_FILES], "no file no.npz"),
    ],
)
def test_errors_are_one_line(
    kind: str, arguments: list[str], match: str, trt: Command, dense: Path
) -> None:
    assert match in trt.fails(kind, *arguments)


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_run_refuses_what_is_no_array(ending: str, trt: Command, dense: Path) -> None:
    (trt.folder / f"text{ending}").write_text("no array")
    message = trt.fails("InputError", "run", dense, f"text{ending}", "--backend", "reference")
    assert f"text{ending} cannot be read as arrays" in message


def test_run_on_arrays(trt: Command, dense: Path) -> None:
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)
    np.save(trt.folder / "a.npy", x)
    np.savez(trt.folder / "b.npz", x=x * 2)
    options = ["--backend", "reference", "--top", "1", "--save", "new/outputs"]
    printed = trt("run", dense, "a.npy", "b.npz", *options).stdout
    assert printed.count("class: ") == 4  # two rows each
    assert "saved new/outputs" in printed
    with np.load(trt.folder / "new" / "outputs") as saved:
        assert sorted(saved) == ["a.y", "b.y"]
        np.testing.assert_allclose(saved["b.y"], saved["a.y"] * 2, rtol=1e-5)
        expected = np.maximum(x @ onnx.numpy_helper.to_array(tiny.weight("w", 8, 4)), 0)
        np.testing.assert_allclose(saved["a.y"], expected, rtol=1e-5, atol=1e-6)


def test_run_on_images(trt: Command, classifier: Path) -> None:
    for name, colour in (("red", (0, 0, 255)), ("blue", (255, 0, 0))):  # OpenCV writes BGR
        image = np.full((50, 40, 3), colour, np.uint8)
        cv2.imwrite(str(trt.folder / f"{name}.png"), image)
    options = ["--backend", "reference", "--top", "1"]
    printed = trt("run", classifier, "red.png", "blue.png", *options).stdout
    assert re.findall(r"index: (\d)", printed) == ["0", "1"]


@without_gpu
def test_preprocess_check_says_that_there_is_no_gpu(trt: Command, folder: Path) -> None:
    (folder / "spec.json").write_text(json.dumps(trtfast.Preprocess().to_dict()))
    cv2.imwrite(str(folder / "grey.png"), np.full((9, 8, 3), 128, np.uint8))
    options = ["preprocess-check", "--spec", "spec.json", "grey.png"]
    message = trt.fails("UnsupportedDeviceError", *options)
    assert message.startswith("it is the GPU that is checked, and no GPU can be used here: ")


def test_export(trt: Command) -> None:
    printed = trt("export", "squeezenet1_1", "--output", "s.onnx").stdout
    assert printed.startswith("s.onnx: random weights, for SqueezeNet1_1_Weights")
    assert printed.endswith("equal to PyTorch\n")
    model = onnx.load(trt.folder / "s.onnx")
    (image,) = model.graph.input
    assert image.name == "image"
    assert image.type.tensor_type.shape.dim[0].dim_param


def test_doctor(trt: Command) -> None:
    able = HAS_GPU and "supports GPU" in trt("doctor").stdout
    printed = trt("doctor", status=0 if able else 1).stdout
    assert printed.startswith(f"trtfast {trtfast.__version__}\n")
    assert f"numpy {np.__version__}" in printed
    assert "Driver: " in printed
    assert "Found TensorRT" in printed
    assert "cannot load" not in printed  # where else it was looked for
    assert ("GPU 0: " if HAS_GPU else "GPU: none (") in printed
    assert ("All is well" if able else "Next: ") in printed


def test_doctor_without_tensorrt(trt: Command, tmp_path: Path) -> None:
    printed = trt("doctor", status=1, TRTFAST_TENSORRT_PATH=str(tmp_path)).stdout
    assert "TensorRT, TRTFAST_TENSORRT_PATH" in printed
    assert 'Next: install TensorRT: pip install "trtfast[' in printed
