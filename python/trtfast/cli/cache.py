"""``trtfast cache``: the engines that trtfast keeps."""

from __future__ import annotations

from datetime import datetime

from trtfast import cache

from .console import console, print_json

__all__ = ["run_cache"]


def run_cache(*, clear: bool, as_json: bool) -> None:
    """Print what is kept, or delete it and print how much it was."""
    folder = str(cache.cache_dir())
    if clear:
        freed = cache.clear()
        if as_json:
            print_json({"folder": folder, "freed": freed})
        else:
            console.print(f"freed {freed / 1e6:.1f} MB in {folder}")
        return
    entries = cache.entries()
    if as_json:
        told = [{"name": e.path.name, "bytes": e.size, "used": e.used} for e in entries]
        print_json({"folder": folder, "limit": cache.limit(), "entries": told})
        return
    for entry in entries:
        used = datetime.fromtimestamp(entry.used).isoformat(" ", "seconds")
        console.print(f"{entry.path.name}  {entry.size / 1e6:9.1f} MB  last used {used}")
    total = sum(entry.size for entry in entries)
    console.print(f"{folder}: {total / 1e6:.1f} of at most {cache.limit() / 1e6:.0f} MB")
