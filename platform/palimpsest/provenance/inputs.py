"""Which restoration of a file is asked about, and the cube that it was given: decoded from its stream, or as read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from palimpsest.catalogue.tables import RestorationRow
from palimpsest.errors import EvidenceBroken, FormatError
from palimpsest.provenance.tiling import values_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from palimpsest.cubes import Cube


def recorded(session: Session, path: Path, which: str = "") -> RestorationRow:
    """A restoration of a provenance file.

    Args:
        session: on that file.
        path: of it, for messages.
        which: its id, or the name of its cube; the latest one when left out, and of several of one name.

    Raises:
        FormatError: the file has no such restoration.
    """
    rows = session.scalars(select(RestorationRow).order_by(RestorationRow.created, RestorationRow.id)).all()
    found = [row for row in rows if which in ("", row.id, row.name)]
    if not found:
        raise FormatError(
            "no such restoration in this file", where=path, got=which or "none",
            wanted=", ".join(f"{row.id} ({row.name})" for row in rows[:8]) or "a file of `restore --provenance`",
        )
    return found[-1]


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
