"""Errors as problems (RFC 9457): one table from exception class to status, one shape of body."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from palimpsest.errors import (
    CubeRefused,
    EvidenceBroken,
    FormatError,
    HeaderMismatch,
    KnowledgeError,
    MissingWavelengths,
    ModelMissing,
    PalimpsestError,
    PromiseBroken,
    StreamCorrupt,
    UnknownTerm,
    UsageError,
)

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = logging.getLogger(__name__)


class Conflict(PalimpsestError):
    """The thing asked for does not fit the state that the resource is in."""


class Forbidden(PalimpsestError):
    """The caller's role may not do this."""


class Unauthorised(PalimpsestError):
    """No key, or one that is not known."""


class TooLarge(PalimpsestError):
    """More bytes than the service takes."""


class ChecksumMismatch(PalimpsestError):
    """Bytes that are not those of the checksum sent with them (tus 1.0)."""


# The first class that fits counts: children stand before their parents.
STATUS: dict[type[PalimpsestError], int] = {
    Unauthorised: 401,
    Forbidden: 403,
    UnknownTerm: 404,
    Conflict: 409,
    TooLarge: 413,
    ChecksumMismatch: 460,
    HeaderMismatch: 422,
    FormatError: 422,
    CubeRefused: 422,
    MissingWavelengths: 422,
    KnowledgeError: 422,
    ModelMissing: 422,
    StreamCorrupt: 422,
    UsageError: 400,
    EvidenceBroken: 500,
    PromiseBroken: 409,
    PalimpsestError: 400,
}


def status_of(error: PalimpsestError) -> int:
    """HTTP status of an error."""
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))


def body_of(error: PalimpsestError) -> dict[str, Any]:
    """What a job or a response says about an error; paths of the server stay inside."""
    parts = {name: getattr(error, name) for name in ("what", "where", "got", "wanted", "whole_level")
             if getattr(error, name, None) is not None}
    return {"error": type(error).__name__, **{name: _public(value) for name, value in parts.items()},
            "message": _public(error)}


def install(app: FastAPI) -> None:
    """Every error of the application leaves as a problem."""
    app.add_exception_handler(PalimpsestError, _project)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def problem(status: int, kind: str, detail: str, **more: object) -> JSONResponse:
    """A problem as a response."""
    title = next((one.phrase for one in HTTPStatus if one.value == status), "Checksum Mismatch")
    body = {"type": f"urn:palimpsest:problem:{kind}", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, media_type="application/problem+json")


def _public(value: object) -> str:
    """Words of an error without the server's folders: a path is named by its last part."""
    return " ".join(_last_part(word) for word in str(value).split(" "))


def _last_part(word: str) -> str:
    bare = word.strip("'\"(),;:")
    return word.replace(bare, bare.rstrip("/").rsplit("/", 1)[-1]) if bare.startswith("/") and len(bare) > 1 else word


async def _project(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PalimpsestError)
    told = body_of(error)
    return problem(status_of(error), told.pop("error"), told.pop("message"), **told)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong = [{"field": ".".join(str(part) for part in one["loc"]), "message": one["msg"]} for one in error.errors()]
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in wrong)
    return problem(422, "RequestRefused", detail, errors=wrong)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, "Http", str(error.detail))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error at %s %s", request.method, request.url.path, exc_info=error)
    return problem(500, "Unexpected", "an error of the service; its log has more")
