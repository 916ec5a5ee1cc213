"""Values as bytes that everybody makes alike: canonical JSON of RFC 8785, of values that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import PurePath

import numpy as np
import rfc8785

SAFE_INTEGER = 2**53 - 1


def plain(value: object) -> object:
    """The value as JSON can hold it: arrays as lists, times as ISO text, what is not a number as null."""
    if value is None or (isinstance(value, str | bool) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, int):
        return value if abs(value) <= SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return _plain_container(value)


def _plain_container(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(entry) for entry in value)  # type: ignore[type-var]  # sets of strings or numbers only
    if isinstance(value, PurePath):
        return value.as_posix()
    return str(value)


def canonical(value: object) -> bytes:
    """The value's canonical JSON, UTF-8."""
    return rfc8785.dumps(plain(value))  # type: ignore[arg-type]  # plain() returns what JSON can hold
