"""ENVI headers as text: keys, values and lists, without knowing what any of them means.

Source: the ENVI header format as documented by its vendor (NV5, "ENVI Header Files") and as seen in the wild: keys in
any case, lists over many lines, comments after ';', Latin-1 or UTF-8.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from palimpsest.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LARGEST_HEADER_BYTES = 64 << 20  # thousands of bands with names need less than one


def is_header(head: bytes) -> bool:
    """Whether a file's first bytes are those of an ENVI header."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:4] == b"ENVI"


def read_header(path: Path) -> dict[str, str]:
    """Keys (lower case, single spaces) to values (braces taken off, line ends kept as spaces).

    Raises:
        FormatError: not an ENVI header, or a brace that is never closed.
    """
    if path.stat().st_size > LARGEST_HEADER_BYTES:
        raise FormatError("too large for a header", where=path, got=f"{path.stat().st_size} bytes")
    raw = path.read_bytes()
    if not is_header(raw[:64]):
        raise FormatError("not an ENVI header", where=path, got=repr(raw[:16]), wanted="a first line 'ENVI'")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return parse_header(text, path)


def parse_header(text: str, where: object = "header") -> dict[str, str]:
    """The fields of a header's text; a key given twice keeps its last value, as GDAL does."""
    fields: dict[str, str] = {}
    lines = iter(text.splitlines()[1:])
    for line in lines:
        stripped = line.strip()
        if not stripped or stripped.startswith(";") or "=" not in stripped:
            continue
        key, value = (part.strip() for part in stripped.split("=", 1))
        name = " ".join(key.lower().split())
        if value.startswith("{"):
            while "}" not in value:
                more = next(lines, None)
                if more is None:
                    raise FormatError("a brace is never closed", where=where, got=f"field {name!r}", wanted="'}'")
                value += " " + more.strip()
            value = value[1 : value.rindex("}")].strip()
        fields[name] = value
    return fields


def split_list(value: str) -> list[str]:
    """The entries of a list; a comma after the last one adds none."""
    entries = [entry.strip() for entry in value.split(",")]
    return entries[:-1] if entries and not entries[-1] else entries


def numbers(fields: Mapping[str, str], key: str, count: int, where: object) -> list[float] | None:
    """The ``count`` numbers of a field, or None where the field is absent or empty.

    Raises:
        FormatError: another count, or an entry that is no number.
    """
    entries = split_list(fields.get(key, ""))
    if not entries:
        return None
    if len(entries) == 1 < count:
        entries = entries[0].split()  # lists separated by blanks exist
    if len(entries) != count:
        raise FormatError(f"{key!r} does not fit the bands", where=where, got=len(entries), wanted=count)
    try:
        return [float(entry) for entry in entries]
    except ValueError as error:
        raise FormatError(f"{key!r} holds something that is no number", where=where, got=str(error)) from error


def whole(fields: Mapping[str, str], key: str, where: object, default: int | None = None) -> int:
    """A field that must be a whole number, zero or more."""
    value = fields.get(key)
    if value is None or not value.strip():
        if default is None:
            raise FormatError(f"the header lacks {key!r}", where=where, wanted=f"{key} = a whole number")
        return default
    if not re.fullmatch(r"\+?\d{1,15}(\.0*)?", value.strip()):
        raise FormatError(f"{key!r} is not a whole number", where=where, got=repr(value), wanted="zero or more")
    return int(float(value))


def format_header(fields: Mapping[str, str | list[str]]) -> str:
    """The text of a header: lists in braces, a few entries a line."""
    lines = ["ENVI"]
    for key, value in fields.items():
        if isinstance(value, str):
            lines.append(f"{key} = {value}")
            continue
        rows = [", ".join(value[start : start + 8]) for start in range(0, len(value), 8)]
        lines.append(f"{key} = {{\n " + ",\n ".join(rows) + "}")
    return "\n".join(lines) + "\n"
