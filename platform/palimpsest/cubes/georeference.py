"""Where a cube lies on the ground: a coordinate system and an affine transform, or nothing (drill cores have none)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Georeference:
    """Coordinate system and pixel grid.

    Args:
        crs_wkt: the coordinate system as WKT; empty when only the grid is known.
        transform: affine coefficients (a, b, c, d, e, f) with ``x = a*col + b*row + c``, ``y = d*col + e*row + f``,
            referring to the corner of a pixel (GDAL's and rasterio's convention).
    """

    crs_wkt: str
    transform: tuple[float, float, float, float, float, float]

    def shifted(self, row: int, col: int) -> Georeference:
        """The reference of a window whose upper left pixel is ``(row, col)``."""
        a, b, c, d, e, f = self.transform
        return Georeference(self.crs_wkt, (a, b, c + a * col + b * row, d, e, f + d * col + e * row))
