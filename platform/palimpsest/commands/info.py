"""``palimpsest info FILE``: what a cube, a stream or a provenance file holds; ``--verify`` repeats its promises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, print_result

if TYPE_CHECKING:
    import argparse

    from palimpsest.cubes import Cube

LARGEST_COUNT = 8_000_000  # voxels that are counted within the second; of larger cubes, every n-th row
SQLITE_MAGIC = b"SQLite format 3\0"
_NOT_PROMISED = "a plain cube promises nothing; it was read whole and its sizes agree"


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("file", metavar="FILE", type=Path, help="cube, .plm stream or provenance file")
    parser.add_argument("--verify", action="store_true", help="repeat what the file promises: checksums, bound, labels")
    parser.add_argument("--knowledge", metavar="RELEASE", help="release for labels that a stream certifies")
    parser.add_argument("--original", metavar="CUBE", type=Path, help="measures again the depths that were kept")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Describe the file; exit 4 when a promise is not kept."""
    path: Path = options.file
    head = b""
    if not path.is_dir():
        with path.open("rb") as stream:
            head = stream.read(16)
    answer: dict[str, object]
    if path.suffix.lower() == ".plm":
        answer = _stream(path, options)
    elif head == SQLITE_MAGIC:
        from palimpsest.provenance.describe import describe

        answer = describe(path, is_verified=options.verify)
    else:
        answer = _cube(path, verify=options.verify)
    print_result(answer, as_json=options.json)
    return 0


def _stream(path: Path, options: argparse.Namespace) -> dict[str, object]:
    from palimpsest.codec import inspect

    found = inspect.describe(path)
    if not options.verify:
        return found
    judge = None
    if "certificate" in found:  # only then is knowledge needed, and imported
        from palimpsest.knowledge.identification.judge import ReleaseJudge
        from palimpsest.knowledge.releases.release import load

        judge = ReleaseJudge(load(options.knowledge))
    original = None
    if options.original is not None:
        from palimpsest.formats import read

        original = read(options.original)
    return {**found, "verified": inspect.verify(path, judge, original)}


def _cube(path: Path, *, verify: bool) -> dict[str, object]:
    from palimpsest import formats

    known_as = formats.FORMATS.of_content(path)
    cube = known_as.read(path)
    every = 1 if verify else max(1, -(-cube.shape.voxels // LARGEST_COUNT))
    answer: dict[str, object] = {"format": known_as.name, **describe_cube(cube, every=every)}
    return {**answer, "verified": _NOT_PROMISED} if verify else answer


def describe_cube(cube: Cube, *, every: int = 1) -> dict[str, object]:
    """What a cube holds, ready for JSON: shape, type, bands, mask, units, place.

    Args:
        cube: any cube.
        every: count values and reasons in every n-th row only; the answer then says so.
    """
    from palimpsest.cubes import Reason
    from palimpsest.formats.envi_fields import NOTE

    bands = cube.bands
    shares, low, high = _counts(cube, every)
    answer: dict[str, object] = {
        "name": cube.name, "bands": cube.shape.bands, "rows": cube.shape.rows, "cols": cube.shape.cols,
        "dtype": cube.data.dtype.name, "minimum": low, "maximum": high,
        "usable_share": round(shares.pop("good", 0.0), 6), "unusable": {k: round(v, 6) for k, v in shares.items()},
        "nodata": _number(cube.nodata), "scale": cube.scale, "offset": cube.offset, "units": cube.units or None,
        "good_bands": int(bands.good.sum()),
        "bad_bands": {int(b): Reason(bands.reasons[b]).name.lower() for b in (~bands.good).nonzero()[0]},
        "sensor": cube.sensor or None,
    }
    if every > 1:
        answer["counted"] = f"one row in {every}; --verify counts all"
    if bands.centre_nm is not None:
        answer["wavelengths_nm"] = [float(bands.centre_nm.min()), float(bands.centre_nm.max())]
        answer["ascending"] = bool((bands.centre_nm[1:] > bands.centre_nm[:-1]).all())
    else:
        answer["wavelengths_nm"] = None
    if bands.fwhm_nm is not None:
        answer["fwhm_nm"] = [float(bands.fwhm_nm.min()), float(bands.fwhm_nm.max())]
    place = cube.georeference
    answer["georeference"] = None if place is None else {"crs": place.crs_wkt or None, "transform": place.transform}
    answer["history"] = list(cube.history)
    answer["remarks"] = cube.metadata.get(NOTE)
    return answer


def _counts(cube: Cube, every: int) -> tuple[dict[str, float], float | None, float | None]:
    """Share of the voxels by reason, and the extremes of the usable ones; band after band, whatever the size."""
    from dataclasses import replace

    import numpy as np

    from palimpsest.cubes import Reason

    counts = np.zeros(256, np.int64)
    low = high = None
    for band in range(cube.shape.bands):
        one = replace(
            cube, data=cube.data[band : band + 1, ::every], bands=cube.bands.select([band]),
            reasons=None if cube.reasons is None else cube.reasons[band : band + 1, ::every],
        )
        reasons = one.voxel_reasons()
        counts += np.bincount(reasons.ravel(), minlength=256)
        values = one.data[reasons == Reason.GOOD]
        if values.size:
            low = float(values.min()) if low is None else min(low, float(values.min()))
            high = float(values.max()) if high is None else max(high, float(values.max()))
    known = {int(reason): reason.name.lower() for reason in Reason}
    total = max(int(counts.sum()), 1)
    shares = {known.get(i, f"reason {i}"): float(n) / total for i, n in enumerate(counts.tolist()) if n}
    return shares, low, high


def _number(value: float | None) -> float | str | None:
    # JSON has no NaN.
    return value if value is None or abs(value) < float("inf") else str(value)
