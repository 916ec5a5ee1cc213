"""Unpacking what users send: nothing leaves the folder, nothing grows without bound, only plain files come out."""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from palimpsest.errors import FormatError
from palimpsest_api.problems import TooLarge

if TYPE_CHECKING:
    from pathlib import Path

MOST_FILES = 64
CHUNK = 1 << 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ +()=,-]{0,150}")


def plain_name(name: str) -> str:
    """A file name that is only that: no folder, no leading dot, no odd characters.

    Raises:
        FormatError: it is more than that.
    """
    if NAME.fullmatch(name) is None or name.endswith((".", " ")):
        raise FormatError(
            "not a plain file name", got=repr(name[:80]), wanted="letters, digits, . _ - + = , ( ) and spaces"
        )
    return name


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, by its content."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(archive: Path, folder: Path, most_bytes: int) -> list[Path]:
    """The plain files of a zip or tar, all in one folder (their own folders are dropped).

    Raises:
        FormatError: links, devices, two files of one name, too many files, or a damaged archive.
        TooLarge: it unpacks to more than ``most_bytes``; what it says of itself is not believed.
    """
    try:
        if zipfile.is_zipfile(archive):
            return _unpack_zip(archive, folder, most_bytes)
        return _unpack_tar(archive, folder, most_bytes)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, RuntimeError, OSError) as error:
        raise FormatError("an archive that cannot be unpacked", where=archive.name, got=str(error)) from error


def _unpack_zip(archive: Path, folder: Path, most_bytes: int) -> list[Path]:
    out: list[Path] = []
    with zipfile.ZipFile(archive) as source:
        for entry in source.infolist():
            if entry.is_dir() or _is_clutter(entry.filename):
                continue
            if (entry.external_attr >> 16) & 0o170000 == 0o120000:
                raise FormatError("a link in an archive", where=archive.name, got=entry.filename[:80])
            with source.open(entry) as stream:
                most_bytes -= _copy(stream, _place(folder, entry.filename, out), most_bytes)
    return _some(out, archive)


def _unpack_tar(archive: Path, folder: Path, most_bytes: int) -> list[Path]:
    out: list[Path] = []
    with tarfile.open(archive) as source:
        for entry in source:
            if entry.isdir() or _is_clutter(entry.name):
                continue
            stream = source.extractfile(entry) if entry.isreg() else None
            if stream is None:
                raise FormatError("a link or device in an archive", where=archive.name, got=entry.name[:80])
            most_bytes -= _copy(stream, _place(folder, entry.name, out), most_bytes)
    return _some(out, archive)


def _is_clutter(name: str) -> bool:
    """What desktops put into archives by themselves."""
    return name.startswith("__MACOSX/") or PurePosixPath(name).name.startswith(("._", ".DS_Store"))


def _place(folder: Path, name: str, out: list[Path]) -> Path:
    path = folder / plain_name(PurePosixPath(name.replace("\\", "/")).name)
    if path in out:
        raise FormatError("two files of one name in an archive", got=path.name)
    if len(out) == MOST_FILES:
        raise FormatError("too many files in an archive", wanted=f"at most {MOST_FILES}")
    out.append(path)
    return path


def _copy(stream: IO[bytes], path: Path, most_bytes: int) -> int:
    size = 0
    with path.open("xb") as out:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > most_bytes:
                raise TooLarge("the archive unpacks to more than is taken", where=path.name)
            out.write(chunk)
    return size


def _some(out: list[Path], archive: Path) -> list[Path]:
    if not out:
        raise FormatError("an empty archive", where=archive.name)
    return out
