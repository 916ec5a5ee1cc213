"""Restoring again, as recorded: the release by its hash, the weights by theirs, the settings as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from palimpsest.errors import UnknownTerm

if TYPE_CHECKING:
    from palimpsest.catalogue.tables import RestorationRow
    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.result import Restoration


def restore_again(cube: Cube, row: RestorationRow) -> Restoration:
    """The restoration of ``cube`` by the release, weights and settings that ``row`` names.

    Raises:
        UnknownTerm: the release is not here.
        ModelMissing: the weights are not installed.
    """
    from palimpsest.restoration.restore import restore

    return restore(cube, _release(row.release))


def _release(wanted: str) -> KnowledgeBase | None:
    from palimpsest.knowledge.release import load

    if not wanted:
        return None
    for known in (None, "packaged", wanted):
        found = load(known)
        if found.release == wanted:
            return found
    raise UnknownTerm("the release of the record is not here", where=wanted)
