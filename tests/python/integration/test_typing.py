"""A program of a user's, checked by mypy against the package as it is installed."""

from __future__ import annotations

import ast
import importlib.resources
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "typing" / "program.py"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def check(program: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Check a program as strictly as mypy can, with nobody's settings."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}"]
    return subprocess.run(
        [*command, program.name],
        cwd=program.parent,  # from which the sources are not found
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_types_come_with_the_package() -> None:
    package = importlib.resources.files("trtfast")
    assert package.joinpath("py.typed").is_file()
    assert package.joinpath("_core.pyi").is_file()


def test_a_users_program_is_right(cache: Path) -> None:
    done = check(PROGRAM, cache)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_program_asserts_is_looked_at(cache: Path, tmp_path: Path) -> None:
    """Each assertion fails once its type is another, and each line that is ignored is wrong."""
    text = PROGRAM.read_text()
    tree = ast.parse(text)
    asserts = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "assert_type"
    ]
    for node in asserts:
        node.args[1] = ast.Name("bytes")
    wrong = tmp_path / "program.py"
    wrong.write_text(ast.unparse(tree))  # without comments
    lines = set(re.findall(r"^program\.py:(\d+): error", check(wrong, cache).stdout, re.MULTILINE))
    assert len(asserts) > 50
    assert len(lines) == len(asserts) + text.count("# type: ignore[")
