"""The table of docs/preprocessing.md says what the recorded runs found, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "tools" / "preprocess_table.py"
FOUND = {
    "interpolation": "cubic",
    "images": 7,
    "smallest": [1, 2],
    "largest": [30, 40],
    "largest_difference": 1.0,
    "equal": 0.99999,
    "images_equal": 3,
}
RUN = {"gpu": "GPU X", "stand_in": False, "opencv": "5.0", "ipp": True, "pillow": "13.0"}


def run_tool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, TOOL, "--results", folder, "--page", folder / "page.md", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    page = (ROOT / "docs" / "preprocessing.md").read_text()
    (tmp_path / "page.md").write_text(page)
    for name, run in (("a", RUN | {"stand_in": True, "ipp": False}), ("b", RUN)):
        file = tmp_path / f"preprocess-parity-{name}.json"
        file.write_text(json.dumps(run | {"interpolations": [FOUND]}))
    return tmp_path


def test_rows_and_the_rest_of_the_page(folder: Path) -> None:
    before = (folder / "page.md").read_text()
    assert run_tool(folder, "--check").returncode == 1
    assert run_tool(folder).returncode == 0
    assert run_tool(folder, "--check").returncode == 0
    after = (folder / "page.md").read_text()
    start = "| `cubic` | 7 | 1x2 to 30x40 | 1/255 | 99.99 % | 3 |"
    rows = [line for line in after.splitlines() if line.startswith("| `cubic` | 7")]
    assert rows == [
        f"{start} GPU X | 5.0 with IPP | 13.0 |",
        f"{start} stand-in (no GPU) | 5.0 without IPP | 13.0 |",
    ]
    mark = "<!-- tools/preprocess_table.py writes from here -->"
    assert after.partition(mark)[0] == before.partition(mark)[0]


def test_a_page_without_marks_is_refused(folder: Path) -> None:
    (folder / "page.md").write_text("nothing")
    assert "the page must have one line" in run_tool(folder).stderr


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, TOOL, "--check"], check=False, timeout=60)
    assert done.returncode == 0
