"""Arrays in MATLAB files: read through ``convert``, which is told the axes; never guessed, never written.

Versions up to 7 go through scipy, 7.3 (HDF5) through h5py; there MATLAB's axes lie reversed and are turned back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import FormatError
from palimpsest.formats.memory import refuse_beyond_memory

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube

_MAGIC = b"MATLAB "


@dataclass(frozen=True, slots=True)
class Matlab:
    """Known, so that the refusal can say what to do."""

    name: str = "MATLAB"
    suffixes: tuple[str, ...] = (".mat",)

    def sniff(self, path: Path, head: bytes) -> bool:
        """MATLAB's text header, or the suffix."""
        return head.startswith(_MAGIC) or (path.is_file() and path.suffix.lower() == ".mat")

    def read(self, path: Path) -> Cube:
        """Always refused: the axes are not in the file."""
        arrays = ", ".join(f"{name} {array.shape}" for name, array in mat_arrays(path).items() if array.ndim == 3)
        raise FormatError(
            "a MATLAB file does not say which axis is the band", where=path, got=arrays or "no array of three axes",
            wanted=f"palimpsest convert {path} {path.stem}.hdr --axes rcb (or brc, rbc) [--variable NAME]",
        )

    def write(self, cube: Cube, path: Path) -> None:
        """Always refused."""
        raise FormatError("MATLAB files are not written", where=path, wanted=".hdr, .tif, .nc, .zarr or .npy")


def mat_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Numeric arrays of a MATLAB file by name, axes as MATLAB shows them.

    Raises:
        FormatError: not a readable MATLAB file.
    """
    with path.open("rb") as stream:
        head = stream.read(1024)
    try:
        return _from_hdf5(path) if b"MATLAB 7.3" in head[:16] or b"\x89HDF" in head else _from_scipy(path)
    except FormatError:
        raise
    except Exception as error:  # scipy's parser answers hostile bytes with nearly any exception
        raise FormatError("not a readable MATLAB file", where=path, got=f"{type(error).__name__}: {error}") from error


def _from_scipy(path: Path) -> dict[str, NDArray[np.generic]]:
    from scipy.io import loadmat

    found = loadmat(path)
    return {k: v for k, v in found.items() if isinstance(v, np.ndarray) and v.dtype.kind in "iufb"}


def _from_hdf5(path: Path) -> dict[str, NDArray[np.generic]]:
    import h5py

    arrays: dict[str, NDArray[np.generic]] = {}
    with h5py.File(path, "r") as source:
        for name, entry in source.items():
            if isinstance(entry, h5py.Dataset) and entry.dtype.kind in "iuf" and entry.ndim:
                refuse_beyond_memory(entry.size * entry.dtype.itemsize, path)
                arrays[name] = np.asarray(entry[...]).T
    return arrays
