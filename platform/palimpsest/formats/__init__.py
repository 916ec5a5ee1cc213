"""Cubes in files: one module a format, found by content; ``read`` and ``write`` are the whole of it.

Axis order, byte order, interleave and the units of wavelengths are settled here and nowhere else: what comes out is
``(band, row, col)``, native, in nanometres, and says in its metadata what had to be guessed.
"""

from __future__ import annotations

from palimpsest.formats.contract import CubeFormat
from palimpsest.formats.envi import Envi
from palimpsest.formats.geotiff import CLOUD_OPTIMISED, GeoTiff
from palimpsest.formats.matlab import Matlab
from palimpsest.formats.netcdf import NetCdf
from palimpsest.formats.npy import Npy
from palimpsest.formats.prisma import Prisma
from palimpsest.formats.registry import Registry, Shelf
from palimpsest.formats.zarr_store import Zarr

FORMATS = Shelf(GeoTiff(), CLOUD_OPTIMISED, Prisma(), NetCdf(), Zarr(), Npy(), Matlab(), Envi())

read = FORMATS.read
write = FORMATS.write

__all__ = ["read", "write", "FORMATS", "CubeFormat", "Registry"]
