"""The known formats: asked by content first, by suffix second; a name is taken once and for all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from palimpsest.errors import FormatError, UsageError
from palimpsest.formats.contract import HEAD_BYTES, CubeFormat

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from palimpsest.cubes import Cube

F = TypeVar("F", bound=CubeFormat)


class Registry(Generic[F]):
    """Formats in the order in which they are asked."""

    def __init__(self, *formats: F) -> None:
        self._formats: dict[str, F] = {}
        for entry in formats:
            self.add(entry)

    def __iter__(self) -> Iterator[F]:
        return iter(self._formats.values())

    def add(self, entry: F) -> None:
        """Take in one more format.

        Raises:
            UsageError: the name or one of the suffixes is taken.
        """
        if entry.name in self._formats:
            raise UsageError("a format of that name is there already", where=entry.name, wanted="another name")
        taken = {suffix for known in self for suffix in known.suffixes}
        for suffix in entry.suffixes:
            if suffix in taken:
                raise UsageError("another format writes that suffix", where=entry.name, got=suffix)
        self._formats[entry.name] = entry

    def of_content(self, path: Path) -> F:
        """The format of an existing file or folder.

        Raises:
            FileNotFoundError: nothing there.
            FormatError: no format knows it.
        """
        if not path.name:  # '.', '/' or nothing at all
            raise FormatError("a folder and no cube", where=path.absolute(), wanted="a file, or a .zarr folder")
        head = b""
        if not path.is_dir():
            with path.open("rb") as stream:
                head = stream.read(HEAD_BYTES)
        for entry in self:
            if entry.sniff(path, head):
                return entry
        return self._of_suffix(path, "no known format")

    def of_suffix(self, path: Path) -> F:
        """The format that writes files of this name.

        Raises:
            FormatError: no format does.
        """
        return self._of_suffix(path, "no format writes this suffix")

    def _of_suffix(self, path: Path, complaint: str) -> F:
        name = path.name.lower()
        matches = [(len(s), entry) for entry in self for s in entry.suffixes if name.endswith(s)]
        if matches:
            return max(matches, key=lambda match: match[0])[1]
        known = ", ".join(suffix for entry in self for suffix in entry.suffixes)
        raise FormatError(complaint, where=path, got=path.suffix or "no suffix", wanted=f"one of {known}")


class Shelf(Registry[CubeFormat]):
    """The registry as the project uses it: read by content, write by suffix."""

    def read(self, path: str | os.PathLike[str]) -> Cube:
        """The cube in a file of any known format."""
        where = Path(path)
        return self.of_content(where).read(where)

    def write(self, cube: Cube, path: str | os.PathLike[str]) -> None:
        """Write the cube in the format that the suffix names."""
        where = Path(path)
        if not where.parent.is_dir():
            raise FileNotFoundError(f"{where.parent}: no such folder to write {where.name} into")
        self.of_suffix(where).write(cube, where)
