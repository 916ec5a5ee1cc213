"""NumPy's .npy with a sidecar of metadata: written by us it reads back; a bare one must be told its axes.

The array is ``(band, row, col)`` and is mapped, not loaded. ``NAME.npy.json`` says so and holds the header.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from tokenize import TokenError  # numpy parses a header that looks like Python 2's with tokenize
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.atomic import replacing, write_text
from palimpsest.cubes import Cube, CubeShape
from palimpsest.errors import FormatError
from palimpsest.formats.header_text import header_text, read_header_text
from palimpsest.formats.sidecar import read_reasons, write_reasons

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"


@dataclass(frozen=True, slots=True)
class Npy:
    """A .npy file and its sidecars."""

    name: str = "npy"
    suffixes: tuple[str, ...] = (".npy",)

    def sniff(self, path: Path, head: bytes) -> bool:
        """NumPy's magic."""
        return head.startswith(MAGIC)

    def read(self, path: Path) -> Cube:
        """The cube, mapped.

        Raises:
            FormatError: no sidecar says which axis is which, or it belongs to another array.
        """
        beside = _beside(path)
        if not beside.exists():
            raise axes_unknown(path)
        try:
            note = json.loads(beside.read_text(encoding="utf-8"))
            axes, shape, header, mask = (note[key] for key in ("axes", "shape", "header", "mask"))
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError("not a sidecar of a cube", where=beside, got=repr(error)) from error
        data = map_npy(path)
        if axes != "brc" or list(data.shape) != shape or data.ndim != 3:
            raise FormatError("the sidecar belongs to another array", where=beside, got=data.shape, wanted=shape)
        meaning, bands = read_header_text(str(header), len(data), beside)
        return Cube(
            data, bands or meaning.bands, None if mask is None else read_reasons(path, mask, CubeShape(*data.shape)),
            nodata=meaning.nodata, scale=meaning.scale, offset=meaning.offset, units=meaning.units,
            georeference=meaning.georeference, name=path.stem, sensor=meaning.sensor, metadata=meaning.metadata,
            history=meaning.history,
        )

    def write(self, cube: Cube, path: Path) -> None:
        """Write array and sidecars, band after band."""
        with replacing(path) as fresh, fresh.open("wb") as stream:
            layout = {"descr": np.lib.format.dtype_to_descr(cube.data.dtype), "fortran_order": False}
            np.lib.format.write_array_header_1_0(stream, {**layout, "shape": tuple(cube.shape)})
            for band in cube.data:
                stream.write(np.ascontiguousarray(band).data)
        sidecar = write_reasons(path, cube.reasons)
        note = {"axes": "brc", "shape": list(cube.shape), "header": header_text(cube), "mask": sidecar}
        write_text(_beside(path), json.dumps(note, indent=1))


def map_npy(path: Path) -> NDArray[np.generic]:
    """The array in a .npy file, mapped, in native byte order; objects are refused."""
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError, TokenError) as error:
        raise FormatError("not a readable .npy array", where=path, got=str(error)) from error
    native: NDArray[np.generic] = data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))
    return native


def axes_unknown(path: Path) -> FormatError:
    """The refusal of an array that does not say which axis is which, with the command that helps."""
    return FormatError(
        "an array that does not say which axis is the band", where=path, got="no axes",
        wanted=f"palimpsest convert {path} {path.stem}.hdr --axes rcb (or brc, rbc)",
    )


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")
