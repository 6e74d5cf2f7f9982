"""What all commands have in common: help, errors, statuses, the log, completion."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import onnx
import pytest
import typer

import tiny
import trtfast
from command import PROGRAM, Command
from trtfast.cli.app import app
from trtfast.precision import PRECISIONS

COMMANDS: dict[str, typer.core.TyperCommand] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
REPORTING = sorted(set(COMMANDS) - {"view"})


def test_the_commands() -> None:
    assert set(COMMANDS) >= {
        *("demo", "doctor", "export", "build", "run", "bench", "compare", "verify"),
        *("inspect", "check", "view", "cache", "preprocess-check"),
    }


@pytest.mark.parametrize("name", REPORTING)
def test_each_that_reports_has_json(name: str) -> None:
    assert any("--json" in param.opts for param in COMMANDS[name].params)


def test_options_of_one_name_mean_the_same() -> None:
    """One that takes a value takes one in all commands, and is called the same in help."""
    kinds: dict[str, set[tuple[bool, str | None]]] = {}
    for command in COMMANDS.values():
        for param in command.params:
            for option in param.opts:
                if option.startswith("--"):
                    is_flag = bool(getattr(param, "is_flag", False))
                    kinds.setdefault(option, set()).add((is_flag, param.metavar))
    several = {name: found for name, found in kinds.items() if len(found) > 1}
    # Which is text where it is what is compared with, and a file where it is a model.
    assert set(several) <= {"--reference", "--tolerance"}, several


def test_help_of_build_fits_a_screen(trt: Command) -> None:
    printed = trt("build", "--help", COLUMNS="80").stdout
    assert len(printed.strip().splitlines()) <= 40
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed
    for hidden in ("--memPoolSize", "--workspace", "--timing-cache"):
        assert hidden not in printed


def test_program_starts_without_what_is_heavy() -> None:
    heavy = {"numpy", "torch", "onnx", "cv2", "onnxruntime"}
    code = (
        f"import sys; from trtfast.cli.app import app; print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_version(trt: Command) -> None:
    assert trt("--version").stdout == f"trtfast {trtfast.__version__}\n"


def test_statuses_are_told(trt: Command) -> None:
    assert "0 well, 1 a check failed or an error, 2 wrong usage, 130" in trt("--help").stdout
    assert trt(status=2).stdout.count("Usage: trtfast") == 1


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["bild"], "No such command 'bild'. Did you mean 'build'?; see trtfast --help"),
        (["build"], "Missing argument 'ONNX'; see trtfast build --help"),
        (["build", "m.onnx", "--precison", "fp16"], "--precision"),
        (["build", "m.onnx", "--optimization-level", "9"], "--optimization-level"),
        (["cache", "empty"], "list"),
        (["run", "m.onnx", "--top", "0"], "--top"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], match: str, trt: Command) -> None:
    assert match in trt.refuses(*arguments)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_traceback_where_it_is_asked_for(place: int, trt: Command) -> None:
    words = ["inspect", "nothing.engine"]
    words.insert(place, "--debug")
    told = trt(*words, status=1).stderr
    assert "Traceback (most recent call last)" in told
    assert told.endswith("trtfast.errors.InputError: there is no file nothing.engine\n")


def test_traceback_by_the_environment(trt: Command) -> None:
    assert "Traceback" in trt("inspect", "nothing.engine", status=1, TRTFAST_DEBUG="1").stderr
    assert trt.fails("InputError", "inspect", "nothing.engine") == "there is no file nothing.engine"


def test_an_error_of_several_lines_is_one(trt: Command, dense: Path) -> None:
    failed = trt("build", dense, "-o", "x.engine", status=1, TRTFAST_TENSORRT_PATH="/nowhere")
    (line,) = failed.stderr.splitlines()
    assert line.startswith("trtfast: TensorRTNotFoundError: no TensorRT was found. Install one")
    assert "Looked at: TRTFAST_TENSORRT_PATH, /nowhere" in line
    assert "folder. Looked" in line


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (["inspect", "dense.onnx"], "onnx", "torch"),
        (["build", "dense.onnx"], "onnx", "torch"),
        (["run", "dense.onnx", "--backend", "reference"], "onnxruntime", "reference"),
        (["export", "resnet18"], "torchvision", "torch"),
        (["demo"], "torch", "demo"),
        (["view", "dense.onnx"], "netron", "view"),
    ],
)
def test_what_is_not_installed_is_told(
    arguments: list[str], missing: str, extra: str, trt: Command, dense: Path, tmp_path: Path
) -> None:
    # As a name that cannot be found, which sitecustomize makes of what is.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util, sys\n"
        f"sys.modules[{missing!r}] = None\n"
        "find = util.find_spec\n"
        f"util.find_spec = lambda name, *rest: None if name == {missing!r} else find(name, *rest)\n"
    )
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    message = trt(*arguments, status=1, PYTHONPATH=paths).stderr
    assert f'pip install "trtfast[{extra}]"' in message
    assert "unexpected" not in message


def test_what_was_not_expected_is_one_line_too(trt: Command) -> None:
    """A size of the cache that is no number, as no command looks for."""
    done = trt("cache", "list", status=1, TRTFAST_CACHE_SIZE="big")
    (line,) = done.stderr.splitlines()
    assert line.startswith("trtfast: unexpected ValueError: invalid literal for int()")
    assert line.endswith("run it again with --debug for the traceback")


@pytest.mark.parametrize(
    ("words", "levels"),
    [
        (["build"], set()),
        (["-v", "build"], {"info"}),
        (["build", "-v"], {"info"}),
        (["-vv", "build"], {"info", "debug"}),
        (["build", "-v", "-v"], {"info", "debug"}),
        (["build", "--verbose"], {"info"}),
    ],
)
def test_tensorrt_is_quiet_unless_asked(
    words: list[str], levels: set[str], trt: Command, dense: Path
) -> None:
    done = trt(*words, dense, "-o", "log.engine", "--json")
    json.loads(done.stdout)
    assert set(re.findall(r"^TensorRT: (\w+): ", done.stderr, re.MULTILINE)) == levels


def test_errors_of_tensorrt_are_told_once(trt: Command, dense: Path) -> None:
    options = ("-o", "no.engine", "--workspace", "1B")
    told = trt.fails("BuildError", "build", dense, *options)
    assert "workspace" in told
    loud = trt("build", dense, *options, "-v", status=1).stderr
    assert "TensorRT: error: " in loud


def test_a_warning_of_trtfast_is_one_line(trt: Command, dense: Path) -> None:
    """Of a library that is newer than all that were tested, as if this one were."""
    code = (
        "import sys, warnings; from trtfast import cli, backend; find = backend.find\n"
        "def warned(*a):\n    warnings.warn('beware', stacklevel=1); return find(*a)\n"
        "warned.__code__ = warned.__code__.replace(co_filename=backend.__file__)\n"
        "backend.find = warned; cli.main(['check', sys.argv[1]])"
    )
    trt("build", dense, "-o", "warned.engine")
    done = subprocess.run(
        [sys.executable, "-c", code, "warned.engine"],
        cwd=trt.folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == "trtfast: warning: beware\n"


def complete(trt: Command, *words: str) -> list[str]:
    done = trt(
        _TRTFAST_COMPLETE="complete_bash",
        COMP_WORDS=" ".join(("trtfast", *words)),
        COMP_CWORD=str(len(words)),
    )
    return done.stdout.split()


def test_completion(trt: Command) -> None:
    assert set(complete(trt, "")) == set(COMMANDS)
    assert complete(trt, "bu") == ["build"]
    assert set(complete(trt, "build", "m.onnx", "--precision", "")) == {*PRECISIONS, "auto"}
    assert complete(trt, "build", "m.onnx", "--precision", "b") == ["bf16"]
    assert complete(trt, "build", "--backend", "t") == ["tensorrt", "tensorrt_rtx"]
    assert complete(trt, "run", "--backend", "r") == ["reference"]
    assert complete(trt, "cache", "") == ["list", "clear"]
    assert "--calibration" in complete(trt, "build", "--")


def test_completion_is_installed(trt: Command, tmp_path: Path) -> None:
    trt("--install-completion", "bash", HOME=str(tmp_path))
    assert (tmp_path / ".bashrc").exists()
    scripts = [path.read_text() for path in tmp_path.rglob("*trtfast*") if path.is_file()]
    assert any("_TRTFAST_COMPLETE=complete_bash" in script for script in scripts)


def test_long_work_shows_that_it_goes_on(trt: Command) -> None:
    """On a terminal: its phase and the time so far, and no percentage."""
    onnx.save(tiny.convolutions(200, 8), trt.folder / "long.onnx")
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [PROGRAM, "build", "long.onnx"],
        cwd=trt.folder,
        env={**trt.environment, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # that it has ended
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    printed, _ = process.communicate(timeout=60)
    assert re.fullmatch(r"long\.engine: \d+\.\d MB\n", printed)
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"[⠁-⣿] \d:\d\d:\d\d building the engine: .+ \d+/\d+", text)
    assert "%" not in text


def test_nothing_moves_where_there_is_no_terminal(trt: Command, dense: Path) -> None:
    assert trt("build", dense, "-o", "silent.engine").stderr == ""
