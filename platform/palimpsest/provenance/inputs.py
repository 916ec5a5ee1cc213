"""The cube that a restoration was given: decoded from its stream, or read as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from palimpsest.errors import EvidenceBroken, FormatError
from palimpsest.provenance.tiling import values_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from palimpsest.catalogue.tables import RestorationRow
    from palimpsest.cubes import Cube


def open_input(path: Path) -> Cube:
    """The decoded cube of a stream, or the cube of any known format.

    Raises:
        FormatError: no such file, or of no known kind.
    """
    if not path.exists():
        raise FormatError("the restoration's input is not there", where=path, wanted="its place now: --input FILE")
    if is_stream(path):
        from palimpsest.codec.decoder import decode

        return decode(path)
    from palimpsest.formats import read

    return read(path)


def is_stream(path: Path) -> bool:
    """Whether a file is a ``.plm`` stream, by its suffix; its own magic is checked by whoever decodes it."""
    return path.is_file() and path.suffix.lower() == ".plm"


def check_input(cube: Cube, row: RestorationRow, where: object) -> None:
    """Hold that a cube has the values that the restoration was made from.

    Raises:
        EvidenceBroken: another shape, or other values.
    """
    wanted = (row.bands, row.rows, row.cols)
    if tuple(cube.shape) != wanted or cube.data.dtype.name != row.dtype:
        raise EvidenceBroken(
            "not the cube that was restored", where=where, got=f"{tuple(cube.shape)} {cube.data.dtype.name}",
            wanted=f"{wanted} {row.dtype}",
        )
    found = values_sha256(cube.data)
    if found != row.decoded_sha256:
        raise EvidenceBroken("not the values that were restored", where=where, got=found, wanted=row.decoded_sha256)
