"""Restoring again, as recorded: the release by its hash, the weights by theirs, the settings and the mask as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import object_session

from palimpsest.catalogue.tables import ProvenanceTile, RestorationRow
from palimpsest.cubes.bands import Reason
from palimpsest.errors import KnowledgeError, ModelMissing, UnknownTerm
from palimpsest.provenance.layers import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.result import Restoration


def restore_again(
    cube: Cube, row: RestorationRow, *, release: str | None = None, path_of: Callable[[str], Path] | None = None,
) -> Restoration:
    """The restoration of ``cube`` by the release, weights, mask and settings of ``row``.

    The release is looked for where the caller says, where it was read then, among the published ones; only one with the
    recorded hash is used. Weights that were given by hand are looked for where they lay.

    Args:
        cube: the input.
        row: the record.
        release: folder, ``.plk`` file or id of the release, where it lies elsewhere now.
        path_of: where the cube of an artifact lies, inside the service; for cubes restored together.

    Raises:
        UnknownTerm: the release is not here.
        ModelMissing: the weights of the record are not here.
        FormatError: restored together with other cubes, one of which is not there.
        EvidenceBroken: one of those has other values now.
    """
    from palimpsest.restoration.repair import repair

    given: dict[str, Any] = {
        "knowledge": _release(row.release, (release, row.settings.get("release_from"))),
        "weights": row.settings.get("weights_from"), "infer_opaque": bool(row.settings.get("infer_opaque", False)),
        "parts_left_out": tuple(row.settings.get("parts_left_out", ())),
        "edges": bool(row.settings.get("edges", True)), "is_decoded": bool(row.settings.get("is_decoded", False)),
        "is_denoised": bool(row.settings.get("denoised", False)),
    }
    if row.settings.get("group"):
        from palimpsest.provenance.together import pile_again
        from palimpsest.restoration.group import restore_member

        number, cubes, masks = pile_again(cube, row, _mask, path_of)
        again = restore_member(number, cubes, masks=masks, **given)
    else:
        again = repair(cube, is_searched=bool(row.settings.get("searched", True)), mask=_mask(row), **given)
    if row.model and again.model and again.model != row.model:
        raise ModelMissing("the weights of the record are not installed", where=row.name, got=again.model[:16],
                           wanted=row.model[:16])
    return again


def _release(wanted: str, places: Sequence[object]) -> KnowledgeBase | None:
    from palimpsest.knowledge.releases.release import load

    if not wanted:
        return None
    named = [str(place) for place in places if place]
    for place in (*named, None, "packaged", wanted):
        try:
            found = load(place)
        except KnowledgeError:
            continue  # moved, changed to something invalid, or never published: the next place may have it
        if found.release == wanted:
            return found
    raise UnknownTerm(
        "the release of the record is not here, or was changed since", where=wanted,
        got=f"others in {', '.join(named)}" if named else "none with this hash",
        wanted="--knowledge with the folder or file that holds it, or a published release",
    )


def _mask(row: RestorationRow) -> NDArray[np.bool_] | None:
    """The mask that was given by hand, out of the stored reasons; None when there was none."""
    session = object_session(row)
    if session is None:
        return None
    usable = np.ones((row.bands, row.rows, row.cols), bool)
    query = select(ProvenanceTile).where(ProvenanceTile.restoration_id == row.id)
    for tile in session.scalars(query.execution_options(yield_per=64)):
        usable[:, tile.row0 : tile.row1, tile.col0 : tile.col1] = unpack(tile.reasons) != Reason.USER
    return None if usable.all() else usable
