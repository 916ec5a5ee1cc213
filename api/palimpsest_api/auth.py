"""Who may do what: API keys, six roles, one table.

A key is ``plm_<id>_<256 random bits>``; only its SHA-256 is kept, because guessing a random key is hopeless and a slow
hash would buy nothing. Without ``require_keys`` (the embedded default, on the loopback only) whoever reaches the
service is its owner; requests of other sites' pages are refused by their Origin.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader
from sqlalchemy.orm import Session

from palimpsest.catalogue.tables import ApiKey, new_id, now
from palimpsest.errors import UsageError
from palimpsest_api.problems import Forbidden, Unauthorised
from palimpsest_api.service import Service

READ, UPLOAD, RUN, AUDIT, ADMINISTER = "read", "upload", "run", "audit", "administer"

ROLES: dict[str, frozenset[str]] = {
    "viewer": frozenset({READ}),
    "scientist": frozenset({READ, UPLOAD, RUN}),
    "expert": frozenset({READ, UPLOAD, RUN}),
    "reviewer": frozenset({READ, AUDIT}),
    "auditor": frozenset({READ, AUDIT}),
    "admin": frozenset({READ, UPLOAD, RUN, AUDIT, ADMINISTER}),
}

_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    role: str


OWNER = Caller("owner", "admin")


def service_of(request: Request) -> Service:
    """The application's service."""
    service: Service = request.app.state.service
    return service


ServiceHere = Annotated[Service, Depends(service_of)]


def make_key(session: Session, name: str, role: str) -> str:
    """A new key; this text is the only copy.

    Raises:
        UsageError: no such role.
    """
    if role not in ROLES:
        raise UsageError("no such role", got=role, wanted=", ".join(ROLES))
    key_id = new_id("key")
    text = f"plm_{key_id.removeprefix('key-')}_{secrets.token_urlsafe(32)}"
    session.add(ApiKey(id=key_id, name=name, role=role, sha256=_digest(text), created=now()))
    return text


def caller_of(request: Request, key: Annotated[str | None, Security(_HEADER)]) -> Caller:
    """Who asks, by the key sent.

    Raises:
        Unauthorised: no key where one is required, or one that is unknown, expired or revoked.
    """
    service = service_of(request)
    if key is None:
        if service.settings.require_keys:
            raise Unauthorised("a key is required", wanted="the header X-API-Key")
        return OWNER
    parts = key.split("_", 2)
    with service.database.reading() as session:
        row = session.get(ApiKey, f"key-{parts[1]}") if len(parts) == 3 and parts[0] == "plm" else None
    is_good = row is not None and hmac.compare_digest(row.sha256, _digest(key))
    if row is None or not is_good or row.revoked is not None or (row.expires is not None and row.expires < now()):
        raise Unauthorised("a key that is not known, or no longer good")
    return Caller(row.name, row.role)


def may(permission: str) -> Callable[[Caller], Caller]:
    """A dependency that holds that the caller's role has a permission."""

    def check(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
        if permission not in ROLES.get(caller.role, frozenset()):
            raise Forbidden("this role may not do that", got=caller.role, wanted=f"a role with '{permission}'")
        return caller

    return check


Reader = Annotated[Caller, Depends(may(READ))]
Uploader = Annotated[Caller, Depends(may(UPLOAD))]
Runner = Annotated[Caller, Depends(may(RUN))]
Auditor = Annotated[Caller, Depends(may(AUDIT))]
Administrator = Annotated[Caller, Depends(may(ADMINISTER))]


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
