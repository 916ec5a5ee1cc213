"""Doing a recorded restoration again, whole, and saying how well it agrees: bit by bit, or to within one stored step.

On the same class of machine with the same packages the answer is bit-identical. Elsewhere networks may round
otherwise; then the stored result, pinned by its hash, is the truth, and the repetition is held against its values.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from palimpsest.catalogue.database import open_file
from palimpsest.catalogue.tables import ProvenanceTile, RestorationRow
from palimpsest.errors import EvidenceBroken
from palimpsest.provenance.inputs import check_input, open_input, recorded
from palimpsest.provenance.recompute import restore_again
from palimpsest.provenance.tiling import parts_sha256, tiled, values_sha256

if TYPE_CHECKING:
    from collections.abc import Callable

    from palimpsest.cubes import Cube
    from palimpsest.restoration.result import Restoration

BIT_IDENTICAL = "bit-identical"
WITHIN_A_STEP = "within one stored step"


def repeat(
    path: Path, *, input_path: Path | None = None, restored_path: Path | None = None,
    recompute: Callable[[Cube, RestorationRow], Restoration] = restore_again, which: str = "",
) -> dict[str, object]:
    """Restore again and compare every tile with its stored hash.

    Args:
        path: a provenance file.
        input_path: the stream or cube, where it no longer lies where it lay.
        restored_path: the restored cube that was kept; needed where hashes differ.
        recompute: how to restore again.
        which: id of the restoration, or name of the cube; the latest when left out.

    Returns:
        ``{tiles, identical_tiles, agreement, largest_difference}``; the difference in stored units.

    Raises:
        EvidenceBroken: hashes differ and there is no kept result, or it is another one, or it is farther than one step.
        FormatError: the input is not there.
    """
    database = open_file(path)
    try:
        with database.reading() as session:
            record = recorded(session, path, which)
            source = input_path or Path(record.input_path)
            cube = open_input(source)
            check_input(cube, record, source)
            again = recompute(cube, record)
            rows = session.scalars(select(ProvenanceTile).where(ProvenanceTile.restoration_id == record.id))
            wanted = {(row.row0, row.col0): row.contributions_sha256 for row in rows}
            identical = sum(
                parts_sha256(again.decisions, piece.parts) == wanted.get((piece.window.row0, piece.window.col0))
                for piece in tiled(again, record.tile_size)
            )
    finally:
        database.close()
    found: dict[str, object] = {"tiles": len(wanted), "identical_tiles": identical}
    if identical == len(wanted):
        return {**found, "agreement": BIT_IDENTICAL, "largest_difference": 0.0}
    return {**found, "agreement": WITHIN_A_STEP,
            "largest_difference": _difference(again, record, restored_path, len(wanted) - identical)}


def _difference(again: Restoration, record: RestorationRow, kept_path: Path | None, differing: int) -> float:
    """Largest difference from the kept result, stored units, once that is known to be it and to be near enough."""
    if kept_path is None:
        raise EvidenceBroken(
            "done again, tiles differ from the record", where=record.name, got=f"{differing} tiles",
            wanted=f"what made the record ({record.machine}), or the kept result to compare with: --restored FILE",
        )
    kept = open_input(kept_path)
    if values_sha256(kept.data) != record.restored_sha256:
        raise EvidenceBroken("not the result that was recorded", where=kept_path)
    both = np.isfinite(kept.data) & np.isfinite(again.restored.data)
    if not np.array_equal(np.isfinite(kept.data), np.isfinite(again.restored.data)):
        raise EvidenceBroken("done again, other voxels are numbers", where=record.name)
    apart = np.abs(kept.data[both].astype(np.float64) - again.restored.data[both].astype(np.float64))
    largest = float(apart.max(initial=0.0))
    step = 1.0 if kept.is_integer else record.quantum
    if largest > step:
        raise EvidenceBroken(
            "done again, the result is another one", where=record.name, got=f"{largest:g} apart",
            wanted=f"at most {step:g}, on {record.machine}",
        )
    return largest
