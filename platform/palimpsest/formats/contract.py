"""What a file format must offer to be read and written like the built-in ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from palimpsest.cubes import Cube

HEAD_BYTES = 512


class CubeFormat(Protocol):
    """A way to keep a cube in a file or folder.

    ``sniff`` must be cheap and must not import a heavy library: every format is asked for every file.
    """

    @property
    def name(self) -> str:
        """Name for messages: 'ENVI', 'GeoTIFF'."""
        ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes written by this format, lower case with the dot; the first is the usual one."""
        ...

    def sniff(self, path: Path, head: bytes) -> bool:
        """Whether a file's first :data:`HEAD_BYTES` bytes (none for a folder) or its neighbours are of this format."""
        ...

    def read(self, path: Path) -> Cube:
        """The cube in the file, memory-mapped where the layout allows it.

        Raises:
            FormatError: the file is not what it says it is.
        """
        ...

    def write(self, cube: Cube, path: Path) -> None:
        """Write the cube; on failure nothing half-written is left and an older file of that name is untouched.

        Raises:
            FormatError: the format cannot hold this cube's values.
        """
        ...
