"""What the tools that write pages of the documentation have in common: tables, and a main."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent


def row(texts: list[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(texts)} |\n"


def write(told: str, results: str, page: str, make: Callable[[Path, str], str]) -> int:
    """Write a page, or with --check say whether it is as it would be written; return a status.

    `make` gets the folder of results, and the page as it is, empty where there is none. All paths
    are below the repository's root.
    """
    parser = argparse.ArgumentParser(description=told.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail if the page is out of date")
    parser.add_argument("--results", type=Path, default=ROOT / results)
    parser.add_argument("--page", type=Path, default=ROOT / page)
    asked = parser.parse_args()

    before = asked.page.read_text() if asked.page.exists() else ""
    wanted = make(asked.results, before)
    if not asked.check:
        asked.page.write_text(wanted)
    elif before != wanted:
        print(f"{asked.page} is out of date: run tools/{Path(sys.argv[0]).name}", file=sys.stderr)
        return 1
    return 0
