"""Artifacts: files kept by content, opened as cubes, and handed out in the formats that users want.

An artifact's id is made from its content, so the same result of a job that ran twice is one artifact.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest.atomic import replacing
from palimpsest.catalogue.tables import Artifact, CubeRow, new_id, now
from palimpsest.errors import FormatError, PalimpsestError, UnknownTerm, UsageError
from palimpsest.formats import read, write
from palimpsest.provenance.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from palimpsest.catalogue import FolderBlobs
    from palimpsest.cubes import Cube
    from palimpsest_api.service import Service

CUBE, STREAM, RESTORED = "cube", "stream", "restored"
EXPORTS = {"native": "", "envi": ".zip", "cog": ".tif", "netcdf": ".nc"}

# One decoding of one artifact at a time: a page that asks for many bands must not decode many times over.
_DECODING = threading.Lock()


def keep_files(blobs: FolderBlobs, paths: Sequence[Path], *, is_moved: bool = False) -> list[dict[str, Any]]:
    """Files as blobs: ``{name, sha256, size}`` each, by name."""
    kept = []
    for path in sorted(paths, key=lambda one: one.name):
        blob = blobs.put_file(path, is_moved=is_moved)
        kept.append({"name": path.name, "sha256": blob.sha256, "size": blob.size})
    return kept


def add_artifact(
    session: Session, kind: str, name: str, files: list[dict[str, Any]], facts: dict[str, Any], *,
    job_id: str | None = None, owner: str = "",
) -> Artifact:
    """An artifact; the one that is there when its content is the same."""
    digest = hashlib.sha256(canonical({"kind": kind, "files": files})).hexdigest()
    artifact_id = f"artifact-{digest[:16]}"
    known = session.get(Artifact, artifact_id)
    if known is not None:
        return known
    artifact = Artifact(
        id=artifact_id, kind=kind, name=name, files=files, facts=facts, created=now(), job_id=job_id, owner=owner
    )
    session.add(artifact)
    session.flush()
    return artifact


def add_cube(session: Session, artifact: Artifact, cube: Cube, name: str, owner: str = "") -> CubeRow:
    """A cube of the catalogue."""
    centres = cube.bands.centre_nm
    row = CubeRow(
        id=new_id("cube"), name=name, artifact_id=artifact.id, bands=cube.shape.bands, rows=cube.shape.rows,
        cols=cube.shape.cols, dtype=cube.data.dtype.name,
        wavelengths_nm=None if centres is None else centres.tolist(), history=list(cube.history), created=now(),
        owner=owner,
    )
    session.add(row)
    session.flush()
    return row


def facts_of(cube: Cube) -> dict[str, Any]:
    """What the page and the lists say about a cube."""
    centres = cube.bands.centre_nm
    return {
        "bands": cube.shape.bands, "rows": cube.shape.rows, "cols": cube.shape.cols, "dtype": cube.data.dtype.name,
        "wavelengths_nm": None if centres is None else centres.tolist(), "units": cube.units,
        "good_bands": int(cube.bands.good.sum()), "sensor": cube.sensor,
    }


def find_artifact(session: Session, name: str) -> Artifact:
    """An artifact by its own id or by that of its cube.

    Raises:
        UnknownTerm: neither.
    """
    cube = session.get(CubeRow, name)
    artifact = session.get(Artifact, name if cube is None else cube.artifact_id)
    if artifact is None:
        raise UnknownTerm("no such cube or artifact", where=name)
    return artifact


def place(service: Service, artifact: Artifact) -> Path:
    """The artifact's main file under its own name, links to blobs; the files beside it that readers want, too."""
    folder = service.views / artifact.id / "files"
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent))
        for entry in artifact.files:
            _link(service.blobs.path(entry["sha256"]), fresh / entry["name"])
        try:
            fresh.rename(folder)
        except OSError:  # another process was faster; its links are the same
            shutil.rmtree(fresh)
    return folder / main_file([entry["name"] for entry in artifact.files])


def main_file(names: Sequence[str]) -> str:
    """Which of the files one opens: a stream, else a header, else the only one.

    Raises:
        FormatError: nobody can tell.
    """
    for suffix in (".plm", ".hdr", ".tif", ".tiff", ".nc"):
        found = [name for name in names if name.lower().endswith(suffix)]
        if len(found) > 1:
            raise FormatError("several cubes at once", got=", ".join(found), wanted="one cube")
        if found:
            return found[0]
    raise FormatError("no cube among the files", got=", ".join(names), wanted=".hdr with its data, .tif, .nc or .plm")


def open_cube(service: Service, artifact: Artifact) -> Cube:
    """The artifact as a cube; a stream is decoded once and kept decoded beside it."""
    path = place(service, artifact)
    return read(decoded(service, artifact) if path.suffix.lower() == ".plm" else path)


def decoded(service: Service, artifact: Artifact) -> Path:
    """A file of the decoded values: the artifact's own, or the decoded copy of a stream."""
    path = place(service, artifact)
    if path.suffix.lower() != ".plm":
        return path
    from palimpsest.codec.decoder import decode

    copy = service.views / artifact.id / "decoded" / f"{path.stem}.hdr"
    with _DECODING:
        if not copy.is_file():
            with replacing(copy.parent) as fresh:
                fresh.mkdir()
                write(decode(path), fresh / copy.name)
    return copy


def export(service: Service, artifact: Artifact, form: str) -> Path:
    """A file to download.

    Args:
        service: of the application.
        artifact: what.
        form: 'native' (as kept; several files as a zip), 'envi' (zip of both files), 'cog' or 'netcdf'.

    Raises:
        UsageError: no such form.
    """
    if form not in EXPORTS:
        raise UsageError("no such form", got=form, wanted=", ".join(EXPORTS))
    source = place(service, artifact)
    stem = source.name.rsplit(".", 1)[0]
    if form == "native":
        files = sorted(source.parent.iterdir())
        if len(files) == 1:
            return source
        return _made(service, artifact, f"{stem}-native.zip", lambda out: _zip(files, out))
    if form == "envi" and source.suffix.lower() in (".plm", ".hdr"):
        folder = decoded(service, artifact).parent
        return _made(service, artifact, f"{stem}-envi.zip", lambda out: _zip(sorted(folder.iterdir()), out))
    if form == "envi":
        return _made(service, artifact, f"{stem}-envi.zip", lambda out: _envi(open_cube(service, artifact), stem, out))
    return _made(
        service, artifact, f"{stem}{EXPORTS[form]}", lambda out: _write_form(open_cube(service, artifact), form, out)
    )


def _made(service: Service, artifact: Artifact, name: str, make: Any) -> Path:  # noqa: ANN401 - a callable of a path
    out = service.views / artifact.id / "exports" / name
    out.parent.mkdir(parents=True, exist_ok=True)
    if not out.is_file():
        with replacing(out) as fresh:
            make(fresh)
    return out


def _write_form(cube: Cube, form: str, out: Path) -> None:
    from palimpsest.formats.geotiff import CLOUD_OPTIMISED

    if form == "cog":
        CLOUD_OPTIMISED.write(cube, out)
    else:
        write(cube, out)


def _envi(cube: Cube, stem: str, out: Path) -> None:
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        write(cube, Path(folder) / f"{stem}.hdr")
        _zip(sorted(Path(folder).iterdir()), out)


def _zip(files: Sequence[Path], out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in files:
            archive.write(path, path.name)


def _link(blob: Path, path: Path) -> None:
    try:
        os.link(blob, path)
    except OSError:  # another disk, or one without links
        shutil.copyfile(blob, path)


def readable(path: Path) -> Cube:
    """A cube out of files of a user; whatever a reader stumbles on is the file's fault, and said so.

    Raises:
        PalimpsestError: of the reader.
        FormatError: anything else.
    """
    if path.suffix.lower() == ".plm":
        from palimpsest.codec.decoder import decode

        return decode(path)
    try:
        return read(path)
    except PalimpsestError:
        raise
    except (ValueError, KeyError, IndexError, OSError, EOFError, OverflowError) as error:
        raise FormatError("a file that cannot be read", where=path.name, got=type(error).__name__) from error
