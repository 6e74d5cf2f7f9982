"""The command ``trtfast`` in a process of its own, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("trtfast")


def environment(folder: Path) -> dict[str, str]:
    """A terminal of 200 columns, and no network: weights must not make a test wait or vary."""
    nowhere = "http://127.0.0.1:9"
    return {
        **{name: value for name, value in os.environ.items() if name != "TRTFAST_DEBUG"},
        "COLUMNS": "200",
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "https_proxy": nowhere,
        "TORCH_HOME": str(folder / "torch"),
        "TRTFAST_CACHE_DIR": str(folder / "cache"),
    }


class Command:
    """Runs ``trtfast`` in a folder.

    A call returns what it printed, and holds it to a status. Where no GPU is, a model that runs on
    the reference engine is told of in a line, of which tests need not know.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = environment(folder)

    def __call__(
        self, *arguments: str | Path, status: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def fails(self, kind: str, *arguments: str | Path) -> str:
        """Run a command that must fail in one line, and return its message."""
        return self._one_line(f"{kind}: ", self(*arguments, status=1))

    def refuses(self, *arguments: str | Path) -> str:
        """Run a command that is used wrongly, and return its message, in one line."""
        return self._one_line("", self(*arguments, status=2))

    @staticmethod
    def _one_line(start: str, done: subprocess.CompletedProcess[str]) -> str:
        assert done.stdout == ""
        (line,) = done.stderr.strip().splitlines()
        start = f"trtfast: {start}"
        assert line.startswith(start)
        return line.removeprefix(start)

    def json(self, *arguments: str | Path, status: int = 0) -> Any:
        """Run a command, and return the JSON that is all that it prints."""
        return json.loads(self(*arguments, "--json", status=status).stdout)

    @contextmanager
    def begun(self, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
        """Start a command, to interrupt it."""
        # A child of what a shell has put in the background would ignore Ctrl-C, as its parent does.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        with subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            signal.signal(signal.SIGINT, before)
            try:
                yield process
            finally:
                process.kill()


def interrupt(
    process: subprocess.Popen[str], when: Callable[[], object], *, patience: float = 60
) -> tuple[str, str]:
    """Send Ctrl-C as soon as something is so, and return what the process printed."""
    end = time.monotonic() + patience
    while not when():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it has not begun in time"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=patience)
