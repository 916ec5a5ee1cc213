"""A file may claim any size; what does not fit into memory is refused before it is asked for."""

from __future__ import annotations

import os

from palimpsest.errors import FormatError


def refuse_beyond_memory(wanted_bytes: int, where: object) -> None:
    """Raise :class:`FormatError` when that many bytes are more than the machine has."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        there = 64 << 30
    if wanted_bytes > there:
        raise FormatError(
            "the values do not fit into memory", where=where, got=f"{wanted_bytes / 2**30:.1f} GiB",
            wanted=f"at most {there / 2**30:.1f} GiB; a plain ENVI file is mapped and has no such limit",
        )
