"""Cubes that were restored together: what a record keeps of the pile, and the pile found again from it.

Every restoration of a pile names all of its cubes, in their order, by path and by the hash of their values. Restoring
one of them again needs all: each is read where it lay and held against its hash. A mask that was given by hand for a
companion lies in that companion's own restoration, in the same file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import object_session

from palimpsest.catalogue.tables import RestorationRow
from palimpsest.errors import EvidenceBroken, FormatError
from palimpsest.provenance.inputs import open_input
from palimpsest.provenance.tiling import values_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube


def pile_settings(
    paths: Sequence[Path | str], cubes: Sequence[Cube], masked: Sequence[bool], searched: Sequence[bool]
) -> list[dict[str, Any]]:
    """What a record keeps of a pile, one entry a cube in the order of restoration.

    Args:
        paths: of the inputs; inside the service, the ids of their artifacts.
        cubes: as they were restored.
        masked: whether a mask was given by hand.
        searched: whether defects that nobody marked were looked for.
    """
    rows = zip(paths, cubes, masked, searched, strict=True)
    return [
        {"name": cube.name, **_place(path), "values_sha256": values_sha256(cube.data),
         "masked": by_hand, "searched": was_searched}
        for path, cube, by_hand, was_searched in rows
    ]


def _place(path: Path | str) -> dict[str, str]:
    return {"artifact": path} if isinstance(path, str) else {"path": path.resolve().as_posix()}


def pile_again(
    cube: Cube, row: RestorationRow, mask_of: Callable[[RestorationRow], NDArray[Any] | None],
    path_of: Callable[[str], Path] | None = None,
) -> tuple[int, list[Cube], list[NDArray[Any] | None]]:
    """Which of the pile a record is of, and the cubes and masks of the pile.

    Args:
        cube: the record's own cube, already held against it.
        row: the record.
        mask_of: the mask that was given by hand for the cube of a record.
        path_of: where the cube of an artifact lies, inside the service.

    Raises:
        FormatError: a companion, or the record that holds its mask, is not there.
        EvidenceBroken: a companion has other values than it had.
    """
    from palimpsest.restoration.defects.defect_search import search

    pile, number = row.settings["group"], int(row.settings["number"])
    cubes: list[Cube] = []
    masks: list[NDArray[Any] | None] = []
    for place, told in enumerate(pile):
        found = cube if place == number else _companion(told, row, path_of)
        cubes.append(search(found).marked().cube if told["searched"] else found)
        masks.append(mask_of(_record_of(place, row)) if told["masked"] else None)
    return number, cubes, masks


def _companion(told: dict[str, Any], row: RestorationRow, path_of: Callable[[str], Path] | None) -> Cube:
    if path_of is not None and "artifact" in told:
        path = path_of(told["artifact"])
    else:
        path = Path(told.get("path", told["name"]))
    if not path.exists():
        raise FormatError(
            "it was restored together with a cube that is not there now", where=row.name, got=str(path),
            wanted="that cube where it lay, or a file of `restore --group --provenance-full`",
        )
    found = open_input(path)
    if values_sha256(found.data) != told["values_sha256"]:
        raise EvidenceBroken(
            "a cube that it was restored together with has other values now", where=path,
            wanted=told["values_sha256"],
        )
    return found


def _record_of(place: int, row: RestorationRow) -> RestorationRow:
    """The record, in the same file, of another cube of the pile."""
    if place == int(row.settings["number"]):
        return row
    session = object_session(row)
    wanted = row.settings["group"][place]["values_sha256"]
    same = [] if session is None else [
        other for other in session.scalars(select(RestorationRow).where(RestorationRow.decoded_sha256 == wanted))
        if other.settings.get("group") == row.settings["group"] and other.settings.get("number") == place
    ]
    if not same:
        raise FormatError(
            "the mask of a cube that it was restored together with is not in this file", where=row.name,
            got=row.settings["group"][place]["name"], wanted="the file that holds the whole group",
        )
    return same[-1]
