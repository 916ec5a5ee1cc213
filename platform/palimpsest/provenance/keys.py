"""The Ed25519 key that signs heads: a PEM file that only its owner reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from palimpsest.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path


def signing_key(path: Path, *, make: bool = False) -> Ed25519PrivateKey:
    """The key in a file; with ``make``, a new one is put there when there is none.

    Raises:
        FormatError: no Ed25519 key in PEM.
    """
    if make and not path.exists():
        _put_new(path)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, OSError) as error:
        raise FormatError("not a signing key", where=path, got=str(error), wanted="Ed25519 in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise FormatError("a key of another kind", where=path, got=type(key).__name__, wanted="Ed25519")
    return key


def public_hex(key: Ed25519PrivateKey) -> str:
    """The public half, hex."""
    return key.public_key().public_bytes_raw().hex()


def _put_new(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two servers that start at once must agree on one key: whoever links first wins, and the file is whole when seen.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(pem)
    try:
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        part.unlink()
