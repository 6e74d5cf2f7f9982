"""The table of TensorRT's slots against headers: the official ones, and made-up wrong ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKER = Path(__file__).parents[2] / "abi" / "check_headers.py"
COMPILER = os.environ.get("CXX", "g++")
INCLUDE = os.environ.get("TRTFAST_TENSORRT_INCLUDE_DIR")

pytestmark = pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"{COMPILER} is not here")

# A few classes in the manner of TensorRT 11, with what the table, types.h and callbacks.cpp expect.
HEADER = """
#include <cstddef>
#include <cstdint>
#define NV_TENSORRT_MAJOR 11
#define NV_TENSORRT_MINOR 1
#define NV_TENSORRT_PATCH 0
namespace nvinfer1 {
enum class NetworkDefinitionCreationFlag : int32_t { kSTRONGLY_TYPED = 0 };
enum class OptProfileSelector : int32_t { kMIN = 0, kOPT = 1, kMAX = 2 };
enum class LayerType : int32_t {};
enum class APILanguage : int32_t { kCPP = 0 };
struct Dims64 { int32_t nbDims; int64_t d[8]; };
struct InterfaceInfo { char const* kind; int32_t major; int32_t minor; };
struct INoCopy { virtual ~INoCopy() = default; };
namespace apiv {
struct VRoot { virtual ~VRoot() = default; };
struct VHostMemory : VRoot {
  virtual void* data() const noexcept = 0;
  virtual std::size_t size() const noexcept = 0;
};
struct VOptimizationProfile : VRoot {
  virtual bool setDimensions(char const*, OptProfileSelector, Dims64 const&) noexcept = 0;
};
struct VLayer : VRoot {
  virtual LayerType getType() const noexcept = 0;
  virtual void setName(char const*) noexcept = 0;
  virtual char const* getName() const noexcept = 0;
  virtual int32_t getNbInputs() const noexcept = 0;
};
}
struct IHostMemory : INoCopy { apiv::VHostMemory* mImpl; };
struct IOptimizationProfile : INoCopy { apiv::VOptimizationProfile* mImpl; };
struct ILayer : INoCopy { apiv::VLayer* mLayer; };
struct IVersionedInterface {
  virtual APILanguage getAPILanguage() const noexcept { return APILanguage::kCPP; }
  virtual InterfaceInfo getInterfaceInfo() const noexcept = 0;
  virtual ~IVersionedInterface() noexcept = default;
};
struct ILogger : IVersionedInterface {
  enum class Severity : int32_t { kINTERNAL_ERROR, kERROR, kWARNING, kINFO, kVERBOSE };
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"ILogger", 1, 0}; }
  virtual void log(Severity severity, char const* message) noexcept = 0;
};
struct IProgressMonitor : IVersionedInterface {
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"IProgressMonitor", 1, 0}; }
  virtual void phaseStart(char const* name, char const* parent, int32_t steps) noexcept = 0;
  virtual bool stepComplete(char const* name, int32_t step) noexcept = 0;
  virtual void phaseFinish(char const* name) noexcept = 0;
};
}
"""

DATA = "virtual void* data() const noexcept = 0;"
SIZE = "virtual std::size_t size() const noexcept = 0;"
FINISH = "virtual void phaseFinish(char const* name) noexcept = 0;"
INFO = 'InterfaceInfo getInterfaceInfo() const noexcept override { return {"ILogger", 1, 0}; }'
REMOVED = "virtual bool setShapeValues() noexcept = 0;"

# What is wrong in the wrong headers: a text, its replacement, and the line that must name it.
WRONG = [
    (f"{DATA}\n  {SIZE}", f"{SIZE} {DATA}", "VHostMemory::data: ours slot 2, theirs slot 3"),
    (
        "int32_t getNbInputs() const",
        "int64_t getNbInputs() const",
        "VLayer::getNbInputs: ours int (), theirs long ()",
    ),
    (
        "struct VOptimizationProfile : VRoot {",
        "struct VOptimizationProfile : VRoot {" + REMOVED,
        "VOptimizationProfile::setShapeValues: ours has no slot, theirs has the method",
    ),
    (
        "kOPT = 1, kMAX = 2",
        "kOPT = 2, kMAX = 1",
        "ProfileSelector::kOpt and nvinfer1::OptProfileSelector: ours 1, theirs 2",
    ),
    (
        "{ int32_t nbDims; int64_t d[8]; }",
        "{ int64_t d[8]; int32_t nbDims; }",
        "Dims::d, offset: ours 8, theirs 64",
    ),
    (
        "struct IHostMemory : INoCopy {",
        "struct IHostMemory : INoCopy { void* more;",
        "IHostMemory, offset of its implementation: ours 8, theirs 16",
    ),
    (
        "struct INoCopy {",
        "struct INoCopy { virtual void first() {}",
        "ILayer, deleting destructor: ours 1, theirs 2",
    ),
    (
        "struct ILogger : IVersionedInterface {",
        "struct ILogger {",
        "ILogger::log: ours slot 4, theirs slot 0",
    ),
    (INFO, "", "ILogger: theirs has no virtual destructor"),
    (
        FINISH,
        f"{FINISH} virtual void phaseFail() noexcept = 0;",
        "IProgressMonitor, entries: ours 7, theirs 8",
    ),
    ("kSTRONGLY_TYPED = 0", "kSTRONGLY_TYPED = 1", "strongly typed flags: ours 1, theirs 2"),
]


def check(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CHECKER, "--cxx", COMPILER, "--include", folder, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def differences(output: str) -> list[str]:
    """The differences that are not merely what these few classes leave out."""
    lines = [line for line in output.splitlines() if line.startswith("DIFFERENT ")]
    return [line for line in lines if "theirs lacks the" not in line]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    text = HEADER
    for right, replacement, _ in WRONG:
        assert text.count(right) == 1, right
        text = text.replace(right, replacement)
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "NvInfer.h").write_text(text)
    return check(folder)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results") / "results.json"


@pytest.fixture(scope="module")
def in_order(
    tmp_path_factory: pytest.TempPathFactory, results: Path
) -> subprocess.CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("in_order")
    (folder / "NvInfer.h").write_text(HEADER)
    return check(folder, "--results", results)


def test_headers_in_order_differ_in_nothing_but_what_they_lack(
    in_order: subprocess.CompletedProcess[str],
) -> None:
    assert in_order.returncode == 1, in_order.stderr
    assert "VRuntime::deserializeCudaEngine: ours slot 3, theirs lacks the class" in in_order.stdout
    assert differences(in_order.stdout) == []


def test_results_are_what_was_printed(
    in_order: subprocess.CompletedProcess[str], results: Path
) -> None:
    record = json.loads(results.read_text())
    (release,) = record["releases"]
    assert (record["proof"], release["product"], release["version"]) == (
        "headers",
        "TensorRT",
        "11.1.0",
    )
    printed = [line for line in in_order.stdout.splitlines() if line.startswith("DIFFERENT ")]
    assert [f"DIFFERENT {failure}" for failure in release["failures"]] == printed
    assert release["failed"] == len(printed) > 0
    numbers = [
        int(n) for n in re.findall(r"(\d+) (?:rows|callback slots|values) right", in_order.stdout)
    ]
    assert len(numbers) == 3
    assert release["passed"] == sum(numbers) > 0


def test_wrong_headers_fail(wrong: subprocess.CompletedProcess[str]) -> None:
    assert wrong.returncode == 1, wrong.stderr


@pytest.mark.parametrize("line", [line for *_, line in WRONG])
def test_a_difference_is_named(line: str, wrong: subprocess.CompletedProcess[str]) -> None:
    assert line in "\n".join(differences(wrong.stdout))


def test_a_folder_without_headers_is_refused(tmp_path: Path) -> None:
    result = check(tmp_path)
    assert result.returncode == 2
    assert "there is no NvInfer.h" in result.stderr


def test_headers_of_a_version_not_driven_are_refused(tmp_path: Path) -> None:
    (tmp_path / "NvInfer.h").write_text(HEADER.replace("MAJOR 11", "MAJOR 9"))
    result = check(tmp_path)
    assert result.returncode == 2
    assert "TensorRT 9.1.0 is not supported" in result.stdout


@pytest.mark.skipif(not INCLUDE, reason="TRTFAST_TENSORRT_INCLUDE_DIR names no headers")
def test_the_official_headers_agree() -> None:
    result = subprocess.run(
        [sys.executable, CHECKER, "--cxx", COMPILER],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
