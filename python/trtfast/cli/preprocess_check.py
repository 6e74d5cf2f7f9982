"""``trtfast preprocess-check``: the GPU's preprocessing against the CPU's, image by image."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

import trtfast
from trtfast import backend
from trtfast.errors import InputError, UnsupportedDeviceError
from trtfast.preprocess.cpu import opencv
from trtfast.preprocess.parity import Difference, parity, picture_of, read_spec

from .console import console, print_json

if TYPE_CHECKING:
    from pathlib import Path

    from trtfast.preprocess import Channels
    from trtfast.preprocess.parity import ImageParity, Reference

__all__ = ["run_preprocess_check"]


class _Row(NamedTuple):
    path: Path
    found: ImageParity
    picture: tuple[Path, int] | None


def run_preprocess_check(
    path: Path,
    images: list[Path],
    reference: Reference,
    folder: Path | None,
    tolerance: int,
    as_json: bool,
) -> bool:
    """Print how far each image is from its reference; return whether all are within tolerance."""
    spec = read_spec(path)
    names = [image.name for image in images]
    if folder is not None and len(set(names)) < len(names):
        raise InputError(f"two images have one name, of {names}: their pictures would share a file")
    try:
        gpu = backend.require_gpu().name
    except UnsupportedDeviceError as error:
        reason = str(error).partition(". ")[0]
        raise UnsupportedDeviceError(f"it is the GPU that is checked, and {reason}") from None
    rows = []
    for image in images:
        found = parity(spec, trtfast.read_image(image), reference=reference)
        picture = None
        if folder is not None and found.pixels.largest > 0:
            picture = _write(folder / f"{image.name}.difference.png", found, spec.channels)
        rows.append(_Row(image, found, picture))
    pixels = Difference.over([row.found.pixels for row in rows])
    normalized = Difference.over([row.found.normalized for row in rows])
    is_within = pixels.largest <= tolerance
    if as_json:
        summary = {
            "gpu": gpu,
            "reference": reference,
            "tolerance": tolerance,
            "within_tolerance": is_within,
            "pixels": asdict(pixels),
            "normalized": asdict(normalized),
            "preprocess": spec.to_dict(),
        }
        print_json({"summary": summary, "images": [_described(row) for row in rows]})
        return is_within
    _print(rows)
    worst = max(rows, key=lambda row: row.found.pixels.largest)
    console.print(
        f"{len(rows)} images, {gpu} against {reference}: pixels differ by at most "
        f"{pixels.largest:.0f}/255 ({worst.path.name}), {_share(pixels)} are equal; normalised "
        f"values by at most {normalized.largest:.3g}, {_share(normalized)} are equal"
    )
    word = "within" if is_within else "beyond"
    console.print(f"{word} the tolerance of {tolerance}/255")
    return is_within


def _print(rows: list[_Row]) -> None:
    table = Table(
        *("image", "height x width", "pixels: largest", "mean", "equal"),
        *("normalised: largest", "mean", "equal"),
    )
    for path, found, _ in rows:
        pixels, normalized = found.pixels, found.normalized
        table.add_row(
            path.name,
            f"{found.size[0]}x{found.size[1]}",
            *(f"{pixels.largest:.0f}/255", f"{pixels.mean:.3g}/255", _share(pixels)),
            *(f"{normalized.largest:.3g}", f"{normalized.mean:.3g}", _share(normalized)),
        )
    console.print(table)
    for row in rows:
        if row.picture is not None:
            picture, factor = row.picture
            console.print(f"{picture}: the difference of {row.path.name}, amplified {factor} times")


def _share(difference: Difference) -> str:
    # Cut off, not rounded: "100 %" is for what is equal throughout.
    return f"{int(difference.equal * 10000) / 100:g} %"


def _described(row: _Row) -> dict[str, Any]:
    described: dict[str, Any] = {
        "image": str(row.path),
        "size": row.found.size,
        "pixels": asdict(row.found.pixels),
        "normalized": asdict(row.found.normalized),
    }
    if row.picture is not None:
        described |= {"difference": str(row.picture[0]), "amplified": row.picture[1]}
    return described


def _write(path: Path, found: ImageParity, channels: Channels) -> tuple[Path, int]:
    picture, factor = picture_of(found.apart)
    if channels == "rgb":
        picture = picture[..., ::-1]  # OpenCV writes BGR
    _, data = opencv().imencode(".png", picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())
    return path, factor
