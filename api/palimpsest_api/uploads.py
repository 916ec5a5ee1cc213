"""Bytes on their way in: straight to disk, hashed, never whole in memory.

An upload is a row and a file. The row's offset is the truth that clients resume from; the file may be longer after a
crash and is then written over. Nothing is believed about a file but its bytes.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from palimpsest.catalogue.blobs import file_sha256
from palimpsest.catalogue.tables import Upload, new_id, now
from palimpsest.errors import UnknownTerm, UsageError
from palimpsest_api.archives import plain_name
from palimpsest_api.problems import ChecksumMismatch, Conflict, TooLarge
from palimpsest_api.service import Service
from palimpsest_api.sniff import HEAD, check_beginning

FLUSH = 1 << 20


def start(session: Session, service: Service, file_name: str, length: int, owner: str) -> Upload:
    """A new upload.

    Raises:
        FormatError: a name that is not plain, or of a kind that is not taken.
        TooLarge: longer than the service takes.
        UsageError: a negative length.
    """
    check_beginning(plain_name(file_name), b"")
    if length < 0:
        raise UsageError("a negative length", got=length)
    if length > service.settings.largest_upload:
        raise TooLarge("the upload is too large", where=file_name, got=length, wanted=service.settings.largest_upload)
    at = now()
    upload = Upload(
        id=new_id("upload"), file_name=file_name, length=length, offset=0, created=at, updated=at, owner=owner
    )
    session.add(upload)
    session.flush()
    path_of(service, upload.id).touch()
    return upload


def get(session: Session, upload_id: str) -> Upload:
    """An upload.

    Raises:
        UnknownTerm: no such upload.
    """
    upload = session.get(Upload, upload_id)
    if upload is None:
        raise UnknownTerm("no such upload", where=upload_id)
    return upload


def path_of(service: Service, upload_id: str) -> Path:
    """Where its bytes lie; ids are ours, and never contain a separator."""
    return service.uploads / upload_id


async def receive(
    service: Service, upload_id: str, offset: int, chunks: AsyncIterator[bytes], checksum: str | None = None
) -> Upload:
    """Append bytes to an upload.

    Args:
        service: of the application.
        upload_id: which.
        offset: where the client believes it stands.
        chunks: the bytes.
        checksum: ``Upload-Checksum`` of tus: algorithm and base64 digest; a mismatch discards these bytes.

    Raises:
        Conflict: another offset than the service's, or an upload that is complete.
        TooLarge: more bytes than were announced.
        FormatError: the first 64 KB are not of the file's kind.
        ChecksumMismatch: other bytes than the client meant.
    """
    with service.database.reading() as session:
        upload = get(session, upload_id)
    if upload.finished is not None:
        raise Conflict("the upload is complete", where=upload_id)
    if offset != upload.offset:
        raise Conflict("another offset", where=upload_id, got=offset, wanted=upload.offset)
    wanted = None if checksum is None else _checksum(checksum)
    path = path_of(service, upload_id)
    try:
        end = await _append(path, upload, chunks, wanted)
    except _BrokenOff as broken:
        # The client went away: what arrived counts, unless a checksum was to cover all of it.
        await run_in_threadpool(_advance, service, upload_id, offset, offset if wanted else broken.end)
        raise
    return await run_in_threadpool(_advance, service, upload_id, offset, end)


class _BrokenOff(Exception):
    def __init__(self, end: int) -> None:
        self.end = end


async def _append(path: Path, upload: Upload, chunks: AsyncIterator[bytes], wanted: tuple[str, bytes] | None) -> int:
    digest = None if wanted is None else hashlib.new(wanted[0])
    at = upload.offset
    with path.open("r+b") as out:
        out.seek(at)
        out.truncate()
        try:
            async for chunk in chunks:
                at += len(chunk)
                if at > upload.length:
                    raise TooLarge("more bytes than announced", where=upload.id, wanted=upload.length)
                if digest is not None:
                    digest.update(chunk)
                await run_in_threadpool(out.write, chunk)
                if at - len(chunk) < HEAD:
                    out.flush()
                    _check_head(path, upload.file_name)
        except (OSError, ClientDisconnect) as error:
            raise _BrokenOff(at) from error
        out.flush()
        await run_in_threadpool(os.fsync, out.fileno())
    if digest is not None and wanted is not None and digest.digest() != wanted[1]:
        raise ChecksumMismatch("the bytes are not those of the checksum", where=upload.id)
    return at


def _check_head(path: Path, file_name: str) -> None:
    with path.open("rb") as stream:
        check_beginning(file_name, stream.read(HEAD))


def _advance(service: Service, upload_id: str, offset: int, end: int) -> Upload:
    with service.database.reading() as session:
        length = get(session, upload_id).length
    sha256 = file_sha256(path_of(service, upload_id)) if end == length else None
    with service.database.writing() as session:
        upload = get(session, upload_id)
        if upload.offset != offset:
            raise Conflict("two clients write one upload", where=upload_id)
        upload.offset, upload.updated = end, now()
        if sha256 is not None:
            upload.sha256, upload.finished = sha256, now()
    return upload


def remove(session: Session, service: Service, upload_id: str) -> None:
    """Forget an upload and its bytes."""
    session.delete(get(session, upload_id))
    path_of(service, upload_id).unlink(missing_ok=True)


def metadata(header: str) -> dict[str, str]:
    """``Upload-Metadata`` of tus: pairs of a key and a base64 value.

    Raises:
        UsageError: not that.
    """
    found = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise UsageError("metadata that cannot be read", got=pair[:80], wanted="key base64") from error
    return found


def _checksum(header: str) -> tuple[str, bytes]:
    name, _, value = header.partition(" ")
    if name not in ("sha1", "sha256", "sha512"):
        raise UsageError("no such checksum", got=name, wanted="sha1, sha256 or sha512")
    try:
        return name, base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise UsageError("a checksum that cannot be read", got=value[:80], wanted="base64") from error
