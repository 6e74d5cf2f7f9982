"""``trtfast verify``, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner, Result

import lossy
import quantising
import tiny
import trtfast
from trtfast.bisection import on_cpu, read_keep_list
from trtfast.cli.app import app
from trtfast.errors import InputError

KEPT = {f"make_{name}" for name in ("squares", "mean", "safe", "root")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the models lie, and their samples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    onnx.save(lossy.overflowing(), "rms.onnx")
    onnx.save(lossy.outlying(), "wide.onnx")
    onnx.save(lossy.classifier(), "good.onnx")
    onnx.save(lossy.classifier(seed=1), "other.onnx")
    np.savez("x.npz", x=lossy.images(20))
    np.save("x.npy", lossy.images(20))
    return tmp_path


def verify(
    model: str, reference: str, *options: str, samples: str = "x.npz", status: int = 0
) -> Result:
    arguments = ["verify", model, "--reference", reference, "--samples", samples, *options]
    done = CliRunner().invoke(app, [*arguments, "--backend", "reference"])
    if not isinstance(done.exception, (SystemExit, type(None))):
        raise done.exception
    assert done.exit_code == status, done.output
    return done


def test_what_is_right_passes(folder: Path) -> None:
    printed = verify("good.onnx", "good.onnx").stdout
    assert printed.startswith(
        "good.onnx in fp32 (ReferenceEngine) against good.onnx on the CPU, on 1 call"
    )
    assert "y: same first class in 100.00% of 20 rows, first five in 100.00%" in printed
    assert "determinism: one result of 50 runs (10 repeated, 40 threads)" in printed
    assert "batch: 8 rows, each alone within" in printed
    assert printed.endswith("passed\n")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_precision_is_emulated(precision: str, folder: Path) -> None:
    printed = verify("good.onnx", "good.onnx", "--precision", precision, samples="x.npy").stdout
    assert printed.startswith(f"{precision} is emulated on the CPU: as asked\n")
    assert f"good.onnx in {precision} (" in printed


def test_what_is_wrong_fails(folder: Path) -> None:
    printed = verify("other.onnx", "good.onnx", "--repeats", "0", status=1).stdout
    assert "FAILED: output 'y': the largest error, " in printed
    assert "determinism" not in printed
    assert "passed" not in printed


def test_tolerances(folder: Path) -> None:
    options = ("--precision", "fp16", "--repeats", "0")
    assert (
        "and 1e-05 is allowed"
        in verify("good.onnx", "good.onnx", *options, "--tolerance", "1e-5", status=1).stdout
    )
    assert (
        "confidences differ by up to"
        in verify("good.onnx", "good.onnx", *options, "--confidence", "1e-6", status=1).stdout
    )
    verify("good.onnx", "good.onnx", *options, "--tolerance", "0.02", "--confidence", "0.01")


def test_outputs_recorded_by_run(folder: Path) -> None:
    run = ["run", "good.onnx", "x.npz", "--backend", "reference", "--save", "recorded.npz"]
    assert CliRunner().invoke(app, run).exit_code == 0
    assert "against recorded.npz" in verify("good.onnx", "recorded.npz").stdout
    verify("other.onnx", "recorded.npz", status=1)


def test_json(folder: Path) -> None:
    options = ("--precision", "fp16", "--json", "--bisect")
    told = json.loads(verify("rms.onnx", "rms.onnx", *options, status=1).stdout)
    assert told["passed"] is False
    assert told["precision"] == "fp16"
    assert set(told["bisect"]["keep_fp32"]) == KEPT
    good = json.loads(verify("good.onnx", "good.onnx", *options).stdout)
    assert good["passed"] is True
    assert "bisect" not in good


def test_bisect_writes_a_keep_list_that_build_takes(folder: Path) -> None:
    done = verify("rms.onnx", "rms.onnx", "--precision", "fp16", "--bisect", status=1)
    assert "│ make_squares" in done.stdout
    assert "within tolerance with 4 nodes in float32, after" in done.stdout
    assert "rms.keep.txt: build again with --keep-fp32" in done.stdout
    assert set(read_keep_list("rms.keep.txt")) == KEPT
    built = CliRunner().invoke(app, ["build", "rms.onnx", "--keep-fp32", "rms.keep.txt"])
    assert built.exit_code == 0, built.output
    known = trtfast.Passport.of(folder / "rms.engine")
    assert known is not None
    assert set(known.options["keep_fp32"]) == KEPT


def test_bisect_where_to(folder: Path) -> None:
    options = ("--precision", "fp16", "--bisect", "--keep-list", "list")
    verify("rms.onnx", "rms.onnx", *options, status=1)
    assert set(read_keep_list("list")) == KEPT
    assert not Path("rms.keep.txt").exists()


def test_bisect_without_a_layer_at_fault(folder: Path) -> None:
    onnx.save(lossy.centring(), "centring.onnx")
    options = ("--precision", "fp16", "--bisect", "--tolerance", "0.1", "--confidence", "1")
    printed = verify("centring.onnx", "centring.onnx", *options, status=1).stdout
    assert "FAILED: output 'y': a row alone differs" in printed
    assert "the outputs are within tolerance, so no layer is at fault" in printed


# ---- quantised ----------------------------------------------------------------------------------


@quantising.builds
def test_quantised_on_the_cpu(folder: Path) -> None:
    options = ("--precision", "int8", "--calibration", "x.npy", "--bisect")
    assert "good.onnx in int8 (" in verify("good.onnx", "good.onnx", *options).stdout
    printed = verify("wide.onnx", "wide.onnx", *options, status=1).stdout
    assert printed.startswith("int8 is emulated on the CPU: as asked\n")
    assert "│ make_second" in printed
    assert "within tolerance with 1 nodes in float16, after 2 trials: make_second" in printed
    assert "wide.keep_fp16.txt: build again with --keep-fp16" in printed
    assert not Path("wide.keep.txt").exists()
    build = ["build", "wide.onnx", "--precision", "int8", "--calibration", "x.npy"]
    built = CliRunner().invoke(app, [*build, "--keep-fp16", "wide.keep_fp16.txt"])
    assert built.exit_code == 0, built.output
    known = trtfast.Passport.of(folder / "wide.engine")
    assert known is not None
    assert known.options["keep_fp16"] == ["make_second"]
    assert known.precision["computed"] == {"int8": 2, "float16": 1}


@quantising.builds
def test_bisect_knows_how_an_engine_was_built(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calibration and what it keeps already; the engine itself runs on the CPU here."""
    plan = trtfast.build(
        "wide.onnx", precision="int8", calibration="x.npy", keep_fp16=["make_first"]
    )
    known = trtfast.Passport.of(plan)
    assert known is not None
    calibration = trtfast.calibrate("wide.onnx", "x.npy")

    def load(path: Path, **_: object) -> Any:
        assert path == Path("wide.engine")
        engine: Any = on_cpu("int8", calibration)(lossy.outlying(), (), ["make_first"])
        engine.passport = known
        return engine

    monkeypatch.setattr(trtfast, "load", load)
    asked = ["--reference", "wide.onnx", "--samples", "x.npz", "--bisect", "--json"]
    done = CliRunner().invoke(app, ["verify", "wide.engine", *asked])
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout)
    assert told["precision"] == "int8"
    assert told["bisect"]["keep_fp16"] == ["make_first", "make_second"]
    assert read_keep_list("wide.keep_fp16.txt") == ("make_first", "make_second")
    again = CliRunner().invoke(app, ["verify", "wide.engine", "--calibration", "x.npy", *asked])
    assert isinstance(again.exception, InputError)
    assert "--calibration is for an ONNX model; wide.engine was" in str(again.exception)


def test_samples_to_calibrate_are_needed(folder: Path) -> None:
    with pytest.raises(InputError, match="'int8' needs samples"):
        verify("wide.onnx", "wide.onnx", "--precision", "int8")


# ---- images -------------------------------------------------------------------------------------


@pytest.fixture
def photographs(folder: Path) -> Path:
    """A folder of images, and a model that has the means of two channels as its scores."""
    for order, name in (([0, 2], "rgb"), ([2, 0], "bgr")):
        nodes = [
            helper.make_node("GlobalAveragePool", ["image"], ["mean"], name="pool"),
            helper.make_node("Flatten", ["mean"], ["flat"], name="flatten"),
            helper.make_node("Gather", ["flat", "channels"], ["y"], name="choose", axis=1),
        ]
        channels = onnx.numpy_helper.from_array(np.array(order), "channels")
        inputs = [tiny.value("image", "batch", 3, 32, 32)]
        outputs = [tiny.value("y", "batch", 2)]
        onnx.save(tiny.model_of(nodes, inputs, outputs, [channels]), f"{name}.onnx")
    (folder / "photographs").mkdir()
    rng = np.random.default_rng(0)
    for number in range(9):
        colour = rng.integers(0, 255, 3).astype(np.uint8)
        cv2.imwrite(f"photographs/{number}.png", np.full((40, 50, 3), colour))
    Path("photographs/notes.txt").write_text("no image")
    return folder / "photographs"


def test_a_folder_of_images(photographs: Path) -> None:
    printed = verify("rgb.onnx", "rgb.onnx", samples="photographs").stdout
    assert "against rgb.onnx on the CPU, on 1 call" in printed
    assert "of 9 rows" in printed
    assert "of 1 rows" in verify("rgb.onnx", "rgb.onnx", samples="photographs/3.png").stdout
    verify("bgr.onnx", "rgb.onnx", "--repeats", "0", samples="photographs", status=1)


def test_images_prepared_in_another_way(photographs: Path) -> None:
    swapped = trtfast.Preprocess((32, 32), channels="bgr")
    Path("swapped.json").write_text(json.dumps(swapped.to_dict()))
    images = [trtfast.read_image(file) for file in sorted(photographs.glob("*.png"))]
    np.save("recorded.npy", swapped(images).mean((2, 3))[:, [0, 2]])
    verify("rgb.onnx", "recorded.npy", samples="photographs", status=1)
    verify("rgb.onnx", "recorded.npy", "--preprocess", "swapped.json", samples="photographs")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("good.onnx", "good.txt"), r"good\.txt: the ending must be \.onnx, \.npz or \.npy"),
        (("good.onnx", "x.npz", "--bisect"), "--bisect needs the float32 model as --reference"),
        (("none.onnx", "good.onnx"), r"none\.onnx: there is no such file"),
        (("good.onnx", "good.onnx", "--precision", "fp12"), "fp12"),
    ],
)
def test_wrong_options(options: tuple[str, ...], match: str, folder: Path) -> None:
    with pytest.raises((InputError, trtfast.PrecisionError), match=match):
        verify(*options)


def test_wrong_samples(photographs: Path) -> None:
    (photographs.parent / "empty").mkdir()
    wrong: dict[str, Any] = {
        "empty": "the folder empty holds no samples",
        "none.npz": r"there is no file or folder none\.npz",
        "photographs": r"photographs/0\.png: it is an image, and it is not known how the model",
    }
    for samples, match in wrong.items():
        with pytest.raises(InputError, match=match):
            verify("good.onnx", "good.onnx", samples=samples)


def test_wrong_usage(folder: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["verify", "good.onnx"]).exit_code == 2
    arguments = ["verify", "good.onnx", "--reference", "good.onnx", "--samples", "x.npz"]
    assert runner.invoke(app, [*arguments, "--repeats", "-1"]).exit_code == 2
