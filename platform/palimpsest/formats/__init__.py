"""Cubes in files: one module a format, found by content; ``read`` and ``write`` are the whole of it.

Axis order, byte order, interleave and the units of wavelengths are settled here and nowhere else: what comes out is
``(band, row, col)``, native, in nanometres, and says in its metadata what had to be guessed.
"""

from __future__ import annotations

from palimpsest.formats.contract import CubeFormat
from palimpsest.formats.envi import Envi
from palimpsest.formats.registry import Registry, Shelf

FORMATS = Shelf(Envi())

read = FORMATS.read
write = FORMATS.write

__all__ = ["read", "write", "FORMATS", "CubeFormat", "Registry"]
