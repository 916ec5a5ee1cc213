"""Writing a restoration's provenance: into a file to carry away, or into the service's database; the same rows.

Everything that is written is pinned by one event of the log: ``restoration.recorded`` holds a hash over all rows of
the restoration (see :mod:`palimpsest.provenance.manifest`), so a row altered later does not go unseen.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from palimpsest import __version__
from palimpsest.atomic import appear, fresh_beside
from palimpsest.catalogue.blobs import file_sha256
from palimpsest.catalogue.database import Database, open_file
from palimpsest.catalogue.migrate import upgrade
from palimpsest.catalogue.tables import (
    DecisionRow,
    DecisionTile,
    ProvenanceTile,
    RestorationRow,
    SourceRow,
    new_id,
    now,
)
from palimpsest.errors import PromiseBroken
from palimpsest.provenance import ledger
from palimpsest.provenance.canonical import plain
from palimpsest.provenance.keys import signing_key
from palimpsest.provenance.layers import narrow, pack, pack_columns, quantise_widths
from palimpsest.provenance.manifest import rows_sha256
from palimpsest.provenance.tiling import decision_sets, parts_sha256, tiled, values_sha256
from palimpsest.restoration.result import FULL_TRUST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from numpy.typing import NDArray

    from palimpsest.provenance.tiling import Tile
    from palimpsest.restoration.result import Restoration

TILE = 64
TRUST_STEPS = 15  # the stored confidence is rounded to fifteenths; the exact one comes with the exact contributions
SIGNING_KEY = "PALIMPSEST_SIGNING_KEY"

SOURCE_LABELS = {
    "damage": "what was taken away because it could not be believed",
    "interpolation.linear": "the pixel's own neighbouring bands, linearly",
    "interpolation.pchip": "the pixel's own neighbouring bands, shape-preserving",
    "interpolation.kriging": "the pixel's usable bands, carried into the gap by kriging",
    "correlation.low_rank": "other pixels of the scene, through their common spectra",
    "correlation.group": "other cubes of the group",
    "correlation.denoise": "the scene's own factors and similar places, with the noise taken off",
    "stripe.offset": "a constant that a detector column had added",
    "library": "spectra of library materials",
    "library.modelled": "library materials as radiative transfer varies them",
    "library.residual": "library materials, corrected by what the scene says",
    "library.dark": "what the sensor stores without light",
    "rule": "a rule of the release",
    "rounding": "rounding to the stored type",
    "clipping": "clipping to the stored range",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a restoration came from.

    Args:
        path: the stream or cube that was given, as the user's machine names it; '' inside the service.
        sha256: of that file.
        artifact: id of the artifact inside the service, or None.
        settings: how it was restored, enough to do it again.
    """

    path: str = ""
    sha256: str = ""
    artifact: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_file(cls, path: Path, settings: Mapping[str, Any] | None = None) -> Origin:
        """The origin of a file of the user. A cube's values are pinned apart from its files, by ``decoded_sha256``."""
        sha256 = file_sha256(path) if path.is_file() else ""
        return cls(path.resolve().as_posix(), sha256, None, dict(settings or {}))


def write_provenance(
    restoration: Restoration, target: Path | Session, origin: Origin, *, full: bool = False, tile: int = TILE,
    job_id: str | None = None, output_artifact: str | None = None, actor: str = "",
    key: Ed25519PrivateKey | None = None,
) -> str:
    """Write who changed what, and pin it.

    Args:
        restoration: what was done.
        target: a provenance file (SQLite with the catalogue's own tables), made where there is none and added to where
            there is one, or a session of ``Database.writing()``.
        origin: the stream or cube it was made from.
        full: store every exact contribution too, so that nothing needs recomputing.
        tile: pixels along a tile's side.
        job_id: the job that made it, inside the service.
        output_artifact: the restored cube, inside the service.
        actor: who asked for it.
        key: signs the log's head; for a file, the key that PALIMPSEST_SIGNING_KEY names when None.

    Returns:
        The restoration's id.

    Raises:
        PromiseBroken: the contributions do not add up to restored minus decoded.
        FormatError: the file that is there is none of ours; it is left as it is.
    """
    if not restoration.is_exact():
        raise PromiseBroken("contributions do not add up to restored minus decoded", where=restoration.decoded.name)
    if isinstance(target, Session):
        return _write(restoration, target, origin, full, tile, (job_id, output_artifact, actor, key))
    circumstances = (job_id, output_artifact, actor, key or _own_key())

    def write(session: Session) -> str:
        return _write(restoration, session, origin, full, tile, circumstances)

    return _added(target, write) if target.exists() else _made(target, write)


def _made(target: Path, write: Callable[[Session], str]) -> str:
    """A new file appears whole or not at all; where another writer made one meanwhile, that one is added to."""
    with fresh_beside(target) as fresh:
        url = f"sqlite:///{fresh}"
        upgrade(url, is_portable=True)
        database = Database(url, is_portable=True)
        try:
            with database.writing() as session:
                name = write(session)
        finally:
            database.close()
        if appear(fresh, target):
            return name
    return _added(target, write)


def _added(target: Path, write: Callable[[Session], str]) -> str:
    """One transaction on a file that is there: writers wait for each other, and one that is killed leaves no trace."""
    open_file(target).close()  # refuses a file that is none of ours before anything is done to it
    url = f"sqlite:///{target}"
    upgrade(url, is_portable=True)
    database = Database(url, is_portable=True)
    try:
        with database.writing() as session:
            return write(session)
    finally:
        database.close()


def _own_key() -> Ed25519PrivateKey | None:
    named = os.environ.get(SIGNING_KEY)
    return signing_key(Path(named)) if named else None


def _write(
    restoration: Restoration, session: Session, origin: Origin, full: bool, tile: int,
    circumstances: tuple[str | None, str | None, str, Ed25519PrivateKey | None],
) -> str:
    job_id, output_artifact, actor, key = circumstances
    row = _restoration_row(restoration, origin, full, tile)
    row.job_id, row.output_artifact = job_id, output_artifact
    session.add(row)
    session.flush()
    decision_ids = _write_decisions(restoration, session, row.id)
    packed = 0
    for piece in tiled(restoration, tile):
        packed += _write_tile(restoration, session, row.id, decision_ids, piece, full=full)
    row.packed_bytes = packed
    session.flush()
    facts = {"restoration": row.id, "name": row.name, "input_sha256": row.input_sha256, "release": row.release,
             "model": row.model, "decoded_sha256": row.decoded_sha256, "restored_sha256": row.restored_sha256,
             "rows_sha256": rows_sha256(session, row.id)}
    ledger.append(session, "restoration.recorded", facts, actor=actor, key=key)
    return row.id


def _restoration_row(restoration: Restoration, origin: Origin, full: bool, tile: int) -> RestorationRow:
    decoded = restoration.decoded
    bands, rows, cols = decoded.shape
    centres = decoded.bands.centre_nm
    return RestorationRow(
        id=new_id("restoration"), created=now(), name=decoded.name, input_path=origin.path,
        input_sha256=origin.sha256, input_artifact=origin.artifact, bands=bands, rows=rows, cols=cols,
        dtype=decoded.data.dtype.name, centre_nm=None if centres is None else centres.tolist(),
        quantum=restoration.quantum, tile_size=tile, release=restoration.release, model=restoration.model,
        settings=plain(origin.settings), report=plain(restoration.report), history=list(restoration.restored.history),
        decoded_sha256=values_sha256(decoded.data), restored_sha256=values_sha256(restoration.restored.data),
        is_full=full, changed_voxels=int(restoration.changed.size), packed_bytes=0,
        machine=f"palimpsest {__version__}, {platform.machine()} {platform.system()}, numpy {np.__version__}",
    )


def _write_decisions(restoration: Restoration, session: Session, restoration_id: str) -> list[int]:
    names = {row.name: row.id for row in session.scalars(select(SourceRow))}
    ids = []
    for number, why in enumerate(restoration.decisions):
        if why.source not in names:
            source = SourceRow(name=why.source, label=SOURCE_LABELS.get(why.source, why.source))
            session.add(source)
            session.flush()
            names[why.source] = source.id
        row = DecisionRow(
            restoration_id=restoration_id, number=number, source_id=names[why.source], rule=why.rule,
            material=why.material, release=restoration.release, model=restoration.model, sentence=why.sentence,
        )
        session.add(row)
        session.flush()
        ids.append(row.id)
    return ids


def _write_tile(
    restoration: Restoration, session: Session, restoration_id: str, decision_ids: list[int], piece: Tile, *,
    full: bool,
) -> int:
    shape = piece.classes.shape
    sets, members = decision_sets(piece.parts, piece.classes.size)
    codes, low, high = quantise_widths(piece.half_width)
    row = ProvenanceTile(
        restoration_id=restoration_id, row0=piece.window.row0, row1=piece.window.row1, col0=piece.window.col0,
        col1=piece.window.col1, classes=pack(piece.classes), sets=pack(narrow(sets).reshape(shape)),
        set_members=members, confidence=pack(_confidence(piece)[piece.changed]),
        half_width=pack_columns({"codes": codes, "ends": np.array([low, high], np.float32)}),
        reasons=pack(piece.reasons), contributions=_exact(piece) if full else None,
        contributions_sha256=parts_sha256(restoration.decisions, piece.parts),
        decoded_sha256=piece.decoded_sha256, restored_sha256=piece.restored_sha256,
    )
    session.add(row)
    session.flush()
    for part in piece.parts:
        moved = float(np.abs(part.values).sum()) * restoration.quantum
        session.add(
            DecisionTile(
                decision_id=decision_ids[part.decision], tile_id=row.id, voxels=int(part.voxels.size), moved=moved
            )
        )
    blobs = (row.classes, row.sets, row.confidence, row.half_width, row.reasons, row.contributions or b"")
    return sum(len(blob) for blob in blobs)


def _confidence(piece: Tile) -> NDArray[np.uint8]:
    """Trust in the source that moved a voxel most, in fifteenths; 0 where nothing was moved."""
    trust = np.zeros(piece.classes.size, np.uint8)
    most = np.zeros(piece.classes.size, np.int64)
    for part in piece.parts:
        size = np.abs(part.values)
        ahead = size > most[part.voxels]
        at = part.voxels[ahead]
        most[at] = size[ahead]
        trust[at] = np.rint(part.trust[ahead].astype(np.float64) / FULL_TRUST * TRUST_STEPS).astype(np.uint8)
    return trust


def _exact(piece: Tile) -> bytes:
    """Every contribution of a tile, exactly; voxels as differences, because they ascend."""
    def joined(columns: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
        return np.concatenate(columns) if columns else np.zeros(0, dtype)

    steps = [np.diff(part.voxels, prepend=0) for part in piece.parts]
    return pack_columns({
        "decisions": narrow(np.array([part.decision for part in piece.parts], np.int64)),
        "counts": narrow(np.array([part.voxels.size for part in piece.parts], np.int64)),
        "voxels": narrow(joined(steps, np.int64)),
        "values": narrow(joined([part.values for part in piece.parts], np.int64)),
        "trust": joined([part.trust for part in piece.parts], np.uint8),
        "changed": narrow(np.diff(piece.changed, prepend=0)),
        "half_width": piece.half_width.astype(np.float32),
        "decoded": narrow(piece.decoded),
    })
