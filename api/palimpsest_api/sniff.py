"""Looking at the first 64 KB of an upload, so that a wrong file is refused before its other gigabytes are sent."""

from __future__ import annotations

from pathlib import PurePosixPath

from palimpsest.errors import FormatError

HEAD = 1 << 16

# suffix -> beginnings that such a file can have; None: any bytes (raw values)
BEGINNINGS: dict[str, tuple[bytes, ...] | None] = {
    ".hdr": (b"ENVI", b"\xef\xbb\xbfENVI"),
    ".tif": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ".tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ".nc": (b"\x89HDF\r\n\x1a\n",),
    ".plm": (b"PLM", b"\x89PLM"),
    ".zip": (b"PK\x03\x04",),
    ".npz": (b"PK\x03\x04",),
    ".tgz": (b"\x1f\x8b",),
    ".gz": (b"\x1f\x8b",),
    ".tar": None,
    ".img": None,
    ".dat": None,
    ".raw": None,
    ".bsq": None,
    ".bil": None,
    ".bip": None,
    ".envi": None,
    "": None,
}


def check_beginning(file_name: str, head: bytes) -> None:
    """Hold that a file begins as its name says.

    Raises:
        FormatError: a kind that is not taken, or a beginning of another kind.
    """
    suffix = PurePosixPath(file_name).suffix.lower()
    if suffix not in BEGINNINGS:
        raise FormatError(
            "a kind of file that is not taken", where=file_name, got=suffix,
            wanted=", ".join(sorted(key for key in BEGINNINGS if key)),
        )
    beginnings = BEGINNINGS[suffix]
    if beginnings is None:
        return
    # A beginning that is still shorter than the magic may be right so far.
    if not any(head.startswith(one) or one.startswith(head) for one in beginnings):
        raise FormatError("the file does not begin as its name says", where=file_name, got=repr(head[:8]),
                          wanted=" or ".join(repr(one) for one in beginnings))
