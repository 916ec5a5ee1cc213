"""The evidence bundle: one zip that an auditor takes home and verifies offline.

In it: the provenance database, PROV as JSON-LD, the newest head of the log, and RO-Crate 1.1 metadata that lists them
with their hashes. Verifying needs this package and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from palimpsest import __version__
from palimpsest.atomic import replacing
from palimpsest.catalogue.database import open_file
from palimpsest.catalogue.tables import RestorationRow
from palimpsest.errors import EvidenceBroken, FormatError
from palimpsest.provenance import ledger, manifest
from palimpsest.provenance.canonical import canonical
from palimpsest.provenance.prov_export import prov_jsonld

if TYPE_CHECKING:
    from collections.abc import Mapping

    from palimpsest.provenance.ledger import Head

CRATE = "ro-crate-metadata.json"
DATABASE = "provenance.sqlite"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: the same evidence gives the same bytes
LARGEST_DATABASE = 1 << 36


def write_bundle(provenance: Path, out: Path) -> None:
    """Bundle a provenance file.

    Raises:
        EvidenceBroken: it does not agree with its own log; broken evidence is not bundled.
    """
    verify_path(provenance)
    database = open_file(provenance)
    try:
        with database.reading() as session:
            rows = session.scalars(select(RestorationRow).order_by(RestorationRow.id)).all()
            head = ledger.latest_head(session)
            small = {f"prov/{row.id}.jsonld": _json(prov_jsonld(session, row.id)) for row in rows}
            if head is not None:
                small["head.json"] = _json(head.to_dict())
    finally:
        database.close()
    small[CRATE] = _json(_crate(small, provenance, [row.name for row in rows]))
    with replacing(out) as fresh, zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in sorted(small.items()):
            bundle.writestr(zipfile.ZipInfo(name, EPOCH), content)
        entry = zipfile.ZipInfo(DATABASE, EPOCH)
        with provenance.open("rb") as stream, bundle.open(entry, "w", force_zip64=True) as inside:
            shutil.copyfileobj(stream, inside)


def verify_path(path: Path, *, head: Head | None = None, public_key: str = "") -> dict[str, object]:
    """Hold a provenance file, a catalogue or a bundle against its log.

    Returns:
        What ``manifest.verify`` says; for a bundle also how many files were checked.

    Raises:
        EvidenceBroken: something was altered.
        FormatError: no such kind of file.
    """
    if path.is_file() and zipfile.is_zipfile(path):
        return _verify_bundle(path, head, public_key)
    database = open_file(path)
    try:
        with database.reading() as session:
            return manifest.verify(session, head=head, public_key=public_key)
    finally:
        database.close()


def _verify_bundle(path: Path, head: Head | None, public_key: str) -> dict[str, object]:
    with zipfile.ZipFile(path) as bundle, tempfile.TemporaryDirectory() as folder:
        names = set(bundle.namelist())
        if not {CRATE, DATABASE} <= names:
            raise FormatError("a zip of another kind", where=path, wanted=f"{CRATE} and {DATABASE} inside")
        listed = _listed(bundle, path)
        if names != {*listed, CRATE}:
            odd = sorted(names ^ {*listed, CRATE})
            raise EvidenceBroken("the bundle lists other files than it has", where=path, got=odd)
        out = Path(folder) / DATABASE
        for name, wanted in listed.items():
            found = _copy(bundle, name, out if name == DATABASE else None)
            if found != wanted:
                raise EvidenceBroken("a file of the bundle was altered", where=f"{path}: {name}", got=found,
                                     wanted=wanted)
        told = verify_path(out, head=head, public_key=public_key)
        if "head.json" in names and json.loads(bundle.read("head.json"))["root"] != told["root"]:
            raise EvidenceBroken("the bundle's head is not that of its log", where=path)
        return {**told, "files": len(listed)}


def _listed(bundle: zipfile.ZipFile, path: Path) -> dict[str, str]:
    try:
        graph = json.loads(bundle.read(CRATE))["@graph"]
        return {one["@id"]: one["sha256"] for one in graph if one.get("@type") == "File"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceBroken("the bundle's metadata cannot be read", where=path, got=str(error)) from error


def _copy(bundle: zipfile.ZipFile, name: str, out: Path | None) -> str:
    """SHA-256 of a file inside; copied to ``out`` on the way."""
    digest, size = hashlib.sha256(), 0
    try:
        with bundle.open(name) as stream, (out or Path(os.devnull)).open("wb") as copy:
            while chunk := stream.read(1 << 20):
                size += len(chunk)
                if size > LARGEST_DATABASE:
                    raise EvidenceBroken("a file of an absurd size", where=name)
                digest.update(chunk)
                copy.write(chunk)
    except zipfile.BadZipFile as error:
        raise EvidenceBroken("a damaged bundle", where=name, got=str(error)) from error
    return digest.hexdigest()


def _crate(small: Mapping[str, bytes], provenance: Path, names: list[str]) -> dict[str, Any]:
    with provenance.open("rb") as stream:
        database = hashlib.file_digest(stream, "sha256").hexdigest()
    files = {**{name: hashlib.sha256(content).hexdigest() for name, content in small.items()}, DATABASE: database}
    kinds = {".jsonld": "application/ld+json", ".json": "application/json", ".sqlite": "application/vnd.sqlite3"}
    return {
        "@context": ["https://w3id.org/ro/crate/1.1/context", {"sha256": "https://schema.org/sha256"}],
        "@graph": [
            {"@id": CRATE, "@type": "CreativeWork", "about": {"@id": "./"},
             "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}},
            {"@id": "./", "@type": "Dataset", "name": f"Evidence of restoration: {', '.join(names)}",
             "description": "Which source changed which voxel, with the log that pins it.",
             "hasPart": [{"@id": name} for name in sorted(files)], "creator": {"@id": "#palimpsest"}},
            {"@id": "#palimpsest", "@type": "SoftwareApplication", "name": "palimpsest", "version": __version__},
            *[{"@id": name, "@type": "File", "sha256": sha256, "encodingFormat": kinds[Path(name).suffix]}
              for name, sha256 in sorted(files.items())],
        ],
    }


def _json(value: object) -> bytes:
    return canonical(value)
