"""Uploads: tus 1.0 (creation, checksum, termination) and plain PUT."""

from fastapi import APIRouter, Header, Request, Response
from starlette.concurrency import run_in_threadpool

from palimpsest.catalogue.tables import Upload
from palimpsest.errors import UsageError
from palimpsest_api import uploads
from palimpsest_api.auth import Reader, ServiceHere, Uploader
from palimpsest_api.problems import Conflict

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

TUS = {"Tus-Resumable": "1.0.0"}


@router.options("")
def abilities(service: ServiceHere) -> Response:
    """What of tus is spoken here."""
    return Response(status_code=204, headers={
        **TUS, "Tus-Version": "1.0.0", "Tus-Extension": "creation,checksum,termination",
        "Tus-Checksum-Algorithm": "sha1,sha256,sha512", "Tus-Max-Size": str(service.settings.largest_upload),
    })


@router.post("", status_code=201)
def create(
    request: Request, service: ServiceHere, caller: Uploader, upload_length: int = Header(),
    upload_metadata: str = Header(""),
) -> Response:
    """A new upload; its file name is ``filename`` of the metadata."""
    named = uploads.metadata(upload_metadata)
    if "filename" not in named:
        raise UsageError("an upload without a name", wanted="filename in Upload-Metadata")
    with service.database.writing() as session:
        upload = uploads.start(session, service, named["filename"], upload_length, caller.name)
    place = str(request.url_for("resume", upload_id=upload.id).path)
    return Response(status_code=201, headers={**TUS, "Location": place, "Upload-Offset": "0"})


@router.head("/{upload_id}", name="resume")
def offset(service: ServiceHere, caller: Uploader, upload_id: str) -> Response:
    """Where to go on."""
    with service.database.reading() as session:
        upload = uploads.get(session, upload_id)
    return Response(headers={
        **TUS, "Upload-Offset": str(upload.offset), "Upload-Length": str(upload.length), "Cache-Control": "no-store",
    })


@router.patch("/{upload_id}", status_code=204)
async def append(
    request: Request, service: ServiceHere, caller: Uploader, upload_id: str, upload_offset: int = Header(),
    upload_checksum: str | None = Header(None), content_type: str = Header(""),
) -> Response:
    """More bytes."""
    if content_type != "application/offset+octet-stream":
        raise UsageError("another content type", got=content_type, wanted="application/offset+octet-stream")
    upload = await uploads.receive(service, upload_id, upload_offset, request.stream(), upload_checksum)
    return Response(status_code=204, headers={**TUS, "Upload-Offset": str(upload.offset)})


@router.delete("/{upload_id}", status_code=204)
def terminate(service: ServiceHere, caller: Uploader, upload_id: str) -> Response:
    """Forget an upload."""
    with service.database.writing() as session:
        uploads.remove(session, service, upload_id)
    return Response(status_code=204, headers=TUS)


@router.put("/files/{file_name}", status_code=201)
async def put(
    request: Request, service: ServiceHere, caller: Uploader, file_name: str, content_length: int = Header(),
) -> dict[str, object]:
    """A whole file in one request."""

    def begin() -> Upload:
        with service.database.writing() as session:
            return uploads.start(session, service, file_name, content_length, caller.name)

    upload = await run_in_threadpool(begin)
    upload = await uploads.receive(service, upload.id, 0, request.stream())
    if upload.finished is None:
        raise Conflict("the file broke off", where=upload.id, got=upload.offset, wanted=upload.length)
    return _body(upload)


@router.get("/{upload_id}")
def show(service: ServiceHere, caller: Reader, upload_id: str) -> dict[str, object]:
    """How far an upload is, and its hash once it is whole."""
    with service.database.reading() as session:
        return _body(uploads.get(session, upload_id))


def _body(upload: Upload) -> dict[str, object]:
    return {
        "id": upload.id, "file_name": upload.file_name, "length": upload.length, "offset": upload.offset,
        "sha256": upload.sha256, "finished": upload.finished is not None,
    }
