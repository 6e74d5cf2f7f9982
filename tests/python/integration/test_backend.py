"""How TensorRT is found, with the real libraries of this machine and with broken ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tiny
import trtfast
from trtfast import backend
from trtfast.errors import InputError, TensorRTNotFoundError, UnsupportedVersionError

VERSION_FUNCTION = "int getInferLibVersion(void) { return %d; }\n"


@pytest.fixture(scope="module")
def installed() -> Path:
    """The library that is found where nothing is said."""
    return Path(backend.select().path)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that ``TRTFAST_TENSORRT_PATH`` points to, empty at first."""
    folder = tmp_path / "tensorrt"
    folder.mkdir()
    monkeypatch.setenv("TRTFAST_TENSORRT_PATH", str(folder))
    return folder


def compile_library(path: Path, source: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "the build needs a C compiler, and so does this test"
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", path]
    subprocess.run(command, input=source, text=True, check=True, timeout=60)
    return path


def works() -> bool:
    """Tell whether a real library still builds in this process, whatever was loaded before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TRTFAST_TENSORRT_PATH", raising=False)
        assert backend.select().version
    return True


def test_what_is_found_is_chosen(installed: Path) -> None:
    found = [attempt.library for attempt in backend.find() if attempt.library is not None]
    chosen = backend.select()
    assert [library.path for library in found].count(chosen.path) == 1
    assert installed.is_file()
    assert chosen.product == ("TensorRT-RTX" if chosen.is_rtx else "TensorRT")
    assert (
        chosen.generation
        == {
            (False, "10"): "trt10",
            (False, "11"): "trt11",
            (True, "1"): "rtx15" if int(chosen.version.split(".")[1]) >= 5 else "rtx14",
        }[chosen.is_rtx, chosen.version.split(".")[0]]
    )


def test_pip_package_is_found_without_being_imported() -> None:
    code = """
import sys
from trtfast import backend
found = [a for a in backend.find() if a.source == "pip package" and a.library is not None]
print(len(found), [name for name in sys.modules if name.startswith("tensorrt")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split(maxsplit=1) == ["1", "[]\n"]


@pytest.mark.parametrize("as_folder", [True, False])
def test_given_place_is_the_only_one(
    as_folder: bool, installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = installed.parent if as_folder else installed
    monkeypatch.setenv("TRTFAST_TENSORRT_PATH", str(given))
    (attempt,) = backend.find()
    assert attempt.source == "TRTFAST_TENSORRT_PATH"
    assert attempt.library is not None
    assert Path(attempt.library.path) == installed
    assert trtfast.build(tiny.dense(), tmp_path / "model.engine").is_file()


def test_empty_folder(place: Path) -> None:
    with pytest.raises(TensorRTNotFoundError) as caught:
        backend.select()
    assert str(place) in str(caught.value)
    assert 'pip install "trtfast[' in str(caught.value)
    assert works()


def test_place_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = tmp_path / "libnvinfer.so.10"
    monkeypatch.setenv("TRTFAST_TENSORRT_PATH", str(missing))
    with pytest.raises(TensorRTNotFoundError, match=r"cannot load .*libnvinfer\.so\.10"):
        trtfast.build(tiny.dense(), tmp_path / "model.engine")
    assert not (tmp_path / "model.engine").exists()


@pytest.mark.parametrize(
    ("name", "number", "version"),
    [
        ("libnvinfer.so.11", 120000, "12.0.0"),
        ("libnvinfer.so.10", 100800, "10.8.0"),
        ("libnvinfer.so.10", 80601, "8.6.1|80601"),
        ("libtensorrt_rtx.so.1", 10200, "1.2.0"),
    ],
)
def test_version_that_is_not_driven(name: str, number: int, version: str, place: Path) -> None:
    compile_library(place / name, VERSION_FUNCTION % number)
    with pytest.raises(UnsupportedVersionError, match=version) as caught:
        backend.select()
    message = str(caught.value)
    assert str(place / name) in message
    assert "supported" in message.lower()
    assert works()


@pytest.mark.parametrize("name", ["libnvinfer.so.10", "libtensorrt_rtx.so.1"])
def test_library_of_something_else(name: str, place: Path) -> None:
    compile_library(place / name, "int unrelated(void) { return 1; }\n")
    with pytest.raises(TensorRTNotFoundError, match=r"is not TensorRT: it has no getInferLib"):
        backend.select()
    assert works()


@pytest.mark.parametrize("data", [b"", b"some text\n", b"\x7fELF" + bytes(60)])
def test_file_that_is_no_library(data: bytes, place: Path) -> None:
    (place / "libnvinfer.so.10").write_bytes(data)
    with pytest.raises(TensorRTNotFoundError, match=r"cannot load .*libnvinfer\.so\.10"):
        backend.select()
    assert works()


def test_version_without_its_functions(place: Path) -> None:
    """A library that tells a good version and then has nothing behind it."""
    compile_library(place / "libtensorrt_rtx.so.1", VERSION_FUNCTION % 10500)
    with pytest.raises(UnsupportedVersionError, match="gives no runtime"):
        backend.select()
    assert works()


def test_library_without_its_parser(
    installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a process of its own, since a parser that is loaded would be found by its name."""
    alone = tmp_path / installed.name
    alone.symlink_to(installed)
    code = f"""
import sys
sys.path.insert(0, {str(Path(tiny.__file__).parent)!r})
import tiny, trtfast
try:
    trtfast.build(tiny.dense(), {str(tmp_path / "model.engine")!r})
except trtfast.TensorRTNotFoundError as error:
    print(error)
"""
    monkeypatch.setenv("TRTFAST_TENSORRT_PATH", str(alone))
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert "ONNX parser" in done.stdout
    assert "should lie beside" in done.stdout


def test_unknown_backend() -> None:
    with pytest.raises(InputError, match="backend 'trt' is unknown: use 'auto', 'tensorrt'"):
        backend.select("trt")


def test_backend_that_is_not_installed(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTFAST_TENSORRT_PATH", str(installed))
    here, other = "tensorrt", "tensorrt_rtx"
    if backend.select().is_rtx:
        here, other = other, here
    assert Path(backend.select(here).path) == installed
    with pytest.raises(TensorRTNotFoundError, match=f"for backend '{other}'") as caught:
        backend.select(other)
    assert str(installed) in str(caught.value)


def test_version_of_a_plan_is_preferred_not_demanded() -> None:
    assert backend.select(version="0.0.0.0").path == backend.select().path


def test_gpu_that_is_not_there() -> None:
    assert backend.gpu(-1) is None
    assert backend.gpu(999) is None
    for device in (-1, 999):
        with pytest.raises(trtfast.UnsupportedDeviceError, match="GPU"):
            backend.require_gpu(device)


@pytest.mark.parametrize(
    ("value", "allowed"), [(None, False), ("", False), ("0", False), ("1", True)]
)
def test_environment_allows_unlisted_gpus(
    value: str | None, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "TRTFAST_ALLOW_UNSUPPORTED_GPU"
    monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(name, value)
    assert backend.is_gpu_allowed(None) is allowed
    assert backend.is_gpu_allowed(True) is True
    assert backend.is_gpu_allowed(False) is False
