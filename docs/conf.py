"""How Sphinx makes the site: ``sphinx-build -W --keep-going docs build/docs``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "trtfast"
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
html_theme = "furo"
html_title = "trtfast"
html_show_copyright = False

suppress_warnings = ["toc.not_included"]  # a test says which page is not in the navigation
myst_heading_anchors = 3
autodoc_mock_imports = ["ray", "starlette"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
numpydoc_show_class_members = False  # autodoc lists them
python_maximum_signature_line_length = 80


def write_commands(app: Sphinx) -> None:
    """Have Typer describe the commands, so that the page is always that of the program."""
    page = Path(app.srcdir) / "reference" / "commands.md"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "commands.md"
        options = ("--name", "trtfast", "--title", "Commands", "--output", str(made))
        command = (sys.executable, "-m", "typer", "trtfast.cli.app", "utils", "docs", *options)
        subprocess.run(command, check=True, capture_output=True)
        text = made.read_text()
    if not page.exists() or page.read_text() != text:  # else Sphinx would read it again
        page.write_text(text)


def setup(app: Sphinx) -> None:
    """Let the page of commands be written before pages are looked for."""
    app.connect("builder-inited", write_commands)
