"""A comparison as one HTML page that needs nothing else: text, tables and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import Error
from ..passport import replacing

__all__ = ["write_page"]


def write_page(found: dict[str, Any], path: Path) -> None:
    """Write a page, all of it or nothing.

    Parameters
    ----------
    found : dict
        What ``CompareReport.to_dict()`` gives, or was read back from its JSON.
    path : Path

    Raises
    ------
    Error
        If Jinja or Matplotlib is not installed.
    """
    try:
        import jinja2

        from .plots import plots_of
    except ImportError as error:
        raise Error(
            f'what makes the page is not installed ({error}): pip install "trtfast[report]"'
        ) from error
    template = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    ).get_template("page.html.j2")
    text = template.render(found=found, plots=plots_of(found))
    with replacing(path) as partial:
        partial.write_text(text)
