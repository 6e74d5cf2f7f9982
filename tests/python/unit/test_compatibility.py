"""The matrix of docs/compatibility.md says what the recorded runs prove, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import recording

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "tools" / "compatibility.py"
HEADERS = {"proof": "headers", "device": "CPU", "command": "check_headers.py"}
BUILD = {"proof": "build", "device": "CPU", "command": "pytest integration"}
GPU = {"proof": "gpu", "device": "H100", "command": "pytest gpu"}
UNKNOWN = ["not recorded"] * 5


def write(folder: Path, run: dict, product: str, version: str, *counts: int) -> None:
    folder.mkdir(exist_ok=True)
    passed, skipped, failed = counts
    release = {"product": product, "version": version, "passed": passed, "skipped": skipped}
    release |= {"failed": failed, "failures": [f"test_{at}" for at in range(failed)]}
    file = folder / f"{run['proof']}-{product}-{version}-{run['device']}.json"
    file.write_text(json.dumps(run | {"date": "2026-01-02", "releases": [release]}))


def run_tool(results: Path, page: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, TOOL, "--results", results, "--page", page, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def rows_of(results: Path) -> dict[str, list[str]]:
    page = results.parent / "page.md"
    done = run_tool(results, page)
    assert done.returncode == 0, done.stderr
    matrix = page.read_text().partition("## The runs")[0].splitlines()
    cells = [line.strip("| ").split(" | ") for line in matrix if line.startswith("| Tensor")]
    return {release: others for release, *others in cells}


def test_without_results_nothing_is_claimed(results: Path) -> None:
    rows = rows_of(results)
    assert rows.pop("TensorRT 10.8")[0].startswith("refused")
    assert len(rows) == 16 + 2 + 5
    assert all(cells == UNKNOWN for cells in rows.values())


def test_a_build_proves_no_run(results: Path) -> None:
    write(results, BUILD, "TensorRT-RTX", "1.5.0.114", 17, 0, 0)
    rows = rows_of(results)
    built = ["1.5.0.114", "17 of 17 on CPU, 2026-01-02", "not recorded", "not recorded"]
    assert rows["TensorRT-RTX 1.5"] == [*built, "real build"]
    assert rows["TensorRT-RTX 1.6"] == UNKNOWN


def test_what_was_skipped_or_failed_is_not_right(results: Path) -> None:
    write(results, GPU, "TensorRT", "10.16.1", 48, 1, 1)
    write(results, GPU | {"device": "L4"}, "TensorRT", "10.16.1", 50, 0, 0)
    _, built, loaded, ran, proof = rows_of(results)["TensorRT 10.16"]
    assert (built, loaded) == ("not recorded", "H100, L4")
    assert ran == "48 of 50 on H100, 2026-01-02; 50 of 50 on L4, 2026-01-02"
    assert proof == "real run with 1 failed"
    assert "- TensorRT 10.16.1 on H100: test_0\n" in (results.parent / "page.md").read_text()


def test_no_run_that_failed_whole_counts_as_found(results: Path) -> None:
    write(results, GPU, "TensorRT", "11.1.0", 0, 0, 3)
    found, _, loaded, ran, _ = rows_of(results)["TensorRT 11.1"]
    assert (found, loaded) == ("not recorded", "not recorded")
    assert ran == "0 of 3 on H100, 2026-01-02"


def test_proofs_without_the_library_say_what_they_are(results: Path) -> None:
    write(results, HEADERS, "TensorRT", "10.0.1", 130, 0, 0)
    write(results, HEADERS | {"proof": "standin"}, "TensorRT", "10.0", 57, 0, 0)
    *others, proof = rows_of(results)["TensorRT 10.0"]
    assert others == UNKNOWN[1:]
    assert proof == "header check, stand-in (call path only)"


@pytest.mark.parametrize(
    ("run", "version", "message"),
    [(GPU, "12.0.0", "TensorRT 12.0 has no row"), (GPU | {"proof": "hope"}, "11.0", "'hope'")],
)
def test_what_it_does_not_know_is_refused(
    run: dict, version: str, message: str, results: Path
) -> None:
    write(results, run, "TensorRT", version, 1, 0, 0)
    done = run_tool(results, results.parent / "page.md")
    assert done.returncode == 1
    assert message in done.stderr


def test_a_page_that_differs_is_out_of_date(results: Path) -> None:
    page = results.parent / "page.md"
    assert run_tool(results, page, "--check").returncode == 1
    run_tool(results, page)
    assert run_tool(results, page, "--check").returncode == 0
    write(results, GPU, "TensorRT", "11.0.0", 1, 0, 0)
    assert run_tool(results, page, "--check").returncode == 1


def test_the_worst_of_a_tests_phases_counts(tmp_path: Path) -> None:
    recorder = recording.Recorder(tmp_path / "results.json", "pytest")
    for test, ends in {"a": "passed passed failed", "b": "skipped passed", "c": "passed"}.items():
        for end in ends.split():
            recorder.pytest_runtest_logreport(SimpleNamespace(nodeid=test, outcome=end))
    assert recorder.outcomes == {"a": "failed", "b": "skipped", "c": "passed"}


def test_pytest_records_one_folder_alone(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command = [sys.executable, "-m", "pytest", "tests/python/unit/test_errors.py"]
    done = subprocess.run(
        [*command, "--results", file], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--results takes the tests of one folder, integration or gpu, not of unit" in done.stderr
    assert not file.exists()


def test_pytest_records_what_ran(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command = [sys.executable, "-m", "pytest", "-k", "depends_on_data"]
    command += ["tests/python/integration/test_build_models.py", f"--results={file}"]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    record = json.loads(file.read_text())
    (release,) = record["releases"]
    assert (record["proof"], release["passed"], release["failed"]) == ("build", 1, 0)
    assert release["product"].startswith("TensorRT")
    assert record["command"] == f"pytest {' '.join(command[3:-1])}"


def test_standin_results_are_told_by_release(tmp_path: Path) -> None:
    tests = [
        {"name": "A/10_0", "classname": "S", "result": "COMPLETED", "value_param": "10.0"},
        {"name": "B/10_0", "classname": "S", "result": "SKIPPED", "value_param": "10.0"},
        {"name": "A/rtx1_5", "classname": "S", "result": "COMPLETED", "value_param": "rtx1.5"},
        {"name": "Other", "classname": "S", "result": "COMPLETED"},
    ]
    tests[2]["failures"] = [{"failure": "wrong"}]
    report = json.dumps({"testsuites": [{"testsuite": tests}]})
    program = tmp_path / "standin_tests"
    program.write_text(
        f"#!/bin/sh\ncat > ${{1#--gtest_output=json:}} <<'END'\n{report}\nEND\nexit 1"
    )
    program.chmod(0o755)
    file = tmp_path / "results.json"
    script = ROOT / "tests" / "standin" / "record.py"
    done = subprocess.run([sys.executable, script, program, file], check=False)
    assert done.returncode == 1, "the tests' status is passed on"
    ten, rtx = json.loads(file.read_text())["releases"]
    assert ten == {
        "product": "TensorRT",
        "version": "10.0",
        "passed": 1,
        "skipped": 1,
        "failed": 0,
        "failures": [],
    }
    assert (rtx["product"], rtx["version"], rtx["failures"]) == (
        "TensorRT-RTX",
        "1.5",
        ["S.A/rtx1_5"],
    )
