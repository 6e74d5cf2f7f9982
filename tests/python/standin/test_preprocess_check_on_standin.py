"""``trtfast preprocess-check``, with kernels whose arithmetic runs on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import fake_gpu
from imagery import random_image
from trtfast.cli.app import app
from trtfast.errors import CudaError, InputError
from trtfast.preprocess import Preprocess


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name, size in (("a.png", (150, 77)), ("b.png", (31, 200))):
        cv2.imwrite(name, random_image(*size))
    return tmp_path


def check(spec: Preprocess, *arguments: str, status: int = 0) -> Result:
    Path("spec.json").write_text(json.dumps(spec.to_dict()))
    done = CliRunner().invoke(app, ["preprocess-check", "--spec", "spec.json", *arguments])
    if not isinstance(done.exception, (SystemExit, type(None))):
        raise done.exception
    assert done.exit_code == status, done.output
    return done


class Shifted(Preprocess):
    """A CPU path that is wrong by two in the first pixel's blue, and so the reference."""

    def pixels(self, images: Any) -> np.ndarray:
        made = super().pixels(images)
        made[:, 0, 0, 2] -= 2
        return made


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trtfast.cli.preprocess_check.read_spec", lambda _: Shifted((9, 8)))


@pytest.mark.parametrize(
    ("reference", "spec"),
    [
        ("cpu", Preprocess((26, 20), channels="bgr", normalization="min_max")),
        ("albumentations", Preprocess((26, 20), resize="longest", pad="center", fill=114)),
        ("torchvision", Preprocess((26, 26), interpolation="pil_bicubic", resize="shortest")),
    ],
)
def test_equal_images(reference: str, spec: Preprocess, folder: Path) -> None:
    options = ("--reference", reference, "--tolerance", "0", "--difference", "out")
    printed = check(spec, "a.png", "b.png", *options).stdout
    assert f"2 images, Fake GPU 0 against {reference}: pixels differ by at most 0/255" in printed
    assert printed.count("100 % are equal") == 2
    assert "within the tolerance of 0/255" in printed
    assert not (folder / "out").exists()


def test_json(folder: Path) -> None:
    spec = Preprocess((26, 20), interpolation="lanczos")
    told = json.loads(check(spec, "a.png", "b.png", "--json").stdout)
    assert told["summary"]["pixels"]["largest"] == 0
    assert told["summary"]["normalized"] == {"largest": 0, "mean": 0, "equal": 1, "values": 3120}
    assert Preprocess.from_dict(told["summary"]["preprocess"]) == spec
    assert [image["size"] for image in told["images"]] == [[150, 77], [31, 200]]


def test_beyond_the_tolerance(folder: Path, wrong: None) -> None:
    options = ("--difference", "out")
    printed = check(Preprocess(), "a.png", *options, status=1).stdout
    assert "pixels differ by at most 2/255 (a.png), 99.53 % are equal" in printed
    assert "beyond the tolerance of 1/255" in printed
    assert "out/a.png.difference.png: the difference of a.png, amplified 127 times" in printed
    picture = cv2.imread("out/a.png.difference.png")
    assert picture.shape == (9, 8, 3)
    assert np.argwhere(picture).tolist() == [[0, 0, 0]]  # blue comes first
    assert picture[0, 0, 0] == 254
    check(Preprocess(), "a.png", "--tolerance", "2")


def test_wrong_files(folder: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png"):
        check(Preprocess(), "a.png", "none.png")
    with pytest.raises(InputError, match="two images have one name"):
        check(Preprocess(), "a.png", "./a.png", "--difference", "out")


def test_the_cores_error_passes(folder: Path, gpu: fake_gpu.FakeGpu) -> None:
    gpu.fail("cudaMemcpyAsync")
    with pytest.raises(CudaError):
        check(Preprocess(), "a.png")
