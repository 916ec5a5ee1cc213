"""Why one pixel of a restored cube is what it is: the stored decisions, and the exact numbers.

The exact contributions are stored (``--provenance-full``) or made again from (input, release, model) and held against
the stored hash of the tile. Either way the answer says which: 'stored', 'recomputed, bit-identical'. Contributions at
a band always sum to restored minus decoded, in whole quanta; that is checked here once more before anything is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from sqlalchemy import select

from palimpsest.catalogue.database import open_file
from palimpsest.catalogue.tables import DecisionRow, ProvenanceTile, RestorationRow, SourceRow
from palimpsest.cubes.bands import Reason
from palimpsest.cubes.window import Window
from palimpsest.errors import CubeRefused, EvidenceBroken, FormatError, MissingWavelengths, UnknownTerm
from palimpsest.provenance.explanation import Acted, BandExplanation, Explanation
from palimpsest.provenance.inputs import check_input, open_input, recorded
from palimpsest.provenance.layers import unpack, unpack_columns, widths_of
from palimpsest.provenance.manifest import suspecting
from palimpsest.provenance.record import TRUST_STEPS
from palimpsest.provenance.tiling import parts_sha256, values_sha256
from palimpsest.restoration.result import FULL_TRUST, Contribution, Decision, ProvenanceClass, on_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from palimpsest.cubes import Cube
    from palimpsest.restoration.result import Restoration

FARTHEST_NM = 25.0
_ROUNDED = 1 + 1e-4  # stored widths are rounded up, but in single precision


class Recompute(Protocol):
    """Restores again, as recorded; the service and the command line bring their own ways to find release and model."""

    def __call__(self, cube: Cube, row: RestorationRow) -> Restoration:
        """The restoration of ``cube`` by the release, model and settings that ``row`` names."""
        ...


@dataclass(frozen=True, slots=True)
class _Exact:
    """Exact contributions of a tile, from wherever they came."""

    parts: tuple[Contribution, ...]
    changed: NDArray[np.int64]
    half_width: NDArray[np.float32]
    decoded: NDArray[np.int64]
    agreement: str


# No decision acted on the pixel: the stored source sets say so, and there is nothing to make again.
_NOTHING = _Exact((), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int64), "stored")


def explain(
    path: Path, row: int, col: int, band_nm: float | None = None, input_path: Path | None = None,
    recompute: Recompute | None = None, which: str = "",
) -> Explanation:
    """Explain a pixel from a provenance file.

    Args:
        path: a file of ``palimpsest restore --provenance``.
        row: 0-based.
        col: 0-based.
        band_nm: only the band nearest to this wavelength.
        input_path: the stream or cube, where it does not lie where it lay.
        recompute: how to restore again where contributions were not stored in full.
        which: id of the restoration, or name of the cube; the latest when left out.

    Raises:
        CubeRefused: no such pixel or band.
        FormatError: not a provenance file, no such restoration in it, or the input is not there and the contributions
            are not stored in full.
        EvidenceBroken: stored hashes do not agree.
    """
    database = open_file(path)
    try:
        with database.reading() as session, suspecting(session):
            record = recorded(session, path, which)
            told = record.input_path
            source = input_path or (Path(told) if told and Path(told).exists() else None)
            return explain_pixel(session, record.id, row, col, band_nm, input_path=source, recompute=recompute)
    finally:
        database.close()


def explain_pixel(
    session: Session, restoration_id: str, row: int, col: int, band_nm: float | None = None, *,
    input_path: Path | None = None, recompute: Recompute | None = None,
) -> Explanation:
    """Explain a pixel of a restoration in a catalogue; see :func:`explain`."""
    record = session.get(RestorationRow, restoration_id)
    if record is None:
        raise UnknownTerm("no such restoration", where=restoration_id)
    bands = _bands(record, row, col, band_nm)
    tile = _tile(session, restoration_id, row, col)
    window = Window(tile.row0, tile.row1, tile.col0, tile.col1)
    decisions = _decisions(session, restoration_id)
    cube = None if input_path is None else open_input(input_path)
    layers = _Layers(tile, (record.bands, window.rows, window.cols), row - window.row0, col - window.col0)
    if layers.is_untouched and tile.contributions is None:
        exact = _NOTHING
    else:
        exact = _exact(record, tile, window, decisions, cube, input_path, recompute)
    pixel = (row - window.row0) * window.cols + col - window.col0
    given = _given(cube, tile, window, row, col)
    told = tuple(
        _band(record, band, band * window.rows * window.cols + pixel, exact, decisions, layers, given)
        for band in bands
    )
    return Explanation(
        record.id, record.name, row, col, record.quantum, record.release, record.model, exact.agreement, told,
        is_single=band_nm is not None,
    )


def _bands(record: RestorationRow, row: int, col: int, band_nm: float | None) -> Sequence[int]:
    if not (0 <= row < record.rows and 0 <= col < record.cols):
        raise CubeRefused(
            "no such pixel", where=record.name, got=f"{row},{col}", wanted=f"rows 0:{record.rows}, cols 0:{record.cols}"
        )
    if band_nm is None:
        return range(record.bands)
    if record.centre_nm is None:
        raise MissingWavelengths("the cube has no wavelengths", where=record.name, wanted="the question without a band")
    centres = np.array(record.centre_nm)
    band = int(np.argmin(np.abs(centres - band_nm)))
    if not abs(centres[band] - band_nm) <= FARTHEST_NM:
        raise CubeRefused(
            "no band near this wavelength", where=record.name, got=f"{band_nm} nm",
            wanted=f"{centres.min():.1f} to {centres.max():.1f} nm, nearest {centres[band]:.1f}",
        )
    return (band,)


def _tile(session: Session, restoration_id: str, row: int, col: int) -> ProvenanceTile:
    tile = session.scalars(
        select(ProvenanceTile).where(
            ProvenanceTile.restoration_id == restoration_id, ProvenanceTile.row0 <= row, ProvenanceTile.row1 > row,
            ProvenanceTile.col0 <= col, ProvenanceTile.col1 > col,
        )
    ).first()
    if tile is None:
        raise EvidenceBroken("no tile holds this pixel", where=restoration_id, got=f"{row},{col}")
    return tile


def _decisions(session: Session, restoration_id: str) -> list[tuple[Decision, str]]:
    """Decisions by number, each with its release."""
    rows = session.execute(
        select(DecisionRow, SourceRow.name).join(SourceRow, SourceRow.id == DecisionRow.source_id)
        .where(DecisionRow.restoration_id == restoration_id).order_by(DecisionRow.number)
    )
    return [(Decision(name, one.sentence, one.rule, one.material), one.release) for one, name in rows]


def _exact(
    record: RestorationRow, tile: ProvenanceTile, window: Window, decisions: list[tuple[Decision, str]],
    cube: Cube | None, where: Path | None, recompute: Recompute | None,
) -> _Exact:
    whys = [why for why, _ in decisions]
    if tile.contributions is not None:
        exact = _stored(tile.contributions)
        if parts_sha256(whys, exact.parts) != tile.contributions_sha256:
            raise EvidenceBroken("stored contributions do not match their hash", where=f"tile {window}")
        return exact
    if cube is None or recompute is None:
        raise FormatError(
            "exact contributions are not stored and the input is not there to make them again", where=record.name,
            got=record.input_path or "no path", wanted="--input FILE, or a file of `restore --provenance-full`",
        )
    check_input(cube, record, where)
    return _recomputed(recompute(cube, record), record, tile, window)


def _stored(blob: bytes) -> _Exact:
    columns = unpack_columns(blob)
    counts = columns["counts"].astype(np.int64)
    edges = np.concatenate(([0], np.cumsum(counts)))
    steps, values, trust = columns["voxels"].astype(np.int64), columns["values"].astype(np.int64), columns["trust"]
    parts = tuple(
        Contribution(
            int(decision), np.cumsum(steps[start:stop]), values[start:stop], trust[start:stop].astype(np.uint8)
        )
        for decision, start, stop in zip(columns["decisions"], edges[:-1], edges[1:], strict=True)
    )
    return _Exact(
        parts, np.cumsum(columns["changed"].astype(np.int64)), columns["half_width"].astype(np.float32),
        columns["decoded"].astype(np.int64), "stored",
    )


def _recomputed(again: Restoration, record: RestorationRow, tile: ProvenanceTile, window: Window) -> _Exact:
    parts = tuple(again.within(window))
    if parts_sha256(again.decisions, parts) != tile.contributions_sha256:
        restored = np.ascontiguousarray(again.restored.data[(slice(None), *window.slices)])
        word = "the restored values are the same, the contributions are not" if (
            values_sha256(restored) == tile.restored_sha256
        ) else "the restored values differ too"
        raise EvidenceBroken(
            "made again, this tile is not what was recorded", where=f"tile {window}", got=word,
            wanted=f"what made the record ({record.machine}); the stored hashes are the truth",
        )
    _, rows, cols = again.decoded.shape
    band, rest = np.divmod(again.changed, rows * cols)
    row, col = np.divmod(rest, cols)
    inside = (row >= window.row0) & (row < window.row1) & (col >= window.col0) & (col < window.col1)
    local = (band * window.rows + row - window.row0) * window.cols + col - window.col0
    decoded = on_grid(again.decoded.data.ravel()[again.changed[inside]], again.quantum)
    return _Exact(parts, local[inside], again.half_width[inside], decoded, "recomputed, bit-identical")


class _Layers:
    """The stored layers at one pixel."""

    def __init__(self, tile: ProvenanceTile, shape: tuple[int, int, int], row: int, col: int) -> None:
        self.members: list[list[int]] = tile.set_members
        self.classes = self._at(unpack(tile.classes), shape, row, col)
        sets = unpack(tile.sets)
        self.sets = self._at(sets, shape, row, col)
        # Confidence and interval are stored for changed voxels only, in their order.
        rank = np.cumsum(sets.ravel() != 0) - 1
        self._rank = np.where(self.sets != 0, rank.reshape(shape)[:, row, col], -1)
        self.reasons = self._at(unpack(tile.reasons), shape, row, col)
        self.confidence = self._of_changed(unpack(tile.confidence)) / TRUST_STEPS
        widths = unpack_columns(tile.half_width)
        low, high = (float(end) for end in widths["ends"])
        self.half_width = widths_of(self._of_changed(widths["codes"]).astype(np.uint8), low, high)

    def _of_changed(self, column: NDArray[np.generic]) -> NDArray[np.float64]:
        """A column along the changed voxels, at the bands of the pixel; 0 where a band was left alone."""
        if self._rank.size and int(self._rank.max()) >= column.size:
            raise EvidenceBroken("a column that is shorter than its voxels", got=column.size)
        out = np.zeros(self._rank.size)
        out[self._rank >= 0] = column[self._rank[self._rank >= 0]]
        return out

    @property
    def is_untouched(self) -> bool:
        """Whether no decision acted in any band."""
        return not any(self.members[int(one)] for one in self.sets)

    @staticmethod
    def _at(layer: NDArray[np.generic], shape: tuple[int, int, int], row: int, col: int) -> NDArray[np.generic]:
        if layer.shape != shape:
            raise EvidenceBroken("a layer of another shape", got=layer.shape, wanted=shape)
        return layer[:, row, col]


def _given(
    cube: Cube | None, tile: ProvenanceTile, window: Window, row: int, col: int
) -> NDArray[np.generic] | None:
    """The pixel's stored spectrum, once the tile's hash has been held against it; None where the input is not there."""
    if cube is None:
        return None
    if window.row1 > cube.shape.rows or window.col1 > cube.shape.cols:
        raise EvidenceBroken("not the cube that was restored", got=tuple(cube.shape), wanted=f"tile {window} inside")
    values = np.ascontiguousarray(cube.data[(slice(None), *window.slices)])
    if values_sha256(values) != tile.decoded_sha256:
        raise EvidenceBroken("the input has other values than were restored", where=f"tile {window} of {cube.name}")
    return np.asarray(cube.data[:, row, col])


def _band(
    record: RestorationRow, band: int, voxel: int, exact: _Exact, decisions: list[tuple[Decision, str]],
    layers: _Layers, given: NDArray[np.generic] | None,
) -> BandExplanation:
    acted = []
    for part in exact.parts:
        at = int(np.searchsorted(part.voxels, voxel))
        if at < part.voxels.size and part.voxels[at] == voxel:
            why, release = decisions[part.decision]
            acted.append(
                Acted(part.decision, why.source, why.rule, why.material, release, why.sentence, int(part.values[at]),
                      int(part.trust[at]) / FULL_TRUST)
            )
    if sorted(one.decision for one in acted) != layers.members[int(layers.sets[band])]:
        raise EvidenceBroken("the stored source set is not that of the contributions", where=f"band {band}")
    at = int(np.searchsorted(exact.changed, voxel))
    is_changed = at < exact.changed.size and exact.changed[at] == voxel
    decoded = int(exact.decoded[at]) if is_changed else None
    if is_changed and float(exact.half_width[at]) > layers.half_width[band] * _ROUNDED:
        raise EvidenceBroken("the stored interval is narrower than the exact one", where=f"band {band}")
    if given is not None and np.isfinite(given[band]):
        from_input = int(on_grid(given[band : band + 1], record.quantum)[0])
        if decoded is not None and from_input != decoded:
            raise EvidenceBroken("the stored decoded value is not that of the input", where=f"band {band}")
        decoded = from_input
    return BandExplanation(
        band=band, centre_nm=None if record.centre_nm is None else float(record.centre_nm[band]),
        decoded_quanta=decoded, decoded_stored=None if given is None else _number(given[band]),
        half_width=float(exact.half_width[at]) if is_changed else None,
        provenance=ProvenanceClass(int(layers.classes[band])).name.lower(),
        reason=Reason(int(layers.reasons[band])).name.lower(),
        confidence=float(layers.confidence[band]), quantum=record.quantum, acted=tuple(acted),
    )


def _number(value: np.generic) -> float | int | None:
    if value.dtype.kind in "iu":
        return int(value)
    return float(value) if np.isfinite(value) else None
