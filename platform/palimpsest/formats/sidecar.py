"""The mask with reasons, for formats that have no place for it: a packed file beside the cube.

A cube's header names its sidecar. A header that names none has none, whatever lies beside it: a file rewritten by
another tool does not inherit an old mask.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from tokenize import TokenError
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.atomic import write_bytes
from palimpsest.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import CubeShape

# What numpy, zipfile and zlib raise of a damaged archive (NotImplementedError: packed by a method that ours never is);
# each is told again as a FormatError.
_BROKEN = (
    *(KeyError, ValueError, OSError, EOFError, RuntimeError, NotImplementedError, SyntaxError, TokenError),
    *(zipfile.BadZipFile, zlib.error),
)
SUFFIX = ".reasons.npz"


def write_reasons(path: Path, reasons: NDArray[np.uint8] | None) -> str | None:
    """Write the mask beside ``path`` and return the sidecar's name; without a mask, remove an older one."""
    beside = path.with_name(path.name + SUFFIX)
    if reasons is None:
        beside.unlink(missing_ok=True)
        return None
    packed = io.BytesIO()
    np.savez_compressed(packed, reasons=np.ascontiguousarray(reasons))
    write_bytes(beside, packed.getvalue())
    return beside.name


def read_reasons(path: Path, name: str, shape: CubeShape) -> NDArray[np.uint8]:
    """The mask that the header of ``path`` names, ``(band, row, col)``.

    Raises:
        FormatError: the sidecar is missing, altered or of another shape.
    """
    beside = path.parent / name
    if not name.endswith(SUFFIX) or beside.parent != path.parent or not beside.is_file():
        raise FormatError(
            "the header names a mask file that is not there", where=path, got=name,
            wanted="the file beside it; without it, remove the line 'palimpsest mask' from the header",
        )
    try:
        with zipfile.ZipFile(beside) as packed, packed.open("reasons.npy") as entry:
            np.lib.format.read_magic(entry)
            found, is_fortran, dtype = np.lib.format.read_array_header_1_0(entry)
            if found != tuple(shape) or dtype != np.uint8 or is_fortran:
                raise FormatError(
                    "mask of another shape", where=beside, got=f"{found} {dtype}", wanted=f"{tuple(shape)} uint8"
                )
            content = entry.read(shape.voxels)  # never more than the header's shape promises
    except FormatError:
        raise
    except _BROKEN as error:
        raise FormatError("not a mask file", where=beside, got=str(error)) from error
    if len(content) != shape.voxels:
        raise FormatError("mask is cut short", where=beside, got=f"{len(content)} bytes", wanted=f"{shape.voxels}")
    return np.frombuffer(content, np.uint8).reshape(shape)
