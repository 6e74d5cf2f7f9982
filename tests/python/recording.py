"""``pytest --results FILE``: what a run proved about the TensorRT that it used.

docs/compatibility.md is made of such files. A run is of one folder: the tests in ``gpu`` prove that
engines run right, those in ``integration`` that they are built.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from trtfast import _core, backend

PROOFS = {"integration": "build", "gpu": "gpu"}
WORST_LAST = ("passed", "skipped", "failed")


class Recorder:
    """Notes how each test ended, and writes it all at the end."""

    def __init__(self, file: Path, command: str) -> None:
        self.file = file
        self.command = command
        self.proof = ""
        self.outcomes: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        folders = {item.path.parent.name for item in items}
        if len(folders) != 1 or not folders <= PROOFS.keys():
            raise pytest.UsageError(
                f"--results takes the tests of one folder, {' or '.join(PROOFS)}, not of "
                f"{', '.join(sorted(folders)) or 'none'}"
            )
        self.proof = PROOFS[folders.pop()]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        before = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = max(before, report.outcome, key=WORST_LAST.index)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return  # a run that was cut short proves nothing
        library = backend.select()
        devices, _ = _core.devices()
        outcomes = list(self.outcomes.values())
        release = {
            "product": library.product,
            "version": library.version,
            **{outcome: outcomes.count(outcome) for outcome in WORST_LAST},
            "failures": sorted(test for test, end in self.outcomes.items() if end == "failed"),
        }
        record = {
            "proof": self.proof,
            "date": dt.date.today().isoformat(),
            "device": devices[0].name if devices else "CPU",
            "command": self.command,
            "releases": [release],
        }
        self.file.write_text(json.dumps(record, indent=2) + "\n")


def add_option(parser: pytest.Parser) -> None:
    parser.addoption(
        "--results", metavar="FILE", type=Path, help="write what the run proved, for the matrix"
    )


def register(config: pytest.Config) -> None:
    if file := config.getoption("--results"):
        given = [*config.invocation_params.args]
        told = " ".join(["pytest", *_without_results(given)])
        config.pluginmanager.register(Recorder(file.resolve(), told))


def _without_results(arguments: list[str]) -> list[str]:
    kept = [argument for argument in arguments if not argument.startswith("--results=")]
    if "--results" in kept:
        at = kept.index("--results")
        del kept[at : at + 2]
    return kept
